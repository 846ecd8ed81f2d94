"""tools/test.py: a refiner behind a config that nobody edited; what it says when things lack."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest

from mmseg_cascadepsp.cli import test
from mmseg_cascadepsp.cli.running import run as run_command
from mmseg_cascadepsp.files import read_image, read_labels
from tests.chaining import (
    ADE20K_CONFIG,
    ROOT,
    SMALL_RUN,
    encoder_decoder,
    narrow_options,
    write_ade20k,
    write_checkpoint,
    write_picture,
    write_refiner,
)

TOOL = str(ROOT / 'tools/test.py')
MMSEG_CONFIG = (
    ADE20K_CONFIG
    + """tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
work_dir = '{root}/work'
"""
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A set, an MMSeg config, its checkpoint, and a refiner."""
    root = tmp_path_factory.mktemp('chain')
    write_ade20k(root / 'ade')
    write_refiner(root)
    model = encoder_decoder(150)
    write_checkpoint(model, root / 'segmentor.pth')
    (root / 'config.py').write_text(MMSEG_CONFIG.format(model=model.to_dict(), root=root))
    return root


@pytest.fixture
def tool(root, monkeypatch, capfd):
    """Run tools/test.py in this process on the config: its metrics and what it printed."""

    def run(*options, config='config.py', checkpoint='segmentor.pth', refines=True):
        work = root / f'work{len(list(root.glob("work*")))}'
        arguments = [str(root / config), *([str(root / checkpoint)] if checkpoint else [])]
        if refines:
            arguments += ['--refiner', str(root / 'tiny_refiner.py')]
            arguments += ['--refiner-checkpoint', str(root / 'tiny_refiner.pth')]
        monkeypatch.setattr(
            sys, 'argv', [TOOL, *arguments, '--work-dir', str(work), *map(str, options)]
        )
        status = run_command(test.main, 'test.py')
        told = capfd.readouterr()
        if status:
            raise SystemExit(told.err)
        (scores,) = work.glob('*/*.json')
        return json.loads(scores.read_text()), told.out

    return run


STRATEGY = ('--strategy', 'scene', '--strategy-options', 'min_size=64', 'min_area=16')


@pytest.fixture(scope='module')
def written(root):
    return root / 'out', root / 'show'


def test_any_config_label_maps_pictures_and_stored_predictions(tool, root, written):
    out, show = written
    metrics, _ = tool(*STRATEGY, '--out', out, '--show-dir', show)
    for score in ('mIoU', 'mBA', 'BoundaryIoU'):
        assert {f'refinement/{score}{end}' for end in ('', '_before', '_gain')} <= set(metrics)
    assert metrics['refinement/mIoU'] == pytest.approx(metrics['mIoU'], abs=0.01)  # MMSeg's own
    names = ['ADE_val_00000000', 'ADE_val_00000001']
    assert sorted(path.stem for path in out.iterdir()) == names
    for name in names:
        labels = read_labels(out / f'{name}.png')
        assert labels.shape == (48, 64) and 1 <= labels.min() and labels.max() <= 150
        picture = read_image(show / f'{name}.jpg')
        assert picture.shape[1] > 2 * picture.shape[0]  # three panels in a row

    # What was written is a folder of predictions: refined again, it starts where that ended.
    again, _ = tool(*STRATEGY, '--pred-dir', out, checkpoint=None)
    for score in ('mIoU', 'mBA', 'BoundaryIoU'):
        assert again[f'refinement/{score}_before'] == metrics[f'refinement/{score}']


def test_without_a_refiner_it_is_mmseg_s_test(tool):
    metrics, _ = tool(refines=False)
    assert 'mIoU' in metrics and not any('before' in name for name in metrics)


def test_augmentation_refines_once(tool):
    metrics, _ = tool(*STRATEGY, '--tta')
    assert 'refinement/mBA_gain' in metrics


