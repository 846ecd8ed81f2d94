"""Measuring on folders: which files belong together, what is counted, how it is told."""

import json
import re

import numpy as np
import pytest

from mmseg_cascadepsp import evaluation as ev
from mmseg_cascadepsp.evaluation import folders, mask_scores, tables
from mmseg_cascadepsp.files.writing import write_png

from .pictures import masks


def write_set(folder, seeds, sources=('coarse_simulated',)):
    """A set in the documented layout; returns its true and coarse masks by stem."""
    found = {}
    for seed in seeds:
        truth, coarse, _ = found[f'photo{seed}'] = masks(seed, 50, 40 + seed)
        write_png(folder / f'images/photo{seed}.png', np.full((*truth.shape, 3), seed, np.uint8))
        write_png(folder / f'masks/photo{seed}.png', truth * np.uint8(255))
        for source in sources:
            write_png(folder / source / f'photo{seed}.png', coarse * np.uint8(255))
    return found


def test_doubles_that_macos_adds_to_archives_are_skipped(tmp_path):
    write_set(tmp_path / 'cats', (1,))
    for name in ('images/._photo1.png', 'masks/._photo1.png', 'coarse_simulated/._photo1.png'):
        (tmp_path / 'cats' / name).write_bytes(b'Mac OS X')
    (example,) = folders.find_sets(tmp_path)
    assert example.image.name == 'photo1.png'


def the_truth(found):
    """A stand-in for a refiner that makes no mistake: it knows a photo by its grey value."""
    return lambda image, mask: found[f'photo{image[0, 0, 0]}'][0]


@pytest.mark.parametrize('val', ['', 'val'])
def test_sets_of_a_root_are_found_and_pooled(tmp_path, val, monkeypatch):
    cats = write_set(tmp_path / val / 'cats', (1, 2), ('coarse_simulated', 'coarse_a', 'coarse_b'))
    dogs = write_set(tmp_path / val / 'dogs', (3,))
    (tmp_path / val / 'cats/coarse_b/photo1.png').unlink()  # a network that found nothing there
    (tmp_path / val / 'notes').mkdir()
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', str(tmp_path))
    examples = folders.find_sets()
    records = [
        record
        for example in examples
        for record in folders.measure(
            example,
            {
                'perfect': the_truth(cats | dogs),
                'none': lambda image, mask: mask,
                'worse': lambda image, mask: mask & False,
            },
        )
    ]
    rows = {(row['kind'], row['method'], row['set']): row for row in folders.summarise(records)}
    assert {key: row['n'] for key, row in rows.items() if key[1] == 'none'} == {
        ('networks', 'none', 'all'): 3,
        ('networks', 'none', 'cats'): 3,
        ('simulated', 'none', 'all'): 3,
        ('simulated', 'none', 'cats'): 2,
        ('simulated', 'none', 'dogs'): 1,
    }
    every = [*cats.values(), *dogs.values()]
    before = mask_scores([coarse for _, coarse, _ in every], [truth for truth, _, _ in every])
    row = rows['simulated', 'perfect', 'all']
    for key, value in before.items():
        assert row[f'{key}_before'] == pytest.approx(100 * value)
        assert row[key] == 100
        assert row[f'{key}_gain'] == pytest.approx(100 - 100 * value)
        assert rows['simulated', 'none', 'all'][f'{key}_gain'] == 0
    assert rows['simulated', 'none', 'all']['harmed_0.5'] == 0
    assert rows['simulated', 'worse', 'all']['harmed_2'] == 100
    pieces = [ev.count_speckles(coarse, truth) for truth, coarse, _ in every]
    assert rows['simulated', 'none', 'all']['speckles'] == pytest.approx(sum(pieces) / 3)


def test_three_folders_are_matched_by_stem(tmp_path):
    write_set(tmp_path / 'mine', (4, 5, 6))
    (tmp_path / 'mine/masks/photo4.png').unlink()
    (tmp_path / 'mine/images/photo5.png').rename(tmp_path / 'mine/images/photo5.PNG')
    (tmp_path / 'mine/images/readme.txt').write_text('no picture')
    with (
        pytest.warns(
            UserWarning, match='images: 1 of 3 files have no partner.*, first photo4.png'
        ),
        pytest.warns(UserWarning, match='1 of 3 files have no photo .* first photo4.png'),
    ):
        examples = folders.find_examples(
            *(tmp_path / 'mine' / name for name in ('images', 'masks')),
            [tmp_path / 'mine/coarse_simulated'],
        )
    assert [example.image.name for example in examples] == ['photo5.PNG', 'photo6.png']
    assert {(example.set, example.kind) for example in examples} == {('mine', 'coarse_simulated')}


