"""From the authors' archives to folders that train."""

import dataclasses
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mmseg_cascadepsp.datasets import PaperTrainingSet
from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS
from mmseg_cascadepsp.datasets.preparation import check, prepare
from tests.test_datasets.archives import (
    PAIRS,
    authors_archives,
    both,
    encoded,
    write_archive,
    write_archives,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_sets(monkeypatch):
    """As if PAIRS pairs had been published of each set."""
    for name, training_set in TRAINING_SETS.items():
        monkeypatch.setitem(TRAINING_SETS, name, dataclasses.replace(training_set, count=PAIRS))


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())


def counts(report):
    return {s.training_set.folder: s.pairs for s in report.sets}


def test_published_counts_are_the_papers():
    assert sum(s.count for s in TRAINING_SETS.values()) == 36572


def test_the_authors_archives(tmp_path, small_sets):
    seen = []
    report = prepare(
        [write_archives(tmp_path / 'downloads')], tmp_path / 'data', lambda *a: seen.append(a)
    )
    assert report.complete and not report.archives
    assert '15 of 15 pairs' in str(report)
    assert seen[-1] == ('DUTS-TE', PAIRS, PAIRS)
    laid_out = files(tmp_path / 'data')
    assert len(laid_out) == 2 * 5 * PAIRS
    assert {'MSRA_10K/100.jpg', 'ecssd/0001.png', 'fss/ant/1.png', 'DUTS-TR/ILSVRC2012_2.jpg'} <= {
        *laid_out
    }
    assert (tmp_path / 'data/ecssd/0002.jpg').read_bytes() == encoded('.jpg', seed=2)
    for folder in TRAINING_SETS:
        dataset = PaperTrainingSet(data_root=str(tmp_path / 'data'), folder=folder, pipeline=[])
        assert len(dataset) == PAIRS
    assert check(tmp_path / 'data').complete


def test_other_names_folders_and_formats(tmp_path, small_sets):
    archives = authors_archives()
    renamed = {
        'a/msra10k.zip': archives['MSRA10K_Imgs_GT.zip'],
        'ECSSD/images (1).tar.gz': archives['images.zip'],
        'ECSSD/ground_truth_mask.tar': archives['ground_truth_mask.zip'],
        # All that is left in one: as people pass these sets on, beside what is none of them.
        'static.tar.gz': {
            f'static/{name}': content
            for archive in ('fewshot_data.zip', 'DUTS-TR.zip', 'DUTS-TE.zip')
            for name, content in archives[archive].items()
        }
        | both('static/HRSOD_small/7'),
    }
    report = prepare([write_archives(tmp_path / 'in', renamed)], tmp_path / 'data')
    assert report.complete, str(report)
    assert len(files(tmp_path / 'data')) == 2 * 5 * PAIRS


def test_nothing_leaves_its_folder(tmp_path):
    good = encoded('.jpg')
    link = tarfile.TarInfo('DUTS-TE/DUTS-TE-Image/link.jpg')
    link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
    members = {}
    for evil in (
        '../../MSRA10K_Imgs_GT/Imgs/evil',
        'MSRA10K_Imgs_GT/Imgs/../../../../evil',
        '..\\..\\MSRA10K_Imgs_GT\\evil',
        '/MSRA10K_Imgs_GT/evil',
        'C:/MSRA10K_Imgs_GT/evil',
        'fewshot_data/fewshot_data/../1',
    ):
        members |= {f'{evil}.jpg': good, f'{evil}.png': encoded('.png')}
    archives = {
        'MSRA10K_Imgs_GT.zip': members,
        'more.tar': dict(members, link=link),
    }
    data = tmp_path / 'deep' / 'er' / 'data'
    report = prepare([write_archives(tmp_path / 'in', archives)], data)
    (fault,) = report.archives
    assert 'more.tar cannot be unpacked' in fault and 'outside the destination' in fault
    outside = [name for name in files(tmp_path) if not name.startswith('deep/er/data/MSRA_10K/')]
    assert outside == ['in/MSRA10K_Imgs_GT.zip', 'in/more.tar']
    assert not list(data.glob('.*'))


@pytest.mark.parametrize('name', ['...zip', '....tar', '..tar.gz'])
def test_an_archive_of_dots_alone_stays_in_its_folder(tmp_path, name):
    # Its own name is that of the pictures' folder, which this set keeps.
    archive = {f'fewshot_data/{name}': both('1')}
    data = tmp_path / 'deep' / 'data'
    prepare([write_archives(tmp_path / 'in', archive)], data)
    expected = ['deep/data/fss/archive/1.jpg', 'deep/data/fss/archive/1.png']
    assert files(tmp_path) == [*expected, f'in/fewshot_data/{name}']