class TestPredictionsOfOthers:
    def write(self, folder, change=lambda index, labels: labels):
        for index in range(2):
            labels = np.full((48, 64), 12, np.uint8)
            labels[10:40, 15:45] = 0
            changed = change(index, labels)
            if changed is not None:
                write_picture(folder / f'ADE_val_{index:08d}.png', changed)
        return folder

    def test_numbered_as_the_annotations_or_from_0(self, tool, tmp_path):
        from_0 = self.write(tmp_path / 'from_0')
        from_1 = self.write(tmp_path / 'from_1', lambda _, labels: labels + 1)
        index, _ = tool(*STRATEGY, '--pred-dir', from_0, '--pred-ids', 'index', checkpoint=None)
        dataset, _ = tool(*STRATEGY, '--pred-dir', from_1, checkpoint=None)
        scores = {key for key in index if 'refinement' in key}
        assert scores and all(index[key] == dataset[key] for key in scores)

    @pytest.mark.parametrize(
        ('change', 'sentence'),
        [
            (
                lambda index, labels: labels if index else None,
                r'1 of 2 photos have no prediction in .*, first .*ADE_val_00000000.jpg; expected',
            ),
            (lambda _, labels: labels[:20], r'00000000.png is 20x64, its photo .* 48x64'),
            (lambda _, labels: labels + 200, 'holds the class 211 where there are 150'),
        ],
        ids=['missing', 'wrong size', 'ids out of range'],
    )
    def test_that_do_not_fit(self, tool, tmp_path, change, sentence):
        with pytest.raises(SystemExit, match=sentence):
            tool('--pred-dir', self.write(tmp_path / 'preds', change), checkpoint=None)

    def test_their_values_are_said_by_arguments(self, tool, tmp_path, capfd):
        from_1 = self.write(tmp_path / 'from_1', lambda _, labels: labels + 1)
        void = self.write(tmp_path / 'void', lambda _, labels: np.where(labels, 222, 1))
        with pytest.raises(SystemExit, match='holds the class 221'):
            tool(*STRATEGY, '--pred-dir', void, checkpoint=None)
        told, _ = tool(*STRATEGY, '--pred-dir', void, '--ignore', 222, checkpoint=None)
        assert told['refinement/mIoU_before'] > 0
        with pytest.raises(SystemExit, match='cannot tell 150 classes apart'):
            tool('--pred-dir', from_1, '--mask-values', 1, checkpoint=None)
        with pytest.raises(SystemExit):
            tool('--mask-values', 1)
        assert 'say how the files of --pred-dir are read' in capfd.readouterr().err

    def test_an_empty_folder(self, tool, tmp_path):
        with pytest.raises(SystemExit, match='holds no pictures'):
            tool('--pred-dir', tmp_path, checkpoint=None)


@pytest.mark.parametrize(
    ('options', 'changes', 'sentence'),
    [
        (['--data-root', 'elsewhere'], {}, r'test set is not there: elsewhere is missing; docs'),
        ([], dict(checkpoint='none.pth'), r'checkpoint: there is no file .*none.pth'),
        ([], dict(checkpoint=None), r'config.py names none in load_from, so give one'),
        ([], dict(config='none.py'), r'config: there is no file .*none.py'),
        (['--refiner', 'litle'], {}, r"one of 'lite', 'r50'"),
        (['--strategy', 'magic'], {}, r"strategy must be 'auto', 'scene'"),
        (['--refiner', 'lite'], {}, r'tiny_refiner.pth does not fit the model'),
        ([], dict(checkpoint='tiny_refiner.pth'), r'does not fit the segmentor: \d+ of its \d+'),
    ],
    ids=[
        'data', 'checkpoint', 'no checkpoint', 'config', 'refiner', 'strategy', 'width',
        'another model',
    ],
)  # fmt: skip
def test_what_lacks_is_said_in_a_sentence(tool, options, changes, sentence):
    with pytest.raises(SystemExit, match=sentence):
        tool(*options, **changes)