def test_folders_of_the_same_name_are_not_pooled(tmp_path):
    write_set(tmp_path, (1, 2), ('net1/masks', 'net2/masks'))
    coarse = [tmp_path / 'net1/masks', tmp_path / 'net2/masks']
    examples = folders.find_examples(tmp_path / 'images', tmp_path / 'masks', coarse)
    assert [example.kind for example in examples] == [str(path) for path in coarse for _ in 'ab']


def test_a_set_called_as_all_together_counts_once(tmp_path):
    write_set(tmp_path / 'all', (1, 2))
    records = [
        record
        for example in folders.find_sets(tmp_path)
        for record in folders.measure(example, {'none': lambda image, mask: mask})
    ]
    assert [(row['set'], row['n']) for row in folders.summarise(records)] == [('all', 2)]


def test_worst_set_and_tables():
    def row(name, n, gain, method='lite'):
        scores = {
            f'{key}{state}': value
            for key in tables.MASK_SCORES
            for state, value in (('_before', 80.0), ('', 80 + gain), ('_gain', gain))
        }
        harm = {'harmed_0.5': 12.5, 'harmed_2': 3.1, 'worst_tenth': -2.34}
        harm |= dict(speckles_before=1.0, speckles=0.25)
        return dict(kind='networks', method=method, set=name, n=n, seconds=0.5) | scores | harm

    rows = [
        row('all', 30, 2.0),
        row('cats', 20, 1.5),
        row('dogs', 10, 2.5),
        row('few', 9, -3.0),
        row('cats', 20, -1.0, 'guided'),
    ]
    assert tables.worst_set(rows, 'networks', 'lite')['set'] == 'cats'
    assert tables.worst_set(rows, 'networks', 'lite', 9)['set'] == 'few'
    assert tables.worst_set(rows, 'networks', 'lite', 31) is None
    text = tables.to_markdown(rows)
    assert '| cats | 20 | 80.00 -> 81.50 (+1.50) |' in text
    assert '| lose > 0.5 | lose > 2 | worst tenth | speckles |' in text
    assert '| 12.5 % | 3.1 % | -2.34 | 1.00 -> 0.25 | 0.50 |' in text
    assert len({line.count('|') for line in text.splitlines() if '|' in line}) == 1
    assert 'set of 10 masks or more: +1.50 (cats).' in text
    assert len(re.findall('^networks, ', text, re.MULTILINE)) == 2
    rows[0]['mBA'] = float('nan')
    assert json.loads(tables.to_json(rows))[0]['mBA'] is None


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv('MMSEG_CASCADEPSP_DATA', raising=False)
    with pytest.raises(OSError, match='No data root: give --root, or set MMSEG_CASCADEPSP_DATA'):
        folders.find_sets()
    with pytest.raises(OSError, match='nowhere does not exist'):
        folders.find_sets(tmp_path / 'nowhere')
    with pytest.raises(OSError, match='No set lies in'):
        folders.find_sets(tmp_path)
    write_set(tmp_path / 'set', (1, 2))
    paths = [tmp_path / 'set' / name for name in ('images', 'masks', 'coarse_simulated')]
    with pytest.raises(OSError, match='gone is no folder'):
        folders.find_examples(tmp_path / 'gone', *paths[1:])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(OSError, match='need the same stem'):
        folders.find_examples(*paths[:2], [tmp_path / 'empty'])
    (paths[0] / 'photo1.jpg').write_bytes((paths[0] / 'photo1.png').read_bytes())
    with pytest.raises(ValueError, match='have the same stem'):
        folders.find_examples(*paths[:2], paths[2:])


def test_sizes_have_to_agree(tmp_path):
    write_set(tmp_path, (1,))
    write_png(tmp_path / 'masks/photo1.png', np.zeros((5, 6), np.uint8))
    with pytest.raises(
        ValueError,
        match='photo1.png must have the size of the image .*photo1.png, 50 x 41 .*, got 5 x 6',
    ):
        folders.measure(folders.find_sets(tmp_path)[0], {})
