"""The command line of refining, as a user types it."""

import importlib
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_cascadepsp.apis import Refiner, build_model
from mmseg_cascadepsp.cascade import CascadeSettings
from mmseg_cascadepsp.cli import refine as refine_command
from mmseg_cascadepsp.cli.options import cascade_settings
from mmseg_cascadepsp.cli.running import run
from mmseg_cascadepsp.files import read_image, read_labels, read_mask, write_image, write_png

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / 'tests' / 'data' / 'cascadepsp_tiny.py'


class Command:
    """A command line of the package, run as its script in ``tools/`` does."""

    def __init__(self, module, name):
        self.module, self.name = importlib.import_module(f'mmseg_cascadepsp.cli.{module}'), name

    def main(self, argv):
        return run(self.module.main, self.name, argv)


refine = Command('refine', 'refine.py')
convert = Command('convert', 'cascadepsp_to_mmseg.py')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Arguments that name a tiny model."""
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp('tiny') / 'tiny.pth'
    torch.save(build_model(TINY)[0].state_dict(), weights)
    return ['--model', str(TINY), '--checkpoint', str(weights), '--device', 'cpu', '--L', '80']


@pytest.fixture
def inputs(tmp_path):
    """Folders of four photos and masks, and where results go."""
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 20:50] = 1
    for name in 'abcd':
        write_image(tmp_path / 'photos' / f'{name}.jpg', photo)
        write_png(tmp_path / 'masks' / f'{name}.png', mask)
    return [str(tmp_path / 'photos'), str(tmp_path / 'masks'), '-o', str(tmp_path / 'out')]


def test_a_pair_with_pictures(model, inputs, tmp_path, capsys):
    pair = [f'{inputs[0]}/a.jpg', f'{inputs[1]}/a.png', '-o', str(tmp_path / 'x.png')]
    options = ['--probability', '--overlay', '--before-after', '--fast', '--threshold', '0.4']
    assert refine.main([*pair, *model, *options]) == 0
    assert capsys.readouterr().out.startswith('1 refined, 0 were there already, 0 failed: ')
    assert set(np.unique(read_mask(tmp_path / 'x.png'))) <= {0, 255}
    assert sorted(path.name for path in tmp_path.glob('x*')) == [
        'x.png',
        'x_before_after.jpg',
        'x_overlay.jpg',
        'x_probability.png',
    ]


def test_the_guided_filter_is_a_setting(model, inputs, tmp_path, capsys):
    """The tiny model has none; a result made with it is not taken for one made without."""
    found = {}
    for name, options in (
        ('default', []), ('without', ['--no-guided-filter']), ('with', ['--guided-filter'])
    ):  # fmt: skip
        pair = [f'{inputs[0]}/a.jpg', f'{inputs[1]}/a.png', '-o', str(tmp_path / f'{name}.png')]
        assert refine.main([*pair, *model, '--probability', *options]) == 0
        found[name] = read_image(tmp_path / f'{name}_probability.png')
    np.testing.assert_array_equal(found['default'], found['without'])
    assert (found['default'] != found['with']).any()
    assert refine.main([*pair, *model, '--probability', '--no-guided-filter']) == 1
    assert 'overwrite' in capsys.readouterr().err


def test_a_folder_with_a_bad_pair_goes_on_and_tells(model, inputs, tmp_path, capsys):
    (tmp_path / 'photos' / 'b.jpg').write_bytes(b'')
    assert refine.main([*inputs, *model]) == 1
    said = capsys.readouterr()
    assert '3 refined, 0 were there already, 1 failed' in said.out
    assert 'failed b: ' in said.err and 'is not an image' in said.err
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'a.png',
        'c.png',
        'd.png',
    ]


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({0: '/no/such'}, 'image /no/such does not exist'),
        ({'--L': '20'}, 'L must be at least 66'),
        ({'--model': 'heavy'}, "model must be one of 'lite', 'r50'"),
        ({'--checkpoint': '/no/such.pth'}, 'checkpoint /no/such.pth does not exist'),
        ({'--device': 'abacus'}, "device 'abacus' cannot be used"),
        ({'--threshold': '7'}, 'threshold must be'),
    ],
)
def test_errors_are_one_line_without_traceback(model, inputs, capsys, change, words):
    arguments = [*inputs, *model, '--threshold', '0.5']
    for key, value in change.items():
        arguments[key if isinstance(key, int) else arguments.index(key) + 1] = value
    assert refine.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith('refine.py: ') and words in said
    assert said.count('\n') == 1 and 'Traceback' not in said


def test_a_huge_pictureby_rows(model, tmp_path, capsys):
    photo = np.random.default_rng(0).integers(0, 256, (160, 120, 3), np.uint8)
    mask = np.zeros((160, 120), bool)
    mask[40:100, 30:90] = True
    np.save(tmp_path / 'photo.npy', photo)
    np.save(tmp_path / 'mask.npy', mask)
    pair = [str(tmp_path / name) for name in ('photo.npy', 'mask.npy')]
    assert refine.main([*pair, '-o', str(tmp_path / 'x.png'), *model, '--crops', 'adaptive']) == 0
    assert capsys.readouterr().out.startswith('1 refined, ')
    assert read_mask(tmp_path / 'x.png').shape == (160, 120)
    picture = str(tmp_path / 'p.png')
    write_image(picture, photo)
    command = [picture, pair[1], '-o', str(tmp_path / 'y.png'), *model, '--windowed']
    command += ['--crops', 'adaptive']
    assert refine.main([*command, '--overlay']) == 1
    assert 'refined by rows, without overlay' in capsys.readouterr().err
    assert refine.main(command) == 0
    np.testing.assert_array_equal(read_mask(tmp_path / 'y.png'), read_mask(tmp_path / 'x.png'))


def test_ray_that_is_missing_is_told(model, inputs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    for number in ('2', '0'):  # 0 is not as if it were not given
        assert refine.main([*inputs, *model, '--ray', number]) == 1
        assert 'pip install "ray[data]"' in capsys.readouterr().err


def test_a_package_that_is_missing_is_told(model, inputs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmseg_cascadepsp.models', None)
    assert refine.main([*inputs, *model]) == 1
    said = capsys.readouterr().err
    assert 'mmseg_cascadepsp.models' in said and '.venv/bin/activate' in said


def test_interruption_says_how_to_go_on(model, inputs, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmseg_cascadepsp.files.folder_run.refine_files', interrupted)
    assert refine.main([*inputs, *model]) == 130
    assert 'the same command goes on' in capsys.readouterr().err


def test_a_repeat_with_nothing_to_do_needs_no_model(inputs, capsys, monkeypatch):
    class ModelNeeded(Exception):
        pass

    def refuse(**_):
        raise ModelNeeded

    command = [*inputs, '--fast', '--L', '80', '--device', 'cpu']
    assert refine.main(command) == 0
    monkeypatch.setattr('mmseg_cascadepsp.apis.Refiner', refuse)
    capsys.readouterr()
    assert refine.main(command) == 0
    assert capsys.readouterr().out.startswith('0 refined, 4 were there already, 0 failed')
    for other in (['--L', '90'], ['--overlay'], ['--checkpoint', 'x.pth'], ['--overwrite']):
        with pytest.raises(ModelNeeded):
            refine.main([*command, *other])
    write_png(Path(inputs[1]) / 'b.png', np.eye(60, 80, dtype=np.uint8))
    with pytest.raises(ModelNeeded):
        refine.main(command)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(model, inputs, tmp_path):
    """SIGKILL at some moment of a run: what is there is whole, and the rest is made."""
    command = [sys.executable, str(ROOT / 'tools' / 'refine.py'), *inputs, *model, '--overlay']
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / 'out' / 'a.png').exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    done = list((tmp_path / 'out').glob('*.png'))
    assert done and all(read_mask(path).shape == (60, 80) for path in done)
    from mmseg_cascadepsp.apis import Refiner, refine_files

    report = refine_files(
        Refiner(model[1], model[3], model[5]), *inputs[:2], inputs[3], L=80, extras=['overlay']
    )
    assert len(report.skipped) == len(done)
    assert len(report.refined) == 4 - len(done)


def test_help_teaches_without_loading_anything():
    command = [sys.executable, '-X', 'importtime', str(ROOT / 'tools' / 'refine.py'), '--help']
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 'torch' not in run.stderr
    for words in ('examples:', '--before-after', '--checkpoint', 'exit status'):
        assert words in run.stdout


def test_the_converter_tells_what_does_not_fit(tmp_path, capsys):
    torch.save({'conv.weight': torch.zeros(1)}, tmp_path / 'a.pth')
    for source, words in (('a.pth', "does not fit the model 'r50'"), ('b.pth', 'does not exist')):
        assert convert.main([str(tmp_path / source), str(tmp_path / 'c.pth')]) == 1
        said = capsys.readouterr().err
        assert said.startswith('cascadepsp_to_mmseg.py: ') and words in said
    assert not (tmp_path / 'c.pth').exists()


@pytest.mark.slow
def test_a_terminated_run_leaves_nothing_half_written(model, inputs, tmp_path):
    """SIGTERM, which batch systems send, while a mask is being written."""
    script = tmp_path / 'stuck.py'
    script.write_text(
        'import os, runpy, signal, sys\n'
        'from mmseg_cascadepsp.files import paths\n'
        'paths.os.fsync = lambda number: os.kill(os.getpid(), signal.SIGTERM)\n'
        f'sys.argv = {[str(ROOT / "tools/refine.py"), *map(str, (*inputs, *model))]!r}\n'
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    run = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True)
    assert run.returncode == 143, run.stderr[-2000:]
    assert not list((tmp_path / 'out').glob('.*.tmp'))


def test_the_region_is_a_setting(model, inputs, tmp_path, capsys):
    pair = [f'{inputs[0]}/a.jpg', f'{inputs[1]}/a.png', '-o', str(tmp_path / 'x.png')]
    assert refine.main([*pair, *model, '--region', 'object']) == 0
    assert refine.main([*pair, *model, '--region', 'photo']) == 1
    assert 'was made with another region' in capsys.readouterr().err


def test_a_label_map_is_no_mask_until_a_value_is_named(model, inputs, tmp_path, capsys):
    ids = np.zeros((60, 80), np.uint8)
    ids[20:40, 20:50] = 3
    for name in 'abcd':
        write_png(tmp_path / 'masks' / f'{name}.png', ids)
    assert refine.main([*inputs, *model]) == 1
    told = capsys.readouterr()
    assert '0 refined, 0 were there already, 4 failed' in told.out
    assert 'a.png has no value above 127: it holds 0, 3, ' in told.err
    assert '--mask-values 3' in told.err
    assert refine.main([*inputs, *model, '--mask-values', '3']) == 0
    assert refine.main([*inputs, *model, '--mask-values', '3']) == 0
    assert '0 refined, 4 were there already' in capsys.readouterr().out
    assert refine.main([*inputs, *model, '--mask-values', '1,3']) == 1
    assert 'was made with another mask_values' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--checkpoint', '--device', '--model'])
def test_empty_arguments_are_refused(inputs, capsys, option):
    with pytest.raises(SystemExit):
        refine.main([*inputs, option, ''])
    assert f'{option[2:]} is empty, which names nothing' in capsys.readouterr().err


def test_a_mask_goes_beside_its_coarse_one(model, inputs, tmp_path, capsys, monkeypatch):
    """From any folder, without -o; a repeat has nothing to do."""
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    pair = [f'{inputs[0]}/a.jpg', f'{inputs[1]}/a.png']
    assert refine.main([*pair, *model]) == 0
    expected = read_mask(tmp_path / 'masks' / 'a_refined.png')
    assert refine.main([*pair, '-o', str(tmp_path / 'x.png'), *model]) == 0
    np.testing.assert_array_equal(read_mask(tmp_path / 'x.png'), expected)
    assert refine.main([*pair, *model]) == 0
    assert '1 were there already' in capsys.readouterr().out
    (tmp_path / 'masks' / 'a_refined.png').unlink()
    assert refine.main([*inputs[:2], *model, '--contact-sheet']) == 0
    assert sorted(path.name for path in (tmp_path / 'masks_refined').iterdir()) == [
        'a.png', 'b.png', 'c.png', 'contact_sheet.jpg', 'd.png'
    ]  # fmt: skip
    sheet = read_image(tmp_path / 'masks_refined' / 'contact_sheet.jpg')
    assert sheet.shape[1] == 2000 and (sheet[40:80, 10:150] < 250).mean() > 0.5


def test_a_jpeg_is_written_with_a_warning(model, inputs, tmp_path, capsys):
    pair = [f'{inputs[0]}/a.jpg', f'{inputs[1]}/a.png']
    for name in ('x.png', 'x.jpg'):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            assert refine.main([*pair, '-o', str(tmp_path / name), *model]) == 0
        assert any('JPEG, which blurs' in str(each.message) for each in told) == (name == 'x.jpg')
    found, expected = (read_mask(tmp_path / name) > 127 for name in ('x.jpg', 'x.png'))
    assert (found != expected).mean() < 0.01
    assert refine.main([*pair, '-o', str(tmp_path / 'x.jpg'), *model]) == 0
    assert '1 were there already' in capsys.readouterr().out


def test_a_small_mask_is_resized_when_asked(model, inputs, tmp_path, capsys):
    photo, small = f'{inputs[0]}/a.jpg', np.zeros((30, 40), np.uint8)
    small[10:20, 10:25] = 255
    write_png(tmp_path / 'small.png', small)
    write_png(tmp_path / 'large.png', small.repeat(2, 0).repeat(2, 1))
    pair = [photo, str(tmp_path / 'small.png'), '-o', str(tmp_path / 'x.png'), *model]
    assert refine.main(pair) == 1
    assert '--resize-mask' in capsys.readouterr().err
    assert refine.main([*pair, '--resize-mask', '--before-after']) == 0
    large = [photo, str(tmp_path / 'large.png'), '-o', str(tmp_path / 'y.png'), *model]
    assert refine.main(large) == 0
    expected = read_mask(tmp_path / 'y.png')
    assert (read_mask(tmp_path / 'x.png') != expected).mean() < 0.01  # corners are rounded
    by_rows = [*pair[:3], str(tmp_path / 'z.npy'), *model, '--resize-mask']
    assert refine.main(by_rows) == 0
    np.testing.assert_array_equal(np.load(tmp_path / 'z.npy'), read_mask(tmp_path / 'x.png'))


def test_label_maps_one_class_or_all(model, inputs, tmp_path, capsys):
    photo, labels = f'{inputs[0]}/a.jpg', np.zeros((60, 80), np.uint8)
    labels[20:40, 20:50], labels[:15] = 3, 7
    palette = np.arange(24, dtype=np.uint8).reshape(8, 3)
    write_png(tmp_path / 'labels.png', labels, palette=palette)
    command = [photo, str(tmp_path / 'labels.png'), *model, '-o']
    assert refine.main([*command, str(tmp_path / 'x.png'), '--label', '3']) == 0
    assert refine.main([photo, f'{inputs[1]}/a.png', *model, '-o', str(tmp_path / 'y.png')]) == 0
    found, expected = read_mask(tmp_path / 'x.png'), read_mask(tmp_path / 'y.png')
    np.testing.assert_array_equal(found, expected)
    pictures = ['--label-map', '--overlay', '--before-after']
    assert refine.main([*command, str(tmp_path / 'z.png'), *pictures]) == 0
    tiny = Refiner(model[1], checkpoint=model[3], device='cpu', L=80)
    expected = tiny.refine_semantic(photo, labels)
    np.testing.assert_array_equal(read_labels(tmp_path / 'z.png'), expected)
    with Image.open(tmp_path / 'z.png') as picture:
        assert picture.mode == 'P' and picture.getpalette()[:24] == list(range(24))
    assert (tmp_path / 'z_overlay.jpg').exists() and (tmp_path / 'z_before_after.jpg').exists()
    capsys.readouterr()
    for options in (['--label', '3'], ['--windowed'], ['--probability'], ['--threshold', '0.4']):
        assert refine.main([*command, str(tmp_path / 'w.png'), '--label-map', *options]) == 1
        assert 'label_map' in capsys.readouterr().err


def test_a_cut_out_needs_no_mask(model, inputs, tmp_path, capsys):
    photo, mask = read_image(f'{inputs[0]}/a.jpg'), read_mask(f'{inputs[1]}/a.png')
    write_png(tmp_path / 'cutout.png', np.dstack([photo, mask]))
    assert refine.main([str(tmp_path / 'cutout.png'), *model]) == 0
    pair = [f'{inputs[0]}/a.jpg', f'{inputs[1]}/a.png', '-o', str(tmp_path / 'x.png')]
    assert refine.main([*pair, *model]) == 0
    found, expected = (read_mask(tmp_path / name) for name in ('cutout_refined.png', 'x.png'))
    np.testing.assert_array_equal(found, expected)
    capsys.readouterr()
    assert refine.main([f'{inputs[0]}/a.jpg', *model]) == 1
    assert 'has no transparent part' in capsys.readouterr().err
    assert refine.main([inputs[0], *model]) == 1
    assert 'give the folder of its masks' in capsys.readouterr().err


@pytest.mark.parametrize(('flags', 'expected'), [([], True), (['--no-keep-accurate'], False)])
def test_masks_that_lie_on_edges_are_refined_if_asked(flags, expected):
    args = refine_command.build_parser().parse_args(['a.jpg', 'b.png', *flags])
    assert CascadeSettings(**cascade_settings(args)).keep_accurate is expected