def test_a_checkpoint_that_cannot_be_fetched(tool, root, monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    text = (root / 'config.py').read_text()
    (root / 'online.py').write_text(text + "load_from = 'http://127.0.0.1:9/fcn-0123abcd.pth'\n")
    with pytest.raises(SystemExit, match=r'cannot be fetched .*put it at .*hub.*fcn-0123abcd.pth'):
        tool(config='online.py', checkpoint=None)


@pytest.mark.slow
def test_the_command_itself_on_the_ade20k_config(root):
    """As a user calls it: configs/deeplabv3plus_refined_ade20k.py runs to the end and prints."""
    from mmseg_cascadepsp.cli.configs import read_config

    config = str(ROOT / 'configs/deeplabv3plus_refined_ade20k.py')
    options = {
        **SMALL_RUN,
        **narrow_options('deeplabv3plus', 'model.segmentor'),
        'model.refiner': str(root / 'tiny_refiner.py'),
        'model.refiner_checkpoint': str(root / 'tiny_refiner.pth'),
        'model.strategy.min_size': 64,
    }
    segmentor = read_config(config, copy.deepcopy(options)).model.segmentor
    weights = write_checkpoint(segmentor, root / 'deeplab.pth')
    written = [f'{key}={str(value).replace(" ", "")}' for key, value in options.items()]
    command = [
        sys.executable, '-W', 'ignore', TOOL, config, weights, '--data-root', root / 'ade',
        '--work-dir', root / 'command', '--cfg-options', *written,
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    for word in ('before', 'after', 'difference', 'mIoU', 'mBA', 'BoundaryIoU'):
        assert word in done.stdout[-2000:] + done.stderr[-2000:]


def test_a_dataset_is_known_by_its_class_and_an_unknown_one_is_told(root):
    from mmseg.datasets import ADE20KDataset

    from mmseg_cascadepsp.cli import chaining
    from mmseg_cascadepsp.cli.configs import read_config

    cfg = read_config(str(root / 'config.py'))
    for kind in ('ADE20KDataset', ADE20KDataset):
        cfg.test_dataloader.dataset.type = kind
        chaining.check_data(cfg)
    inner = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner])
    chaining.check_data(cfg, str(root / 'ade'))
    assert cfg.test_dataloader.dataset.keys() == {'type', 'datasets'}
    with pytest.raises(OSError, match='test set is not there: elsewhere is missing'):
        chaining.check_data(cfg, 'elsewhere')
    cfg.test_dataloader.dataset.datasets = [inner] * 2
    with pytest.raises(ValueError, match='--data-root: .*tests on 2 sets; .*--cfg-options'):
        chaining.check_data(cfg, str(root / 'ade'))
    cfg.test_dataloader.dataset = inner
    cfg.test_dataloader.dataset.type = 'MySet'
    with pytest.raises(ValueError, match='dataset MySet is not registered; .*custom_imports'):
        chaining.check_data(cfg)


def test_stored_predictions_take_the_place_of_a_segmentor_by_name(root):
    from mmseg_cascadepsp.cli import chaining
    from mmseg_cascadepsp.cli.configs import read_config

    cfg = chaining.chain(read_config(str(root / 'config.py')))
    cfg.model.segmentor = 'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py'  # is not built
    segmentor = chaining.use_stored_predictions(cfg, str(root), 'index').model.segmentor
    assert (segmentor.type, segmentor.ids) == ('mmseg.StoredPredictions', 'index')


def test_stored_predictions_are_not_augmented(tool, root, capfd):
    with pytest.raises(SystemExit):
        tool('--pred-dir', root, '--tta', checkpoint=None)
    assert '--pred-dir takes its place' in capfd.readouterr().err


def test_pictures_without_a_refiner(tool, root):
    own = 'visualizer.name=plain'  # visualizers of one name are one in a process
    tool('--show-dir', root / 'plain', '--cfg-options', own, refines=False)
    assert len(list((root / 'plain').rglob('*.png'))) == 2