def test_programs_in_the_place_of_pictures_are_not_run(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr('subprocess.check_call', lambda *args, **_: started.append(args))
    monkeypatch.setattr('subprocess.Popen', lambda *args, **_: started.append(args))
    eps = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 36 24\n%%EndComments\nshowpage\n'
    members = {'DUTS-TR/DUTS-TR-Image/1.jpg': eps, 'DUTS-TR/DUTS-TR-Mask/1.png': eps}
    source = write_archives(tmp_path / 'in', {'DUTS-TR.zip': members})
    report = prepare([source], tmp_path / 'data')
    faults = [fault for entry in report.sets for fault in entry.broken]
    assert any('DUTS-TR/1: the photo cannot be read' in fault for fault in faults)
    assert not started


def test_what_is_broken_is_said_and_left_out(tmp_path, small_sets):
    archives = authors_archives()
    folder = 'DUTS-TR/DUTS-TR-'
    archives['DUTS-TR.zip'] |= {
        f'{folder}Image/cut.jpg': encoded('.jpg', (64, 64))[:900],
        f'{folder}Mask/cut.png': encoded('.png', (64, 64)),
        f'{folder}Image/page.jpg': b'<html>not here</html>',
        f'{folder}Mask/page.png': encoded('.png'),
        f'{folder}Image/turned.jpg': encoded('.jpg', (16, 12)),
        f'{folder}Mask/turned.png': encoded('.png', (12, 16)),
        f'{folder}Image/alone.jpg': encoded('.jpg'),
        f'{folder}Mask/lonely.png': encoded('.png'),
    }
    source = write_archives(tmp_path / 'in', archives)
    damaged = (source / 'images.zip').read_bytes()
    position = damaged.find(encoded('.jpg', seed=2)) + 30
    (source / 'images.zip').write_bytes(
        damaged[:position] + b'\xff\x00\xff' + damaged[position + 3 :]
    )
    (source / 'fewshot_data.zip').write_bytes(b'<html>quota exceeded</html>')
    (source / 'DUTS-TE.zip').write_bytes((source / 'DUTS-TE.zip').read_bytes()[:400])
    report = prepare([source], tmp_path / 'data')
    assert not report.complete
    assert counts(report) == dict(zip(TRAINING_SETS, (PAIRS, 0, 0, PAIRS, 0), strict=True))
    faults = '\n'.join(s for entry in report.sets for s in entry.broken)
    for words in (
        'DUTS-TR/cut: the photo cannot be read',
        'DUTS-TR/page: the photo cannot be read',
        'DUTS-TR/turned: the photo is (12, 16) and the mask (16, 12)',
        'DUTS-TR/alone: a photo without a mask',
        'DUTS-TR/lonely: a mask without a photo',
        'ecssd/0001: a mask without a photo',
    ):
        assert words in faults
    assert len(faults.splitlines()) == 5 + PAIRS
    assert len(report.archives) == 3
    assert all('get it again' in fault for fault in report.archives)
    assert any('images.zip' in fault and 'Bad CRC-32' in fault for fault in report.archives)
    text = str(report)
    assert 'download fewshot_data.zip from https://github.com/HKUSTCV/FSS-1000' in text
    assert 'DUTS-TR/lonely' in text
    assert not any('cut' in name or 'alone' in name for name in files(tmp_path / 'data'))


def test_a_set_of_which_one_archive_is_missing(tmp_path, small_sets):
    archives = authors_archives()
    del archives['ground_truth_mask.zip']
    source = write_archives(tmp_path / 'in', archives)
    report = prepare([source], tmp_path / 'data')
    assert counts(report)['ecssd'] == 0 and not (tmp_path / 'data/ecssd').exists()
    assert 'images.zip and ground_truth_mask.zip' in str(report)
    write_archive(source / 'gt.zip', authors_archives()['ground_truth_mask.zip'])
    assert prepare([source], tmp_path / 'data').complete


@pytest.mark.parametrize('stop', [1, 4, 5, 30])
def test_goes_on_where_it_stopped(tmp_path, small_sets, monkeypatch, stop):
    source, data = write_archives(tmp_path / 'in'), tmp_path / 'data'
    replace, done = __import__('os').replace, []

    def dying(*args):
        if len(done) == stop - 1:
            raise KeyboardInterrupt
        done.append(args)
        replace(*args)

    with monkeypatch.context() as patch:
        patch.setattr('os.replace', dying)
        with pytest.raises(KeyboardInterrupt):
            prepare([source], data)
    assert len(files(data)) == stop - 1  # whole files alone, and no hidden ones
    archives = [content for members in authors_archives().values() for content in members.values()]
    assert all((data / name).read_bytes() in archives for name in files(data))
    times = {name: (data / name).stat().st_mtime_ns for name in files(data)}
    finished = {n for n in times if {n[:-3] + 'jpg', n[:-3] + 'png'} <= times.keys()}
    assert prepare([source], data).complete
    assert {n for n in times if (data / n).stat().st_mtime_ns == times[n]} >= finished


def test_short_files_are_written_again(tmp_path, small_sets):
    source, data = write_archives(tmp_path / 'in'), tmp_path / 'data'
    prepare([source], data)
    photo = data / 'fss/ant/1.jpg'
    content = photo.read_bytes()
    photo.write_bytes(content[:-40])
    report = check(data)
    assert [s.broken for s in report.sets if s.broken][0][0].startswith('fss/ant/1: the photo')
    assert counts(report)['fss'] == PAIRS - 1
    assert prepare([source], data).complete
    assert photo.read_bytes() == content


def test_a_full_disk_leaves_no_half(tmp_path, monkeypatch):
    source = write_archives(tmp_path / 'in')
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(OSError(28, 'no space')))
    with pytest.raises(OSError, match='no space'):
        prepare([source], tmp_path / 'data')
    assert files(tmp_path / 'data') == []


