"""Which archives are found, of which set they are, and which copy of a picture counts."""

import gzip
import os
import tarfile

import pytest

from mmseg_cascadepsp.datasets.preparation import prepare
from tests.test_datasets.archives import encoded, write_archive


def pairs(report):
    return {s.training_set.folder: s.pairs for s in report.sets if s.pairs}


def duts(folder='DUTS-TR', stem='a', size=(12, 16)):
    name = f'{folder}/{folder}'
    return {
        f'{name}-Image/{stem}.jpg': encoded('.jpg', size),
        f'{name}-Mask/{stem}.png': encoded('.png', size),
    }


def packed(path, members=None, kind='zip'):
    """An archive under whatever name."""
    made = write_archive(path.with_name(f'made.{kind}'), members or duts())
    return made.rename(path)


@pytest.mark.parametrize('named', [True, False], ids=['file', 'folder'])
@pytest.mark.parametrize('kind', ['zip', 'tar', 'tar.gz'])
@pytest.mark.parametrize('name', ['DUTS-TR.zip.1', 'DUTS-TR', 'x.download'])
def test_suffixes_do_not_matter(tmp_path, named, kind, name):
    path = tmp_path / 'in' / name
    packed(path, kind=kind)
    (path.parent / 'notes.txt').write_text('words')
    report = prepare([path if named else path.parent], tmp_path / 'data')
    assert pairs(report) == {'DUTS-TR': 1} and not report.archives


def test_sources_without_an_archive_are_said(tmp_path):
    notes = tmp_path / 'in/DUTS-TR'
    notes.parent.mkdir()
    notes.write_text('words')
    (notes.parent / 'a.jpg').write_bytes(encoded('.jpg'))
    first, second = prepare([notes, notes.parent], tmp_path / 'data').archives
    assert f'{notes} cannot be read as a zip or tar archive (5 bytes' in first
    assert second == f'{notes.parent} holds no zip or tar archive'


def test_cut_downloads_without_a_suffix_are_said(tmp_path):
    whole = packed(tmp_path / 'in/DUTS-TR.zip.1').read_bytes()
    (tmp_path / 'in/DUTS-TR.zip.1').write_bytes(whole[:300])
    (tmp_path / 'in/DUTS-TE').write_bytes(gzip.compress(b'x' * 2000)[:12])
    faults = prepare([tmp_path / 'in'], tmp_path / 'data').archives
    assert len(faults) == 2 and all('get it again' in fault for fault in faults)


def test_links_are_followed(tmp_path):
    packed(tmp_path / 'disk/DUTS-TR.zip')
    packed(tmp_path / 'disk/x/DUTS-TE.zip', duts('DUTS-TE'))
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/linked').symlink_to(tmp_path / 'disk')
    (tmp_path / 'disk/x/around').symlink_to(tmp_path / 'in')
    (tmp_path / 'in/lost.zip').symlink_to(tmp_path / 'gone.zip')
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert pairs(report) == {'DUTS-TR': 1, 'DUTS-TE': 1}
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
        packed(tmp_path / 'in' / name, members)
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert pairs(report) == {'MSRA_10K': 1, 'ecssd': 1, 'DUTS-TR': 1, 'DUTS-TE': 1}
    assert not any(s.broken for s in report.sets)


def test_a_whole_copy_counts_more_than_a_cut_one(tmp_path):
    cut = packed(tmp_path / 'in/a_DUTS-TR.tar', kind='tar')
    packed(tmp_path / 'in/b_DUTS-TR.tar', kind='tar')
    with tarfile.open(cut) as archive:
        last = archive.getmembers()[-1]
    cut.write_bytes(cut.read_bytes()[: last.offset_data + last.size // 2])
    report = prepare([tmp_path / 'in'], tmp_path / 'data')
    assert pairs(report) == {'DUTS-TR': 1}
    assert not any(s.broken for s in report.sets)
    # Where all are cut, it is the first that is told of.
    os.remove(tmp_path / 'in/b_DUTS-TR.tar')
    (cut.parent / 'c_DUTS-TR.tar').write_bytes(cut.read_bytes())
    report = prepare([tmp_path / 'in'], tmp_path / 'other')
    ((fault,),) = (s.broken for s in report.sets if s.broken)
    assert 'the mask cannot be read' in fault and 'a_DUTS-TR.tar' in fault


def test_a_file_that_may_not_be_read_is_no_cut_download(tmp_path, monkeypatch):
    path = packed(tmp_path / 'in/DUTS-TR.tar', kind='tar')
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
