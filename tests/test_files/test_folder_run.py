import errno
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console
from rich.live import Live

from mmseg_cascadepsp.apis import EXTRAS, find_pairs, refine_files
from mmseg_cascadepsp.files import one_pair as module
from mmseg_cascadepsp.files import read_image, read_mask, write_image, write_png
from mmseg_cascadepsp.files.one_pair import refine_pair
from mmseg_cascadepsp.files.run_options import RunOptions
from tests.rounding import assert_same_labels
from tests.tiny import Stub

L = 80


@pytest.fixture
def pairs(tmp_path, photo, mask):
    """Folders of three photos and masks, one of them in a subfolder, and a place for results."""
    for name in ('a', 'b', 'deep/c'):
        write_image(tmp_path / 'photos' / f'{name}.jpg', photo)
        write_png(tmp_path / 'masks' / f'{name}.png', mask.astype(np.uint8) * 255)
    return tmp_path / 'photos', tmp_path / 'masks', tmp_path / 'out'


class Blur(Stub):
    """Stands for a refiner: quick, counts, and fails or is interrupted when told."""

    def __init__(self, fault=None, at=0, name='blur'):
        super().__init__()
        self.fault, self.at, self.calls, self.name = fault, at, 0, name

    def blur(self, image, mask):
        assert image.dtype == np.uint8 and image.shape[2] == 3
        self.calls += 1
        if self.calls == self.at:
            raise self.fault
        if mask.shape != image.shape[:2]:
            raise ValueError(f'{len(image)} x {image.shape[1]}')
        return super().blur(image, mask)


@pytest.fixture
def blur():
    return Blur()


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob('*') if path.is_file())


def test_a_folder_with_everything(refiner, pairs):
    report = refine_files(refiner, *pairs, L=L, extras=EXTRAS)
    assert report.refined == ['a', 'b', 'deep/c'] and not report.skipped and not report.failed
    assert str(report) == '3 refined, 0 were there already, 0 failed'
    assert files(pairs[2]) == sorted(
        [f'{n}.png' for n in ('a', 'b', 'deep/c')]
        + [f'{kind}/{n}{suffix}' for kind, suffix in EXTRAS.items() for n in ('a', 'b', 'deep/c')]
    )
    photo, coarse = read_image(pairs[0] / 'a.jpg'), read_mask(pairs[1] / 'a.png')
    expected = refiner.refine(photo, coarse, L=L)
    np.testing.assert_array_equal(
        np.asarray(Image.open(pairs[2] / 'probability' / 'a.png')), expected
    )
    result = np.asarray(Image.open(pairs[2] / 'a.png'))
    np.testing.assert_array_equal(result, (expected > 127) * np.uint8(255))
    assert read_image(pairs[2] / 'overlay' / 'a.jpg').shape == photo.shape


@pytest.mark.parametrize('threshold', [0, 0.3, 0.9])
def test_threshold(blur, pairs, threshold):
    refine_files(blur, *pairs, L=L, threshold=threshold, extras=['probability'])
    probability = np.asarray(Image.open(pairs[2] / 'probability' / 'a.png'))
    result = np.asarray(Image.open(pairs[2] / 'a.png'))
    np.testing.assert_array_equal(result == 255, probability > threshold * 255)


@pytest.mark.parametrize('out', ['x.png', 'new/x.png', 'folder', 'folder/'])
def test_one_pair(blur, pairs, tmp_path, out):
    report = refine_files(
        blur,
        pairs[0] / 'a.jpg',
        pairs[1] / 'b.png',
        f'{tmp_path}/{out}',
        L=L,
        extras=['overlay', 'before_after'],
    )
    stem = 'x' if out.endswith('.png') else 'a'
    where = tmp_path / (out.rpartition('/')[0] if out.endswith('.png') else 'folder')
    assert report.refined == ['a']
    for name in (f'{stem}.png', f'{stem}_overlay.jpg', f'{stem}_before_after.jpg'):
        assert (where / name).is_file()


def test_finished_pairs_are_skipped(blur, pairs):
    counter = Blur()
    refine_files(counter, *pairs, L=L)
    report = refine_files(counter, *pairs, L=L)
    assert report.skipped == ['a', 'b', 'deep/c'] and counter.calls == 3
    report = refine_files(counter, *pairs, L=L, overwrite=True)
    assert len(report.refined) == 3 and counter.calls == 6


