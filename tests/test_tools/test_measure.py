"""tools/measure.py from its command line, and the baselines it can put beside the refiner."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch

from mmseg_cascadepsp.evaluation import binary_iou
from mmseg_cascadepsp.evaluation.baselines import BASELINES
from mmseg_cascadepsp.files.writing import write_png
from tests.test_tools.test_refine import Command


@pytest.fixture(scope='module')
def tool():
    return Command('measure', 'measure.py')


@pytest.fixture(scope='module')
def baselines():
    return BASELINES


@pytest.fixture
def photo():
    """A red disc on noisy green, its mask, and the mask displaced by 2 % of the longer side."""
    truth = cv2.circle(np.zeros((100, 150), np.uint8), (70, 50), 30, 1, -1).astype(bool)
    noise = np.random.RandomState(0).randint(0, 30, (100, 150, 3))
    image = (noise + np.where(truth[..., None], (200, 20, 20), (20, 150, 20))).astype(np.uint8)
    return image, truth, np.roll(truth, 2, axis=1)


@pytest.fixture
def data(tmp_path, photo):
    image, truth, coarse = photo
    for stem in 'ab':
        write_png(tmp_path / f'images/{stem}.png', image)
        write_png(tmp_path / f'masks/{stem}.png', truth * np.uint8(255))
        write_png(tmp_path / f'coarse/{stem}.png', coarse * np.uint8(255))
    return tmp_path


def folders_of(data):
    return [f'--{name}={data / name}' for name in ('images', 'masks', 'coarse')]


class StandIn:
    """Takes the place of Refiner: the true disc, as soft as a probability."""

    def __init__(self, model, checkpoint, device, precision, **settings):
        assert settings == {'steps': 'global', 'L': 300}

    def refine(self, image, mask):
        assert image.dtype == np.uint8 and mask.dtype == bool
        return np.where(image[..., 0] > 128, 140, 110).astype(np.uint8)


def test_refiner_beside_a_baseline(tool, data, monkeypatch, capsys):
    monkeypatch.setattr('mmseg_cascadepsp.apis.Refiner', StandIn)
    assert (
        tool.main(
            [
                *folders_of(data),
                '--fast',
                '--L=300',
                '--baselines=guided',
                f'--json={data}/rows.json',
                f'--markdown={data}/rows.md',
            ]
        )
        == 0
    )
    rows = json.loads((data / 'rows.json').read_text())
    assert [(row['method'], row['set'], row['n']) for row in rows] == [
        ('lite', 'all', 2),
        ('lite', data.name, 2),
        ('guided', 'all', 2),
        ('guided', data.name, 2),
    ]
    assert rows[0]['IoU'] == rows[0]['mBA'] == 100 >= rows[2]['IoU'] > rows[0]['IoU_before']
    assert (data / 'rows.md').read_text().strip() == capsys.readouterr().out.strip()


def test_every_second_mask(tool, data, capsys):
    (data / 'coarse/b.png').write_bytes(b'no picture, but not read either')
    assert tool.main([*folders_of(data), '--refiner=none', '--baselines=guided', '--every=2']) == 0
    assert '| all | 1 |' in capsys.readouterr().out


def test_coarse_masks_are_made_from_the_true_ones(tool, data, monkeypatch, capsys):
    """Of each photo always the same, whatever is measured before it; true masks are true."""
    given = []

    def method(image, mask):
        given.append(mask)
        return mask

    monkeypatch.setitem(BASELINES, 'mine', method)
    own = [*folders_of(data)[:2], '--refiner=none', '--baselines=mine', f'--json={data}/rows.json']
    assert tool.main([*own, '--simulate=promptable,true']) == 0
    rows = json.loads((data / 'rows.json').read_text())
    pooled = {row['kind']: row for row in rows if row['set'] == 'all'}
    assert pooled['true']['IoU_before'] == pooled['true']['mBA_before'] == 100
    assert 90 < pooled['promptable']['IoU_before'] < 100
    first, second, *_ = given
    assert (first != second).any()  # of the same truth, but another name
    given.clear()
    (data / 'coarse/c.png').write_bytes(b'not looked at')
    sets = data / 'sets/discs'
    for name in ('images', 'masks'):
        (sets / name).mkdir(parents=True)
        (sets / name / 'b.png').write_bytes((data / name / 'b.png').read_bytes())
    root = [f'--root={data / "sets"}', *own[2:]]
    assert tool.main([*root, '--simulate=promptable']) == 0
    np.testing.assert_array_equal(given[0], second)
    for wrong, words in (
        ([*folders_of(data), '--simulate=true'], 'leave --coarse out'),
        ([*own[:2], '--simulate=magic'], "knows promptable, true, perturbed, got 'magic'"),
        (own[:2], '--coarse (or --simulate) together'),
    ):
        assert tool.main([*wrong, '--refiner=none']) == 1
        assert words in capsys.readouterr().err


def test_hidden_files_are_none_of_the_set(tool, data, capsys):
    for folder, name in (('images', 'jpg'), ('masks', 'png'), ('coarse', 'png')):
        (data / folder / f'._a.{name}').write_bytes(b'what macOS puts beside a file')
    assert tool.main([*folders_of(data), '--refiner=none', '--baselines=guided']) == 0
    told = capsys.readouterr()
    assert '| all | 2 |' in told.out and '._a' not in told.out + told.err


def test_a_bad_mask_is_told_and_the_rest_measured(tool, data, capsys):
    (data / 'coarse/a.png').write_bytes(b'no picture')
    assert tool.main([*folders_of(data), '--refiner=none', '--baselines=guided']) == 1
    told = capsys.readouterr()
    assert 'coarse/a.png' in told.err.replace('\n', '')
    assert '1 of 2 masks could not be measured' in told.err
    assert '| all | 1 |' in told.out


def annotated(path, truth):
    """A mask as MMSegmentation's annotations have it: 0, 1, and a band of void."""
    grown, inner = (f(truth.astype(np.uint8), np.ones((3, 3))) for f in (cv2.dilate, cv2.erode))
    write_png(path, np.where(inner == 1, 1, np.where(grown == 1, 255, 0)).astype(np.uint8))
    return inner == 1, (grown == 1) & (inner == 0)


