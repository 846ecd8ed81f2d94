"""Photos refined by rows: the same results, little memory, and runs that are killed go on."""

import functools
import json
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import tifffile

from mmseg_cascadepsp.apis import Refiner, refine_file
from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.errors import FileError
from mmseg_cascadepsp.files import large, read_mask, write_image, write_png
from mmseg_cascadepsp.files.row_writers import read_note

SIZE = (310, 203)


class Soft(Network):
    """A network whose answer depends on photo and mask, in no time; counts its passes."""

    def __init__(self):
        self.count = {'passes': 0, 'fault_at': None}  # shared by all refiners that hold it

    passes = property(lambda self: self.count['passes'])
    fault_at = property(lambda self: self.count['fault_at'])

    @passes.setter
    def passes(self, value):
        self.count['passes'] = value

    @fault_at.setter
    def fault_at(self, value):
        self.count['fault_at'] = value

    def for_image(self, image):
        return functools.partial(self.refine_pass, image)

    def normalize(self, image):
        return image.float() / 255 - 0.5

    def refine_pass(self, image, masks, strides):
        self.passes += 1
        if self.passes == self.fault_at:
            raise KeyboardInterrupt
        logits = 3.0 * (masks.mean(1, keepdim=True) + image.mean(1, keepdim=True))
        return dict.fromkeys(strides, logits)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Arrays of a photo and a mask, and a folder."""
    monkeypatch.setattr('mmseg_cascadepsp.cascade.geometry.STRIP_PIXELS', 4000)
    monkeypatch.setattr('mmseg_cascadepsp.files.rows.STRIP_BYTES', 3000)
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    return photo, np.hypot(y - 150, x - 100) < 70, tmp_path


def save(folder, suffix, photo, mask):
    paths = folder / f'photo{suffix}', folder / f'mask{suffix}'
    for path, array in zip(paths, (photo, mask.astype(np.uint8) * 255), strict=True):
        if suffix == '.npy':
            np.save(path, array)
        elif suffix == '.png':
            write_png(path, array)
        else:
            tifffile.imwrite(
                path,
                array,
                photometric='rgb' if array.ndim == 3 else 'minisblack',
                tile=(32, 48),
                compression='zlib',
            )
    return paths


@pytest.mark.parametrize('suffix', ['.npy', '.tif', '.png'])
@pytest.mark.parametrize('crops', ['uniform', 'adaptive'])
@pytest.mark.parametrize('options', [{'L': 96}, {'L': 96, 'steps': 'global'}, {'L': 400}])
def test_the_same_result_as_in_memory(inputs, suffix, crops, options):
    photo, mask, folder = inputs
    refiner = Refiner(Soft(), crops=crops)
    paths = save(folder, suffix, photo, mask)
    out, soft = folder / f'out{suffix}', folder / f'soft{suffix}'
    own = refiner.with_settings(**options)
    refine_file(own, *paths, out, probability=soft, threshold=0.3)
    expected = own.refine(photo, mask)
    result = np.load(soft) if suffix == '.npy' else read_soft(soft)
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert (result == expected).mean() > 0.99
    written = np.load(out) if suffix == '.npy' else read_mask(out)
    np.testing.assert_array_equal(written, (result > 255 * 0.3) * np.uint8(255))
    left = {path.name for path in folder.iterdir()}
    assert left == {path.name for path in (*paths, out, soft)}


class Eraser(Soft):
    """A network that finds nearly nothing."""

    def refine_pass(self, image, masks, strides):
        outputs = super().refine_pass(image, masks, strides)
        return {stride: values - 3 for stride, values in outputs.items()}


@pytest.mark.parametrize('of_photo_size', [True, False])
def test_an_object_is_never_lost_altogether(inputs, of_photo_size):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask if of_photo_size else mask[::2, ::2])
    out, soft = folder / 'out.npy', folder / 'soft.npy'
    refiner, options = Refiner(Eraser(), L=96), {'resize_mask': not of_photo_size}
    kept = refine_file(refiner, *paths, out, probability=soft, threshold=0.9, **options)
    pixels = np.count_nonzero(np.load(out))
    assert kept == f'the refiner would lose an object of {pixels} pixels altogether'
    if of_photo_size:
        np.testing.assert_array_equal(np.load(out), mask * np.uint8(255))
    assert pixels == pytest.approx(mask.sum(), rel=0.01)
    np.testing.assert_array_equal(np.load(soft), np.load(out))
    assert refine_file(Refiner(Soft(), L=96), *paths, folder / 'b.npy', **options) == ''
    release = Refiner(Eraser(), L=96, compat='release')  # the authors' package to the pixel
    assert refine_file(release, *paths, folder / 'c.npy', threshold=0.9, **options) == ''
    assert not np.load(folder / 'c.npy').any()


def read_soft(path):
    from PIL import Image

    return np.asarray(Image.open(path))


@pytest.mark.parametrize('fault_at', [1, 4, 8, 15])
def test_a_stopped_run_goes_on_where_it_was(inputs, fault_at):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    model = Soft()
    refiner = Refiner(model, crop_filter='all')
    refine_file(refiner.with_settings(L=96), *paths, folder / 'whole.npy')
    passes, model.passes, model.fault_at = model.passes, 0, fault_at
    with pytest.raises(KeyboardInterrupt):
        refine_file(refiner.with_settings(L=96), *paths, folder / 'out.npy')
    assert not (folder / 'out.npy').exists() and (folder / '.out.npy.partial').is_dir()
    model.passes, model.fault_at = 0, None
    counts = []
    refine_file(
        refiner.with_settings(L=96),
        *paths,
        folder / 'out.npy',
        progress=lambda *count: counts.append(count),
    )
    assert model.passes == passes if fault_at == 1 else model.passes <= passes - 3
    assert counts[-1] == ((passes - 3) // 2,) * 2
    np.testing.assert_array_equal(np.load(folder / 'out.npy'), np.load(folder / 'whole.npy'))
    assert not (folder / '.out.npy.partial').exists()


def test_a_late_stop_leaves_little_to_do(inputs):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', np.concatenate([photo] * 4), np.concatenate([mask] * 4))
    model = Soft()
    refiner = Refiner(model, crop_filter='all')
    refine_file(refiner.with_settings(L=96), *paths, folder / 'whole.npy')
    passes, model.passes, model.fault_at = model.passes, 0, model.passes - 10
    with pytest.raises(KeyboardInterrupt):
        refine_file(refiner.with_settings(L=96), *paths, folder / 'out.npy')
    model.passes, model.fault_at = 0, None
    refine_file(refiner.with_settings(L=96), *paths, folder / 'out.npy')
    assert model.passes < passes / 4
    np.testing.assert_array_equal(np.load(folder / 'out.npy'), np.load(folder / 'whole.npy'))


DAMAGES = {
    'cut': lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    'empty': lambda path: path.write_bytes(b''),
    'no archive': lambda path: path.write_bytes(b'global'),
    'other outputs': lambda path: np.savez(path, **{'64': np.zeros((1, 1, 2, 2))}),
    'other shapes': lambda path: np.savez(path, **{'1': np.zeros(3), '4': 0}),
    'flipped': lambda path: flip(path),
}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(content)


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_photo_is_begun_anew_where_what_was_kept_of_it_is_damaged(inputs, damage):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    model = Soft()
    refiner = Refiner(model, crop_filter='all', L=96)
    refine_file(refiner, *paths, folder / 'whole.npy')
    model.passes, model.fault_at = 0, 15
    with pytest.raises(KeyboardInterrupt):
        refine_file(refiner, *paths, folder / 'out.npy')
    DAMAGES[damage](folder / '.out.npy.partial' / 'global.npz')
    model.fault_at = None
    refine_file(refiner, *paths, folder / 'out.npy')
    np.testing.assert_array_equal(np.load(folder / 'out.npy'), np.load(folder / 'whole.npy'))
    assert not (folder / '.out.npy.partial').exists()


@pytest.mark.parametrize('change', ['settings', 'input', 'broken'])
def test_what_was_done_with_other_settings_or_inputs_is_made_anew(inputs, change):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    model = Soft()
    refiner = Refiner(model)
    model.fault_at = 8
    with pytest.raises(KeyboardInterrupt):
        refine_file(refiner.with_settings(L=96), *paths, folder / 'out.npy')
    model.fault_at = None
    if change == 'input':
        np.save(paths[0], photo[::-1])
    elif change == 'broken':
        (folder / '.out.npy.partial' / 'state.json').write_text('{')
    L = 88 if change == 'settings' else 96
    refine_file(refiner.with_settings(L=L), *paths, folder / 'out.npy')
    refine_file(refiner.with_settings(L=L), *paths, folder / 'again.npy')
    np.testing.assert_array_equal(np.load(folder / 'out.npy'), np.load(folder / 'again.npy'))


@pytest.mark.parametrize(
    ('end', 'fault'),
    [
        ('done', nullcontext()),
        ('empty mask', nullcontext()),
        ('other size', pytest.raises(ValueError, match='size of the image')),
        ('stopped', pytest.raises(KeyboardInterrupt)),
    ],
)
def test_tiff_files_are_closed_at_the_end(inputs, tiff_handles, end, fault):
    photo, mask, folder = inputs
    mask = mask[1:] if end == 'other size' else mask & (end != 'empty mask')
    paths = save(folder, '.tif', photo, mask)
    model = Soft()
    model.fault_at = 4 if end == 'stopped' else None
    with fault:
        refine_file(Refiner(model, L=96), *paths, folder / 'out.tif')
    opened = 0 if end == 'other size' else 2  # that the headers tell
    assert [handle.closed for handle in tiff_handles] == [True] * opened


@pytest.mark.parametrize('value', [False, True])
def test_empty_and_full_masks_run_nothing(inputs, value):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, np.full_like(mask, value))
    model = Soft()
    refine_file(Refiner(model, L=96), *paths, folder / 'out.png')
    assert model.passes == 0 and (read_mask(folder / 'out.png') == 255 * value).all()
    assert not (folder / '.out.png.partial').exists()


def test_a_note_is_kept_and_other_formats_mix(inputs):
    photo, mask, folder = inputs
    write_image(folder / 'photo.png', photo)
    np.save(folder / 'mask.npy', mask)
    refiner = Refiner(Soft())
    for name in ('out.tif', 'out.png'):
        paths = (folder / file for file in ('photo.png', 'mask.npy', name))
        refine_file(refiner.with_settings(L=96), *paths, note='{"a": 1}')
        assert json.loads(read_note(folder / name)['mmseg_cascadepsp']) == {'a': 1}
    np.testing.assert_array_equal(read_mask(folder / 'out.tif'), read_mask(folder / 'out.png'))


def test_bad_arguments(inputs):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    refiner = Refiner(Soft())
    for arguments, options, words in (
        ((*paths, folder / 'a.jpg'), {}, r'out must end in .png, .tif, .tiff, .npy, got .*a.jpg'),
        ((*paths, folder / 'a.png'), {'probability': 'a.gif'}, 'probability must end in'),
    ):
        with pytest.raises(ValueError, match=words):
            refine_file(refiner.with_settings(L=96), *arguments, **options)
    np.save(folder / 'small.npy', mask[1:])
    with pytest.raises(ValueError, match=r'310 x 203 \(H x W\), got 309 x 203'):
        refine_file(refiner, paths[0], folder / 'small.npy', folder / 'a.png')
    assert not (folder / 'a.png').exists()


@pytest.mark.parametrize('kind', ['out', 'probability'])
def test_a_package_that_writes_the_result_is_missed_before_the_work(inputs, monkeypatch, kind):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    model, given = Soft(), {'out': folder / 'x.npy', kind: folder / 'x.tif'}
    with pytest.raises(OSError, match='x.tif cannot be .* pip install tifffile .*"huge"'):
        refine_file(Refiner(model, L=96), *paths, **given)
    assert model.passes == 0 and sorted(folder.iterdir()) == sorted(paths)


MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
import torch
from mmseg_cascadepsp.apis import Refiner, refine_file
sys.path.insert(0, sys.argv[1])
from test_large import Soft

folder, kind = sys.argv[2:]
refiner = Refiner(Soft(), crops='adaptive')
small = np.zeros((64, 64, 3), np.uint8), np.eye(64, dtype=bool)
refiner.refine(*small, L=300)

def peak():  # getrusage's would start from that of the parent process
    return int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]) / 2**20

before = peak()
paths = [f'{folder}/{name}.npy' for name in ('photo', 'mask', kind)]
if kind == 'rows':
    refine_file(refiner.with_settings(L=300), *paths)
else:
    np.save(paths[2], refiner.refine(np.load(paths[0]), np.load(paths[1]), L=300))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_rows_take_little_memory(tmp_path):
    """6000 x 6000 by rows in less than 250 MB beside the process, and in less than two thirds of
    what the photo in memory takes; the results agree."""
    photo = np.zeros((6000, 6000, 3), np.uint8)
    photo[:, ::3] = 200
    mask = np.zeros((6000, 6000), np.uint8)
    mask[2000:3000, 1500:3500] = 1
    np.save(tmp_path / 'photo.npy', photo)
    np.save(tmp_path / 'mask.npy', mask)
    taken = {}
    for kind in ('rows', 'memory'):
        command = [sys.executable, '-c', MEMORY, str(__file__).rpartition('/')[0], str(tmp_path)]
        done = subprocess.run([*command, kind], capture_output=True, text=True, check=True)
        taken[kind] = float(done.stdout.split()[-1])
    assert taken['rows'] < 0.25 and taken['rows'] < taken['memory'] / 1.5
    by_rows, whole = (np.load(tmp_path / f'{kind}.npy', mmap_mode='r') for kind in taken)
    assert (by_rows == (whole > 127) * np.uint8(255)).mean() > 0.9999


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'threshold': 1.5}, 'threshold must be at least 0 and below 1, got 1.5'),
        ({'out': 'mask.png'}, 'must be different files'),
        ({'out': 'photo.png'}, 'must be different files'),
        ({'probability': 'out.png'}, 'must be different files'),
    ],
)
def test_inputs_are_never_overwritten(inputs, options, words):
    photo, mask, folder = inputs
    paths = save(folder, '.png', photo, mask)
    before = [path.read_bytes() for path in paths]
    options = {'out': 'out.png', **options}
    options = {key: folder / v if isinstance(v, str) else v for key, v in options.items()}
    with pytest.raises(ValueError, match=words):
        refine_file(Refiner(Soft()), *paths, **options)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(folder.iterdir()) == sorted(paths)


@pytest.mark.parametrize('size', [96, 88])
def test_a_second_run_leaves_one_that_is_under_way_alone(inputs, size):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    refiner = Refiner(Soft(), crop_filter='all')
    refine_file(refiner.with_settings(L=96), *paths, folder / 'whole.npy')

    def meanwhile(done, total):
        with pytest.raises(OSError, match='out .*out.npy is being written by another run'):
            refine_file(refiner.with_settings(L=size), *paths, folder / 'out.npy')

    refine_file(refiner.with_settings(L=96), *paths, folder / 'out.npy', progress=meanwhile)
    np.testing.assert_array_equal(np.load(folder / 'out.npy'), np.load(folder / 'whole.npy'))
    assert not (folder / '.out.npy.partial').exists()


def test_what_a_run_leaves_is_cleared_away_before_another_may_begin(inputs, monkeypatch):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    clear, left = large._clear, []

    def look(folder):
        clear(folder)
        left.append(sorted(file.name for file in folder.iterdir()))
        with pytest.raises(large.Timeout):
            large.FileLock(folder / large.LOCK, timeout=0).acquire()

    monkeypatch.setattr(large, '_clear', look)
    refine_file(Refiner(Soft(), L=96), *paths, folder / 'out.npy')
    assert left[-1] == [large.LOCK] and not (folder / '.out.npy.partial').exists()


@pytest.mark.parametrize('suffix', ['.npy', '.tif', '.png'])
def test_rows_that_were_lost_are_told_and_nothing_is_written(inputs, suffix, monkeypatch):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    refine_rows = large._refine_rows

    def cut_short(refiner, photo, coarse, folder, *rest):
        refine_rows(refiner, photo, coarse, folder, *rest)
        with open(folder / large.ROWS, 'r+b') as file:
            file.truncate(1000)

    monkeypatch.setattr(large, '_refine_rows', cut_short)
    with pytest.raises(OSError, match='rows.bin has been cut short'):
        refine_file(Refiner(Soft(), L=96), *paths, folder / f'out{suffix}')
    assert not (folder / f'out{suffix}').exists()


@pytest.mark.parametrize('linked', ['folder', 'lock', 'state.json', 'rows.bin', 'global.npz'])
def test_links_in_the_place_of_hidden_files_are_refused(inputs, linked):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo, mask)
    (folder / 'mine').mkdir()
    (folder / 'mine' / 'rows.bin').write_text('precious')
    partial = folder / '.out.npy.partial'
    if linked == 'folder':
        partial.symlink_to(folder / 'mine', target_is_directory=True)
    else:
        partial.mkdir()
        (partial / linked).symlink_to(folder / 'mine' / 'rows.bin')
    with pytest.raises(FileError, match='is a link, which no run by rows made'):
        refine_file(Refiner(Soft(), L=96), *paths, folder / 'out.npy')
    assert (folder / 'mine' / 'rows.bin').read_text() == 'precious'


def test_files_of_others_in_the_hidden_folder_stay(inputs):
    photo, mask, folder = inputs
    paths = save(folder, '.npy', photo[:40, :40], mask[130:170, 40:80])
    partial = folder / '.out.npy.partial'
    (partial / 'more').mkdir(parents=True)
    kept = [partial / 'notes.txt', partial / 'more' / 'rows.bin']
    for path in kept:
        path.write_text('precious')
    left = [partial / 'state.json', partial / '.global.npz.0123456789ab.tmp']
    for path in left:
        path.write_text('of a run before')
    refine_file(Refiner(Soft(), L=96), *paths, folder / 'out.npy')
    assert (folder / 'out.npy').exists() and not any(path.exists() for path in left)
    assert all(path.read_text() == 'precious' for path in kept)


def test_what_files_do_not_say_is_said_and_belongs_to_the_state(inputs):
    photo, mask, folder = inputs
    photo, ids = photo[:40, :40], mask[130:170, 20:60] * np.uint8(2)
    ids[0] = 255
    paths = save(folder, '.npy', photo, ids)
    np.save(paths[1], ids)
    refiner = Refiner(Soft(), L=96)
    with pytest.raises(ValueError, match='0, 2, 255, which can be read as a mask'):
        refine_file(refiner, *paths, folder / 'out.npy')
    refine_file(refiner, *paths, folder / 'out.npy', mask_values=2)
    expected = refiner.refine(photo, ids == 2) > 127
    np.testing.assert_array_equal(np.load(folder / 'out.npy') > 127, expected)