@pytest.mark.parametrize('at', [1, 2, 3])
def test_an_interrupted_run_goes_on(blur, pairs, at):
    with pytest.raises(KeyboardInterrupt):
        refine_files(Blur(KeyboardInterrupt(), at), *pairs, L=L, extras=['overlay'])
    assert not [name for name in files(pairs[2]) if name.endswith('.tmp')]
    report = refine_files(blur, *pairs, L=L, extras=['overlay'])
    assert len(report.skipped) == at - 1 and len(report.refined) == 4 - at


def test_a_run_killed_between_the_outputs_of_a_pair_makes_them_again(blur, pairs, monkeypatch):
    write = module.write_png

    def killed(path, *args, **kwargs):
        if path == pairs[2] / 'a.png':
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    monkeypatch.setattr(module, 'write_png', killed)
    with pytest.raises(KeyboardInterrupt):
        refine_files(blur, *pairs, L=L, extras=['overlay'])
    assert (pairs[2] / 'overlay' / 'a.jpg').exists() and not (pairs[2] / 'a.png').exists()
    monkeypatch.undo()
    assert len(refine_files(blur, *pairs, L=L, extras=['overlay']).refined) == 3


def test_a_missing_extra_or_a_changed_input_is_made_again(blur, pairs, photo):
    refine_files(blur, *pairs, L=L)
    assert len(refine_files(blur, *pairs, L=L, extras=['overlay']).refined) == 3
    (pairs[2] / 'overlay' / 'b.jpg').unlink()
    assert refine_files(blur, *pairs, L=L, extras=['overlay']).refined == ['b']
    write_image(pairs[0] / 'a.jpg', photo[::-1].copy())
    assert refine_files(blur, *pairs, L=L, extras=['overlay']).refined == ['a']


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'fast': True}, 'another steps'),
        ({'threshold': 0.4}, 'another threshold'),
        ({'L': 70}, 'another L'),
    ],
)
def test_outputs_of_other_settings_are_kept(blur, pairs, change, words):
    refine_files(blur, *pairs, L=L)
    before = {name: (pairs[2] / name).read_bytes() for name in files(pairs[2])}
    counter = Blur()
    with pytest.raises(ValueError, match=f'a.png was made with {words}, and 2 more.*overwrite'):
        refine_files(counter, *pairs, **{'L': L, **change})
    assert not counter.calls
    assert before == {name: (pairs[2] / name).read_bytes() for name in files(pairs[2])}
    assert refine_files(blur, *pairs, **{'L': L, **change}, overwrite=True).refined


def test_outputs_of_another_refiner_or_another_tool_are_kept(blur, pairs, tmp_path):
    refine_files(blur, *pairs, L=L)
    other = Blur(name='other')
    with pytest.raises(ValueError, match='another model'):
        refine_files(other, *pairs, L=L)
    write_png(tmp_path / 'mine.png', np.zeros((9, 9), np.uint8))
    for note in (
        {},
        {'mmseg_cascadepsp': 'no json'},
        {'mmseg_cascadepsp': '[]'},
        {'mmseg_cascadepsp': json.dumps({'settings': blur.settings()})},
    ):
        write_png(tmp_path / 'mine.png', np.zeros((9, 9), np.uint8), note)
        with pytest.raises(ValueError, match='mine.png (is no output|was made with another)'):
            refine_files(blur, pairs[0] / 'a.jpg', pairs[1] / 'a.png', tmp_path / 'mine.png')


def test_a_photo_that_is_gone_is_told_in_a_second_run_too(blur, pairs):
    refine_files(blur, *pairs, L=L)
    (pairs[0] / 'b.jpg').unlink()
    (pairs[0] / 'b.jpg').symlink_to('/nowhere')
    report = refine_files(blur, *pairs, L=L)
    assert report.skipped == ['a', 'deep/c'] and 'b.jpg' in report.failed['b']