def test_masks_of_0_1_and_255_are_read_by_an_argument(tool, data, photo, capsys):
    _, truth, coarse = photo
    for stem in 'ab':
        inner, void = annotated(data / f'masks/{stem}.png', truth)
    call = [*folders_of(data), '--refiner=none', '--baselines=guided', f'--json={data}/rows.json']
    assert tool.main(call) == 1
    told = ''.join(capsys.readouterr().err.split())
    for words in ('canbereadasamask', 'andasalabelmap', '--mask-values1', '--ignore255'):
        assert words in told
    assert not (data / 'rows.json').exists() or not json.loads((data / 'rows.json').read_text())

    values = ['--mask-values=1', '--ignore=255']
    assert tool.main([*call, *values, '--coarse-values=soft']) == 0
    row = json.loads((data / 'rows.json').read_text())[0]
    expected = binary_iou(coarse & ~void, inner)  # void does not count
    assert row['n'] == 2 and abs(row['IoU_before'] - 100 * expected) < 1e-9
    assert expected < 1 and binary_iou(coarse, inner) < expected

    for stem in 'ab':  # coarse masks of the same kind
        annotated(data / f'coarse/{stem}.png', coarse)
    assert tool.main([*call, *values]) == 0
    inner_coarse = cv2.erode(coarse.astype(np.uint8), np.ones((3, 3))) == 1
    row = json.loads((data / 'rows.json').read_text())[0]
    assert abs(row['IoU_before'] - 100 * binary_iou(inner_coarse & ~void, inner)) < 1e-9


@pytest.mark.parametrize(
    'error, words',
    [(RuntimeError('out of memory\nlong trace'), 'out of memory'), (MemoryError(), 'MemoryError')],
)
def test_a_fault_of_the_method_does_not_lose_the_rest(
    tool, data, capsys, monkeypatch, error, words
):
    calls = []

    def method(image, mask):  # fails once
        calls.append(1)
        if len(calls) == 1:
            raise error
        return mask

    monkeypatch.setitem(BASELINES, 'mine', method)
    assert tool.main([*folders_of(data), '--refiner=none', '--baselines=mine']) == 1
    told = capsys.readouterr()
    said = ''.join(told.err.split())  # lines are broken where a terminal ends
    assert f'coarse/a.png:{words.replace(" ", "")}measuring' in said
    assert '| all | 1 |' in told.out