def test_a_disk_that_is_full_while_unpacking_is_no_cut_download(tmp_path, monkeypatch):
    source, copied = write_archives(tmp_path / 'in'), shutil.copyfileobj

    def full(*args):
        copied(*args)
        raise OSError(28, 'no space')

    with monkeypatch.context() as patch:
        patch.setattr('shutil.copyfileobj', full)
        with pytest.raises(OSError, match='no space'):
            prepare([source], tmp_path / 'data')
    assert files(tmp_path / 'data') == []
    assert not prepare([source], tmp_path / 'data').archives


def test_archives_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no .*nowhere'):
        prepare([tmp_path / 'nowhere'], tmp_path / 'data')


def test_a_damaged_compressed_archive_is_said(tmp_path):
    noise = np.random.default_rng(0).bytes(2**16)
    for suffix in ('xz', 'gz', 'bz2'):
        path = tmp_path / f'in/DUTS-TE.tar.{suffix}'
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, f'w:{suffix}') as archive:
            info = tarfile.TarInfo('DUTS-TE/DUTS-TE-Image/a.jpg')
            info.size = len(noise)
            archive.addfile(info, io.BytesIO(noise))
        whole = bytearray(path.read_bytes())
        whole[2**15 : 2**15 + 64] = bytes(64)
        # gzip has its checksum at the end alone: a picture's own decoder finds such damage.
        path.write_bytes(whole[: 2**15] if suffix == 'gz' else whole)
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert len(report.archives) == 3
    assert all('get it again' in fault for fault in report.archives)


def duts(folder='DUTS-TR', stem='a', size=(12, 16)):
    name = f'{folder}/{folder}'
    return {
        f'{name}-Image/{stem}.jpg': encoded('.jpg', size),
        f'{name}-Mask/{stem}.png': encoded('.png', size),
    }


def there(report):
    return {name: pairs for name, pairs in counts(report).items() if pairs}


@pytest.mark.parametrize('of_folder', [False, True], ids=['files', 'folder'])
def test_unpacked_folders_are_copied(tmp_path, small_sets, of_folder):
    for name, members in authors_archives().items():
        for member, content in members.items():
            path = tmp_path / 'in' / ('' if of_folder else name.partition('.')[0]) / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    before = files(tmp_path / 'in')
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert report.complete and not report.archives, str(report)
    assert files(tmp_path / 'in') == before
    assert len(files(tmp_path / 'data')) == 2 * 5 * PAIRS
    assert prepare([tmp_path / 'in/DUTS-TR'], tmp_path / 'other').sets[3].pairs == PAIRS


def test_data_below_the_source(tmp_path, small_sets):
    write_archives(tmp_path)
    assert prepare([tmp_path], tmp_path / 'data').complete
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    assert prepare([tmp_path], tmp_path / 'data').complete
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}


def test_what_a_killed_run_left_is_removed(tmp_path, small_sets):
    left = tmp_path / 'data/.unpacked/0/DUTS-TR/DUTS-TR-Image/old.jpg'
    left.parent.mkdir(parents=True)
    left.write_bytes(encoded('.jpg'))
    assert prepare([write_archives(tmp_path / 'in')], tmp_path / 'data').complete
    assert not (tmp_path / 'data/.unpacked').exists()


