"""The demo script with a stand-in refiner, and the masks it comes with."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmseg_cascadepsp.cli import demonstration
from tests.test_tools.test_refine import Command

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['astronaut', 'chelsea', 'coffee', 'motorcycle', 'rocket']


def load_script(path):
    spec = importlib.util.spec_from_file_location(f'script_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.setattr(demonstration, 'Refiner', StandIn)
    return Command('demo', 'demo.py')


class StandIn:
    """Gives back the mask it got, a little smoothed; ``calls`` says how it was asked."""

    calls = []

    def __init__(self, model, checkpoint=None, device=None):
        self.name, self.network = model, SimpleNamespace(device=device or 'cpu')
        StandIn.calls = []

    def refine(self, image, mask, fast=None, L=900):
        StandIn.calls.append((image.shape[:2], fast, L))
        return cv2.GaussianBlur(mask.astype(np.uint8) * 255, (5, 5), 0)


def read(kind, name):
    return cv2.imread(str(ROOT / 'demo' / 'masks' / kind / f'{name}.png'), cv2.IMREAD_UNCHANGED)


def test_every_run_is_measured_and_pictured(demo, tmp_path, capsys):
    pytest.importorskip('skimage')
    assert (
        demo.main(['--out', str(tmp_path), '--small-l', '128', '--large', '600', '--no-chain'])
        == 0
    )
    printed = capsys.readouterr().out
    for name in NAMES:
        assert (tmp_path / f'{name}.jpg').stat().st_size > 10_000
    assert (tmp_path / 'motorcycle_L128.jpg').exists()
    assert (tmp_path / 'astronaut_600.jpg').exists()
    assert [call[1:] for call in StandIn.calls] == [
        *[(None, 900)] * 5,
        (True, 128),
        (None, 128),
        (None, 900),
    ]
    assert StandIn.calls[-1][0] == (600, 600)
    assert 'mean' in printed and 'peak memory of this process' in printed


def test_table_says_what_the_metrics_say(demo, tmp_path, capsys):
    pytest.importorskip('skimage')
    demo.main(
        [
            '--out',
            str(tmp_path),
            '--photos',
            'coffee',
            '--small-l',
            '0',
            '--large',
            '0',
            '--no-chain',
        ]
    )
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('coffee'))
    coarse, true = read('coarse', 'coffee') > 127, read('true', 'coffee') > 127
    iou = 100 * (coarse & true).sum() / (coarse | true).sum()
    assert line.split()[1] == '600x400' and f'{iou:.1f} ->' in line


def test_chain_finds_the_cat_and_refines_it(tmp_path, capsys):
    """Both shipped networks on a real photo, no mask given."""
    pytest.importorskip('skimage')
    demo = demonstration
    cfg = demo.Config.fromfile(demo.find_config(demo.CHAIN))
    model = demo.init_model(cfg, cfg.load_from, device='cpu')
    assert model.dataset_meta['classes'] == ('background', 'person', 'cat', 'horse')
    sample = demo.load('chelsea')
    row, found, refined = demo.run_chain(model, sample, 'cat')
    assert row.iou[0] > 0.6
    assert row.iou[1] > row.iou[0] - 0.01 and row.mba[1] > row.mba[0]
    assert found.coarse.shape == refined.shape == sample.true.shape
    assert (found.coarse != refined).any()


def test_mean_row_is_the_mean(demo):
    rows = [
        demonstration.Row('a', '', 1.0, (0.5, 0.7), (0.1, 0.3)),
        demonstration.Row('b', '', 3.0, (0.7, 0.9), (0.3, 0.5)),
    ]
    mean = demonstration.mean(rows)
    assert mean.seconds == 2 and mean.iou == pytest.approx((0.6, 0.8))
    assert '60.0 ->  80.0' in str(mean) and '20.0 ->  40.0' in str(mean)


def test_enlarging_keeps_the_shape_of_the_object(demo):
    true = read('true', 'rocket') > 127
    sample = demonstration.Sample('rocket', np.zeros((*true.shape, 3), np.uint8), true, true)
    sample = demonstration.enlarge(sample, 1280)
    assert sample.image.shape == (854, 1280, 3) and sample.true.dtype == bool
    assert sample.true.mean() == pytest.approx(true.mean(), rel=0.01)


def test_missing_scikit_image_is_told_in_one_sentence(demo, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, 'skimage', None)
    assert demo.main(['--out', str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert 'pip install scikit-image' in error and 'Traceback' not in error


def test_photo_of_another_size_is_told(demo, monkeypatch):
    data = pytest.importorskip('skimage.data')
    monkeypatch.setattr(data, 'coffee', lambda: np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(ValueError, match='60x40.*600x400'):
        demonstration.load('coffee')


def test_unknown_photo_names_those_that_exist(demo, capsys):
    with pytest.raises(SystemExit):
        demo.main(['--photos', 'elephant'])
    assert 'astronaut' in capsys.readouterr().err


@pytest.mark.parametrize('name', NAMES)
def test_true_masks_are_what_the_polygons_say(name):
    drawing = json.loads((ROOT / 'demo' / 'polygons' / f'{name}.json').read_text())
    mask = read('true', name)
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    script = load_script(ROOT / 'demo' / 'draw_masks.py')
    np.testing.assert_array_equal(script.render(drawing), mask)


@pytest.mark.parametrize('name', NAMES)
def test_coarse_masks_are_made_again_alike_and_are_coarse(name):
    script = load_script(ROOT / 'demo' / 'make_coarse.py')
    true, coarse = read('true', name), read('coarse', name)
    made = script.coarsen(true, *script.RECIPES[name])
    assert (made != coarse).mean() < 1e-3  # resizing may differ in the last bit between machines
    iou = ((true & coarse) > 0).sum() / ((true | coarse) > 0).sum()
    assert 0.84 < iou < 0.94


def test_only_the_photos_that_are_named_run(demo, tmp_path, capsys):
    pytest.importorskip('skimage')
    assert demo.main(['--out', str(tmp_path), '--photos', 'coffee']) == 0
    assert len(StandIn.calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['coffee.jpg']