@pytest.mark.parametrize(
    'arguments, words',
    [
        (
            ['--images=x', '--refiner=none'],
            'Give --images, --masks and --coarse (or --simulate) together',
        ),
        (['--root=nowhere', '--refiner=none'], 'nowhere does not exist'),
        (['--refiner=none'], 'Nothing to measure'),
        (['--r0=0'], 'r0 must be from 1 to 5'),
        (['--L=10'], 'L must be at least 66'),
        (['--every=0'], '--every must be 1 (all masks) or more, got 0'),
        (['--refiner=none', '--baselines=magic'], "knows grabcut, guided, densecrf, got 'magic'"),
    ],
)
def test_wrong_arguments_are_one_sentence(tool, data, arguments, words, capsys):
    needs_data = not arguments[0].startswith(('--images', '--root'))
    assert tool.main([*(folders_of(data) if needs_data else []), *arguments]) == 1
    told = capsys.readouterr().err.strip()
    assert words in told and len(told.splitlines()) == 1


def test_a_table_that_cannot_be_written_is_printed(tool, data, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    rows = ['--refiner=none', '--baselines=guided', f'--json={tmp_path}/file/rows.json']
    assert tool.main([*folders_of(data), *rows]) == 1
    told = capsys.readouterr()
    assert 'guided' in told.out and str(tmp_path / 'file') in told.err


@pytest.mark.parametrize('name', ['grabcut', 'guided', 'densecrf'])
def test_baselines_follow_a_clear_edge(baselines, name, photo):
    if name == 'densecrf':
        pytest.importorskip('pydensecrf')
    image, truth, coarse = photo
    image.setflags(write=False)
    refined = baselines[name](image, coarse)
    assert refined.dtype == bool
    assert binary_iou(refined, truth) > max(0.95, binary_iou(coarse, truth))
    for flat in (truth & False, truth | True):
        np.testing.assert_array_equal(baselines[name](image, flat), flat)


def test_guided_filter_solves_its_regressions(baselines):
    """Equation by equation of He et al., window by window, where windows need no border."""
    random = np.random.RandomState(1)
    image = random.randint(0, 256, (13, 13, 3)).astype(np.uint8)
    mask = random.rand(13, 13) > 0.5
    guide, radius, eps = image / 255, 2, 0.01
    fits = {}
    for y in range(2, 11):
        for x in range(2, 11):
            window = slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)
            colours, values = guide[window].reshape(-1, 3), mask[window].reshape(-1)
            slope = np.linalg.solve(
                np.cov(colours.T, bias=True) + eps * np.eye(3),
                ((colours - colours.mean(0)).T * values).mean(1),
            )
            fits[y, x] = slope, values.mean() - slope @ colours.mean(0)
    refined = baselines['guided'](image, mask, radius=2 / 13, eps=eps)
    for y in range(4, 9):
        for x in range(4, 9):
            near = [fits[y + i, x + j] for i in range(-2, 3) for j in range(-2, 3)]
            value = np.mean([slope @ guide[y, x] + offset for slope, offset in near])
            assert refined[y, x] == (value > 0.5)


def test_densecrf_says_what_it_needs(baselines, photo, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    with pytest.raises(ImportError, match='needs the optional package pydensecrf2'):
        baselines['densecrf'](photo[0], photo[2])


def test_a_row_for_each_photo_the_worst_first(tool, data, photo, capsys):
    _, truth, _ = photo
    write_png(data / 'coarse/b.png', np.roll(truth, 30, axis=1) * np.uint8(255))
    command = [*folders_of(data), '--refiner=none', '--baselines=guided', '--name=discs']
    assert tool.main([*command, '--per-photo', f'--json={data}/rows.json']) == 0
    text = capsys.readouterr().out
    assert text.index('| b | discs |') < text.index('| a | discs |')
    rows = [row for row in json.loads((data / 'rows.json').read_text()) if 'photo' in row]
    assert [row['photo'] for row in rows] == ['b', 'a']
    for row, shift in zip(rows, (30, 2), strict=True):
        before = 100 * binary_iou(np.roll(truth, shift, axis=1), truth)
        assert row['IoU_before'] == pytest.approx(before)
    assert tool.main([f'--root={data}', '--name=x']) == 1
    assert '--name is for --images' in capsys.readouterr().err


def test_a_bound_of_changes(tool, data, monkeypatch, capsys):
    """No mask may change at all, so that none gains or loses."""
    monkeypatch.setattr(
        'mmseg_cascadepsp.cascade.refine', lambda *_: torch.from_numpy(np.eye(100, 150)).float()
    )
    rows = data / 'rows.json'
    with pytest.warns(UserWarning, match='more than max_change=0 allows'):
        assert (
            tool.main(
                [*folders_of(data), '--max-change=0', '--no-keep-accurate', f'--json={rows}']
            )
            == 0
        )
    row = json.loads(rows.read_text())[0]
    assert row['IoU'] == row['IoU_before'] and row['harmed_0.5'] == 0