def test_an_extra_never_takes_the_place_of_a_mask(blur, pairs):
    (pairs[0] / 'deep').rename(pairs[0] / 'probability')
    (pairs[1] / 'deep').rename(pairs[1] / 'probability')
    for folder, suffix in zip(pairs, ('jpg', 'png'), strict=False):
        (folder / 'probability' / f'c.{suffix}').rename(folder / 'probability' / f'a.{suffix}')
    with pytest.raises(ValueError, match='probability of a, .*rename that folder'):
        refine_files(blur, *pairs, L=L, extras=('probability',))
    assert not pairs[2].exists()
    assert refine_files(blur, *pairs, L=L).refined == ['a', 'b', 'probability/a']


def test_a_bad_pair_is_told_and_the_others_go_on(blur, pairs, photo, mask):
    for name, content in (
        ('cut.jpg', (pairs[0] / 'a.jpg').read_bytes()[:900]),
        ('text.jpg', b'a'),
        ('small.jpg', None),
    ):
        (pairs[0] / name).write_bytes(content or b'')
        shutil.copy(pairs[1] / 'a.png', pairs[1] / name.replace('jpg', 'png'))
    write_image(pairs[0] / 'small.jpg', photo[:-1].copy())
    shutil.copy(pairs[1] / 'a.png', pairs[1] / 'alone.png')
    shutil.copy(pairs[0] / 'a.jpg', pairs[0] / 'a.jpeg')
    shutil.copy(pairs[0] / 'b.jpg', pairs[0] / 'without_mask.jpg')
    console = Console(record=True, width=2000, file=io.StringIO())
    report = refine_files(blur, *pairs, L=L, console=console)
    assert report.refined == ['b', 'deep/c']
    said = console.export_text()
    for name, words in (
        ('cut', 'truncated'),
        ('text', 'not an image'),
        ('alone', '0 photos'),
        ('small', '69 x 101'),
        ('a', '2 photos and 1 masks'),
    ):
        assert words in report.failed[name]
        assert f'failed {name}: {report.failed[name]}' in said
    assert len(report.failed) == 5
    assert report.without_mask == ['without_mask']
    assert '1 photos have no mask and are left out: without_mask' in said
    assert files(pairs[2]) == ['b.png', 'deep/c.png']


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        (RuntimeError('out of memory\nlong trace'), 'out of memory'),
        (MemoryError(), 'MemoryError'),
        (zlib.error('Error -3 while decompressing'), 'error: Error -3 while decompressing'),
        (ZeroDivisionError('division by zero'), 'ZeroDivisionError: division by zero'),
        (KeyError('stride'), "KeyError: 'stride'"),
        (EOFError(), 'EOFError'),
        (cv2.error('empty'), 'error: empty'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_pair_meets_is_one_line_that_names_its_files(blur, pairs, fault, words):
    report = refine_files(Blur(fault, 2), *pairs, L=L)
    assert report.refined == ['a', 'deep/c']
    assert report.failed == {'b': f'{pairs[0]}/b.jpg with mask {pairs[1]}/b.png: {words}'}


def test_a_file_that_is_damaged_inside_fails_alone(refiner, pairs, photo):
    """What Pillow and tifffile raise of it, read whole and by rows."""
    for folder, name, values in zip(pairs, 'ab', (photo, photo[..., 0]), strict=False):
        whole = pairs[0].parent / 'whole.tif'
        tifffile.imwrite(whole, values, compression='zlib', rowsperstrip=8)
        content = bytearray(whole.read_bytes())
        with tifffile.TiffFile(whole) as file:  # an early strip, so that the header is sound
            offset = file.pages[0].dataoffsets[3]
        content[offset + 20 : offset + 28] = b'\xff' * 8
        (folder / f'{name}.tif').write_bytes(content)
        next(folder.glob(f'{name}.[jp]*')).unlink()
    np.save(pairs[1] / 'deep/c.npy', np.zeros((70, 101), 'V0'))
    (pairs[1] / 'deep/c.png').unlink()
    for windowed in (True, None):
        report = refine_files(refiner, *pairs, L=L, windowed=windowed)
        assert not report.refined and set(report.failed) == {'a', 'b', 'deep/c'}
        for name, file in (
            ('a', pairs[0] / 'a.tif'),
            ('b', pairs[1] / 'b.tif'),
            ('deep/c', pairs[1] / 'deep/c.npy'),
        ):
            assert str(file) in report.failed[name] and '\n' not in report.failed[name]


class Gone(io.StringIO):
    """A terminal that cannot be written to any more, or lacks a letter."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def write(self, text):
        raise self.fault


@pytest.mark.parametrize(
    'fault', [OSError(5, 'Input/output error'), UnicodeEncodeError('cp1252', 'x', 0, 1, 'no')]
)
def test_what_cannot_be_printed_does_not_end_the_run(blur, pairs, fault):
    (pairs[0] / 'b.jpg').write_bytes(b'')
    report = refine_files(blur, *pairs, L=L, console=Console(file=Gone(fault)))
    assert report.refined == ['a', 'deep/c'] and list(report.failed) == ['b']


@pytest.mark.parametrize('at', [1, 5])
def test_a_full_disk_ends_the_run_and_leaves_nothing_half(blur, pairs, monkeypatch, at):
    sync = []

    def full(_):
        sync.append(1)
        if len(sync) >= at:
            raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    counter = Blur()
    with pytest.raises(OSError, match='cannot be written: No space left'):
        refine_files(counter, *pairs, L=L, extras=EXTRAS)
    # The next pair may be at the network when a pair cannot be written.
    assert 0 <= counter.calls - (1 + (at - 1) // 4) <= 1
    assert len(files(pairs[2])) == at - 1
    monkeypatch.undo()
    assert len(refine_files(blur, *pairs, L=L, extras=EXTRAS).skipped) == (at - 1) // 4


def test_reading_network_and_writing_overlap(blur, pairs, monkeypatch):
    """The network waits for the next photo to be read, and for the last mask to be written: both
    happen while it is at work."""
    read, written = threading.Event(), threading.Event()
    read_pair_, write_png_ = module.read_pair, module.write_png

    def reads(image, *args):
        if image.stem == 'c':
            read.set()
        return read_pair_(image, *args)

    def writes(path, *args):
        write_png_(path, *args)
        if path.stem == 'a':
            written.set()

    class Waits(Blur):
        def blur(self, image, mask):
            if self.calls == 1:  # at work on b: c is read and a is written
                assert read.wait(60) and written.wait(60)
            return super().blur(image, mask)

    monkeypatch.setattr(module, 'read_pair', reads)
    monkeypatch.setattr(module, 'write_png', writes)
    assert refine_files(Waits(), *pairs, L=L).refined == ['a', 'b', 'deep/c']


def test_a_mask_that_is_kept_is_written_and_told(pairs, refiner, capsys):
    console = Console(width=200, file=sys.stdout, soft_wrap=True)
    report = refine_files(refiner.with_settings(max_change=0), *pairs, L=L, console=console)
    assert list(report.kept) == ['a', 'b', 'deep/c'] and not report.refined
    assert str(report) == '0 refined, 3 kept as they were, 0 were there already, 0 failed'
    assert (read_mask(pairs[2] / 'a.png') == read_mask(pairs[1] / 'a.png')).all()
    assert 'kept a: it would change by' in capsys.readouterr().out
    with pytest.raises(ValueError, match='max_change is not looked at'):
        refine_pair(
            refiner.with_settings(max_change=0),
            find_pairs(*pairs)[0][0],
            RunOptions(windowed=True),
        )


@pytest.mark.parametrize('windowed', [True, None])
def test_large_photos_are_refined_by_rows_and_found_again(refiner, pairs, monkeypatch, windowed):
    whole = refine_files(refiner, *pairs[:2], pairs[2] / 'whole', L=L)
    monkeypatch.setattr(module, 'WINDOWED_PIXELS', 70 * 101 - 1)
    monkeypatch.setattr(type(refiner), 'refine', None)  # what is whole in memory
    assert refine_files(refiner, *pairs, L=L, windowed=windowed).refined == whole.refined
    for name in whole.refined:
        assert_same_labels(
            read_mask(pairs[2] / f'{name}.png'), read_mask(pairs[2] / 'whole' / f'{name}.png')
        )
    assert len(refine_files(refiner, *pairs, L=L, windowed=windowed).skipped) == 3
    with monkeypatch.context() as patch:
        patch.setattr(module, 'refine_file', lambda *_, **__: 'it would be lost')
        report = refine_files(refiner, *pairs, L=L, overwrite=True)
    assert set(report.kept.values()) == {'it would be lost'} and len(report.kept) == 3
    report = refine_files(refiner, *pairs, L=L, extras=['overlay'], overwrite=True)
    assert all('by rows, without overlay' in text for text in report.failed.values())


@pytest.mark.parametrize('suffix', ['.tif', '.npy'])
def test_one_pair_in_the_formats_of_large_photos(refiner, pairs, tmp_path, photo, suffix):
    np.save(tmp_path / 'photo.npy', photo)
    paths = tmp_path / 'photo.npy', pairs[1] / 'a.png', tmp_path / f'x{suffix}'
    assert refine_files(refiner, *paths, L=L, extras=['probability']).refined == ['photo']
    expected = refiner.refine(photo, read_mask(paths[1]), fast=None, L=L)
    results = [tmp_path / f'x{suffix}', tmp_path / f'x_probability{suffix}']
    mask, probability = (
        np.load(path) if suffix == '.npy' else np.asarray(Image.open(path)) for path in results
    )
    assert np.abs(probability.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(mask, (probability > 127) * np.uint8(255))
    assert refine_files(refiner, *paths, L=L, extras=['probability']).skipped == ['photo']
    with pytest.raises(ValueError, match=f'x{suffix} was made with another L'):
        refine_files(refiner, *paths, L=L + 8)
    shutil.copy(pairs[1] / 'b.png', paths[1])  # another input
    assert refine_files(refiner, *paths, L=L, extras=['probability']).refined == ['photo']


@pytest.mark.parametrize('suffix', ['.tif', '.npy'])
def test_what_is_not_done_by_rows_is_written_as_png_alone(blur, pairs, tmp_path, suffix):
    paths = pairs[0] / 'a.jpg', pairs[1] / 'a.png', tmp_path / f'x{suffix}'
    words = f'windowed must be True or left open for out .*x{suffix}, got False.*end in .png'
    with pytest.raises(ValueError, match=words):
        refine_files(blur, *paths, L=L, windowed=False)
    assert not blur.calls and not paths[2].exists()
    assert refine_files(blur, *paths[:2], tmp_path / 'x.PNG', L=L, windowed=False).refined == ['a']


def test_one_bar_at_a_time(refiner, pairs, monkeypatch):
    """Rich shows one in a terminal, and before 14.1 refuses a second one."""
    console = Console(force_terminal=True, width=100, file=io.StringIO())
    shown, start = [], Live.start
    monkeypatch.setattr('rich._console', console)  # where the refiner's would go
    monkeypatch.setattr(Live, 'start', lambda *args, **kw: (shown.append(1), start(*args, **kw)))
    monkeypatch.setattr(refiner, 'progress', True)
    refine_files(refiner, *pairs, L=L, console=console)
    assert len(shown) == 1 and refiner.progress
    refine_files(refiner, *pairs, L=L, overwrite=True)
    assert len(shown) == 1
    refiner.refine(read_image(pairs[0] / 'a.jpg'), read_mask(pairs[1] / 'a.png'), L=L)
    assert len(shown) == 2


PROCESSES = """
import json, sys
import cv2
from mmseg_cascadepsp.apis import join_processes, refine_files
from mmseg_cascadepsp.cascade.changes import RefinementReport, change_of

class Blur:
    calls, progress = 0, False
    def with_settings(self, **settings):
        return self
    def settings(self):
        return {'model': 'blur'}
    def refine(self, image, mask, return_report, threshold):
        self.calls += 1
        return cv2.blur(mask, (9, 9)), RefinementReport(change_of(mask > 0, mask > 0))

rank, world = join_processes()
refiner = Blur()
report = refine_files(refiner, *sys.argv[1:4], L=80)
print(json.dumps([rank, refiner.calls, report.refined, report.skipped, report.failed]))
"""


@pytest.mark.slow
def test_processes_share_the_pairs_and_the_report(blur, pairs, tmp_path):
    shutil.copy(pairs[1] / 'a.png', pairs[1] / 'alone.png')
    (pairs[0] / 'b.jpg').write_bytes(b'')
    refine_files(blur, pairs[0] / 'a.jpg', pairs[1] / 'a.png', pairs[2] / 'x', L=L)
    script = tmp_path / 'job.py'
    script.write_text(PROCESSES)
    port = socket.socket()
    port.bind(('127.0.0.1', 0))
    number = port.getsockname()[1]
    port.close()
    running = []
    for rank in range(2):
        own = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': 2, 'MASTER_PORT': number}
        env = os.environ | {key: str(value) for key, value in own.items()}
        env |= {'MASTER_ADDR': '127.0.0.1'}
        command = [sys.executable, str(script), *map(str, pairs)]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    outputs = [
        json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in running
    ]
    assert sorted(output[:2] for output in outputs) == [[0, 2], [1, 0]]
    assert outputs[0][2:] == outputs[1][2:]
    assert outputs[0][2] == ['a', 'deep/c'] and set(outputs[0][4]) == {'alone', 'b'}
    assert files(pairs[2]) == ['a.png', 'deep/c.png', 'x/a.png']


def test_masks_beside_their_photos(blur, pairs, tmp_path):
    both = tmp_path / 'both'
    shutil.copytree(pairs[0], both)
    shutil.copytree(pairs[1], both, dirs_exist_ok=True)
    (both / '.hidden.png').write_bytes(b'')
    for _ in range(2):  # the second time, results lie among the inputs
        report = refine_files(blur, both, both, both / 'out', L=L)
    assert report.skipped == ['a', 'b', 'deep/c'] and not report.failed


def test_bad_paths_and_settings(blur, pairs, tmp_path):
    photos, masks, out = pairs
    (tmp_path / 'empty').mkdir()
    for arguments, options, error, words in (
        ((photos / 'x.jpg', masks / 'a.png', out), {}, OSError, 'image .*x.jpg does not exist'),
        ((photos, tmp_path / 'x', out), {}, OSError, 'mask .*x does not exist'),
        ((photos, masks / 'a.png', out), {}, ValueError, 'photos is a folder .*a.png is a file'),
        ((photos, tmp_path / 'empty', out), {}, ValueError, 'no pairs: of 3 photos .* 0 masks'),
        ((photos, masks, masks), {}, ValueError, 'out .*masks is an input'),
        ((photos, masks, masks / 'a.png'), {}, ValueError, 'out must be a folder'),
        ((photos / 'a.jpg', masks / 'a.png', masks / 'a.png'), {}, ValueError, 'is an input'),
        ((photos / 'a.jpg', masks / 'a.png', out / 'a.gif'), {}, ValueError, 'end in .png'),
        (pairs, {'threshold': 1}, ValueError, 'threshold .*got 1'),
        (pairs, {'extras': ['film']}, ValueError, 'extras .*film'),
        (pairs, {'L': 65}, ValueError, 'L .*66'),
    ):
        with pytest.raises(error, match=words):
            refine_files(blur, *arguments, **options)
    assert not out.exists()


def test_results_may_go_above_the_inputs(blur, pairs):
    report = refine_files(blur, *pairs[:2], pairs[0].parent, L=L)
    assert len(report.refined) == 3 and (pairs[0].parent / 'a.png').exists()


def test_results_go_beside_inputs_of_a_single_pair(pairs):
    found, faults, _ = find_pairs(pairs[0] / 'a.jpg', pairs[1] / 'a.png', pairs[0])
    assert found[0].target == pairs[0] / 'a.png' and not faults


@pytest.mark.parametrize('bands', [5, 3])
def test_tiffs_that_pillow_does_not_know_are_refined_by_rows(
    refiner, pairs, tmp_path, photo, bands
):
    values = np.concatenate([photo, photo], axis=2)[..., :bands]
    how = {'extrasamples': ['unspecified', 'unassalpha']} if bands == 5 else {}
    tifffile.imwrite(tmp_path / 'p.tif', values, photometric='rgb', planarconfig='contig', **how)
    paths = tmp_path / 'p.tif', pairs[1] / 'a.png', tmp_path / 'x.png'
    assert refine_files(refiner, *paths, L=L).refined == ['p']
    expected = refiner.refine(photo, read_mask(paths[1]), L=L)
    assert ((read_mask(paths[2]) > 127) != (expected > 127)).mean() < 0.001


def test_photos_without_a_mask_are_told(blur, pairs):
    for name in ('b', 'deep/c'):
        (pairs[1] / f'{name}.png').unlink()
    console = Console(file=io.StringIO(), width=200)
    report = refine_files(blur, *pairs, L=L, console=console)
    assert report.refined == ['a'] and report.without_mask == ['b', 'deep/c']
    assert '2 photos have no mask and are left out: b, deep/c' in console.file.getvalue()