def test_suffixes_in_upper_case(tmp_path):
    path = write_archive(tmp_path / 'in/DUTS-TR.zip', duts())
    path.rename(tmp_path / 'in/DUTS-TR.ZIP')
    assert there(prepare([tmp_path / 'in'], tmp_path / 'data')) == {'DUTS-TR': 1}


def test_sources_without_an_archive_are_said(tmp_path):
    notes = tmp_path / 'in/DUTS-TR.zip.1'
    notes.parent.mkdir()
    notes.write_text('words')
    first, second = prepare([notes, notes.parent], tmp_path / 'data').archives
    assert f'{notes} is no zip or tar archive by its name' in first
    assert second == f'{notes.parent} holds no zip or tar archive and no picture'


def test_links_are_followed(tmp_path):
    write_archive(tmp_path / 'disk/DUTS-TR.zip', duts())
    write_archive(tmp_path / 'disk/x/DUTS-TE.zip', duts('DUTS-TE'))
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/linked').symlink_to(tmp_path / 'disk')
    (tmp_path / 'disk/x/around').symlink_to(tmp_path / 'in')
    (tmp_path / 'in/lost.zip').symlink_to(tmp_path / 'gone.zip')
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert there(report) == {'DUTS-TR': 1, 'DUTS-TE': 1}
    (fault,) = report.archives
    assert 'lost.zip cannot be opened' in fault


def test_the_innermost_name_tells_the_set(tmp_path):
    ecssd = {'images/0001.jpg': encoded('.jpg'), 'ground_truth_mask/0001.png': encoded('.png')}
    msra = {'images/0001.jpg': encoded('.jpg'), 'masks/0001.png': encoded('.png')}
    for name, members in {
        'ECSSD_DUTS/DUTS-TR.zip': duts(),
        'ECSSD_DUTS/renamed.zip': duts('DUTS-TE'),
        'MSRA10K_and_more/images.zip': ecssd,
        'ECSSD_MSRA/msra10k.zip': msra,
    }.items():
        write_archive(tmp_path / 'in' / name, members)
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert there(report) == {'MSRA_10K': 1, 'ecssd': 1, 'DUTS-TR': 1, 'DUTS-TE': 1}
    assert not any(s.broken for s in report.sets)


def test_a_whole_archive_counts_more_than_a_cut_one(tmp_path):
    cut = write_archive(tmp_path / 'in/a_DUTS-TR.tar', duts())
    write_archive(tmp_path / 'in/b_DUTS-TR.tar', duts())
    with tarfile.open(cut) as archive:
        last = archive.getmembers()[-1]
    cut.write_bytes(cut.read_bytes()[: last.offset_data + last.size // 2])
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert there(report) == {'DUTS-TR': 1}
    assert not any(s.broken for s in report.sets)
    (fault,) = report.archives
    assert 'a_DUTS-TR.tar' in fault and 'get it again' in fault


def test_a_file_that_may_not_be_read_is_no_cut_download(tmp_path, monkeypatch):
    path = write_archive(tmp_path / 'in/DUTS-TR.tar', duts())
    opened = open

    def closed(file, *args, **kwargs):
        if str(file) == str(path):  # tests may run as root, who reads everything
            raise PermissionError(13, 'Permission denied', file)
        return opened(file, *args, **kwargs)

    monkeypatch.setattr('builtins.open', closed)
    for source in (path, path.parent):
        (fault,) = prepare([source], tmp_path / 'data').archives
        assert fault.startswith(f'{path} cannot be opened') and 'Permission denied' in fault
        assert 'get it again' not in fault


@pytest.mark.slow
def test_the_script(tmp_path):
    source = write_archives(tmp_path / 'in')
    command = [sys.executable, 'tools/dataset_converters/prepare_training_data.py']

    def run(*args):
        args = [*command, *map(str, args), '--data-root', str(tmp_path / 'data')]
        return subprocess.run(args, cwd=ROOT, text=True, capture_output=True, timeout=300)

    result = run(source)
    assert result.returncode == 1  # of 36,572 pairs, 15
    assert '15 of 36,572 pairs' in result.stdout and '9,997 missing' in result.stdout
    assert '15 of 36,572 pairs' in run('--check').stdout
    result = run(tmp_path / 'none')
    assert result.returncode == 1 and result.stderr.splitlines()[-1].endswith('none')
    assert 'give archives to lay out, or --check' in run().stderr
