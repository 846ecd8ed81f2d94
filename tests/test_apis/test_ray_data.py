"""Refining on a Ray cluster of this machine."""

import json
import os
import shutil
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmseg_cascadepsp.annotations import refine_annotations
from mmseg_cascadepsp.apis import (
    Refiner,
    ray_annotations,
    ray_data,
    refine_files,
    refine_files_with_ray,
)
from mmseg_cascadepsp.apis.ray_annotations import refine_annotations_with_ray
from mmseg_cascadepsp.files import read_mask, write_image, write_png
from tests.rounding import assert_same_labels

L = 80


def test_without_ray_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ImportError, match=r'pip install "ray\[data\]"'):
        refine_files_with_ray({}, tmp_path, tmp_path, tmp_path / 'out', workers=2)


@pytest.fixture
def folders(tmp_path, photo, mask):
    """Folders of a photo and a mask of the same path below them, and a place for results."""
    for name in ('a', 'probability/a'):
        write_image(tmp_path / 'photos' / f'{name}.jpg', photo)
        write_png(tmp_path / 'masks' / f'{name}.png', mask.astype(np.uint8) * 255)
    return tmp_path / 'photos', tmp_path / 'masks', tmp_path / 'out'


class Started(Exception):
    """Work was given to the cluster."""


@pytest.fixture
def no_cluster(monkeypatch):
    """Stands for Ray, up to where the work begins."""

    def started(*_, **__):
        raise Started

    ray = SimpleNamespace(data=SimpleNamespace(range=started))
    monkeypatch.setitem(sys.modules, 'ray', ray)
    monkeypatch.setitem(sys.modules, 'ray.data', ray.data)


def test_what_would_spoil_results_is_told_before_the_work(no_cluster, folders, tmp_path):
    photos, masks, out = folders
    with pytest.raises(ValueError, match='probability of a, .*rename that folder'):
        refine_files_with_ray({'L': L}, *folders, workers=2, extras=['probability'])
    paths = photos / 'a.jpg', masks / 'a.png', tmp_path / 'x.tif'
    with pytest.raises(ValueError, match='windowed must be True or left open .*x.tif, got False'):
        refine_files_with_ray({'L': L}, *paths, workers=2, windowed=False)
    assert not out.exists()
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='out: .*file/out cannot be written to: Not a directory'):
        refine_files_with_ray({'L': L}, photos, masks, tmp_path / 'file' / 'out', workers=2)
    with pytest.raises(Started):
        refine_files_with_ray({'L': L}, *folders, workers=2)


def test_outputs_of_other_settings_are_told_before_the_work(
    no_cluster, refiner, folders, monkeypatch
):
    refine_files(refiner, *folders, L=L)
    for change in ({'steps': 'global'}, {'threshold': 0.4}, {'L': L + 8}):
        own = {'L': L, **{key: value for key, value in change.items() if key != 'threshold'}}
        options = {key: value for key, value in change.items() if key == 'threshold'}
        with pytest.raises(ValueError, match=f'a.png was made with another {[*change][0]}, and 1'):
            refine_files_with_ray(own, *folders, workers=2, **options)
        with pytest.raises(Started):
            refine_files_with_ray(own, *folders, workers=2, **options, overwrite=True)
    with pytest.raises(Started):  # its workers alone know what the refiner is
        refine_files_with_ray({'crops': 'adaptive', 'L': L}, *folders, workers=2)
    shutil.copy(folders[1] / 'a.png', folders[2] / 'a.png')
    with pytest.raises(ValueError, match='a.png is no output of this tool; give another name'):
        refine_files_with_ray({'L': L}, *folders, workers=2)


@pytest.fixture(scope='module')
def cluster():
    """Two workers of one core each."""
    ray = pytest.importorskip('ray', reason='the extra ray')
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives(
    cluster, tiny_config, tiny_checkpoint, tmp_path, photo, mask
):
    photos, masks, out = tmp_path / 'photos', tmp_path / 'masks', tmp_path / 'out'
    for name in 'abcdef':
        write_image(photos / f'{name}.jpg', np.roll(photo, ord(name), axis=1))
        write_png(masks / f'{name}.png', mask.astype(np.uint8) * 255)
    (photos / 'c.jpg').write_bytes(b'')
    (masks / 'alone.png').write_bytes(b'')
    arguments = {'model': str(tiny_config), 'checkpoint': str(tiny_checkpoint), 'device': 'cpu'}
    arguments |= {'precision': 'fp32'}

    def run(**own):
        return refine_files_with_ray(arguments | own | {'L': L}, photos, masks, out, workers=2)

    report = run()
    assert report.refined == ['a', 'b', 'd', 'e', 'f'] and set(report.failed) == {'alone', 'c'}
    assert 'is not an image' in report.failed['c']
    assert run().skipped == report.refined
    failed = run(crops='adaptive').failed
    assert 'was made with another crops' in failed['a'] and len(failed) == 7
    refine_files(Refiner(**arguments), photos, masks, tmp_path / 'alone', L=L)
    for name in report.refined:
        assert_same_labels(
            read_mask(out / f'{name}.png'), read_mask(tmp_path / 'alone' / f'{name}.png')
        )
    assert sorted(os.listdir(out)) == [f'{name}.png' for name in report.refined]


@pytest.mark.slow
def test_bad_arguments(cluster, tmp_path):
    with pytest.raises(ValueError, match='workers must be at least 1, got 0'):
        refine_files_with_ray({}, tmp_path, tmp_path, tmp_path, workers=0)
    with pytest.raises(ValueError, match='L must be at least 66'):
        refine_files_with_ray({'L': 3}, tmp_path, tmp_path, tmp_path, workers=2)


def test_workers_find_the_refiner_from_their_own_folder(tmp_path, monkeypatch):
    (tmp_path / 'w.pth').touch()
    (tmp_path / 'my.py').touch()
    monkeypatch.chdir(tmp_path)
    given = {'model': 'my.py', 'checkpoint': 'w.pth', 'device': 'cpu'}
    found = {'model': f'{tmp_path}/my.py', 'checkpoint': f'{tmp_path}/w.pth', 'device': 'cpu'}
    assert ray_data.everywhere(given) == found
    (tmp_path / 'lite').touch()  # a name is a name
    assert ray_data.everywhere({'model': 'lite', 'checkpoint': None})['model'] == 'lite'


def write_annotations(folder, photo, mask, names):
    """A COCO file of polygons and its photos."""
    images, entries = [], []
    for number, name in enumerate(names):
        write_image(folder / 'photos' / f'{name}.png', np.roll(photo, 9 * number, axis=1))
        size = {'height': mask.shape[0], 'width': mask.shape[1]}
        images.append({'id': number, 'file_name': f'{name}.png', **size})
        for shift in (0, 7):
            rolled = np.ascontiguousarray(np.roll(mask, 9 * number + shift, axis=1), np.uint8)
            rings = cv2.findContours(rolled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
            outline = [max(rings, key=len).ravel().tolist()]
            entry = {'id': len(entries), 'image_id': number, 'category_id': 1}
            entries.append({**entry, 'iscrowd': 0, 'segmentation': outline})
    data = {'images': images, 'annotations': entries, 'categories': [{'id': 1, 'name': 'x'}]}
    (folder / 'set.json').write_text(json.dumps(data))
    return folder / 'set.json', folder / 'photos'


class Mortal(ray_annotations._Annotator):
    """Dies of one photo every time, and of another one the first time."""

    def refine(self, key):
        if key == '3' or (key == '1' and not self.died.exists()):
            self.died.touch()
            os._exit(1)
        return super().refine(key)


@pytest.mark.slow
def test_annotations_by_two_workers(
    cluster, tiny_config, tiny_checkpoint, tmp_path, photo, mask, monkeypatch
):
    pytest.importorskip('pycocotools')
    pytest.importorskip('shapely')
    path, photos = write_annotations(tmp_path, photo, mask, 'abcdef')
    arguments = {'model': str(tiny_config), 'checkpoint': str(tiny_checkpoint), 'device': 'cpu'}
    arguments |= {'precision': 'fp32', 'L': L}
    options = {'images': photos, 'max_change': 1, 'min_sureness': 0, 'min_gain': 0}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has: sums of another order round otherwise
    whole, out = tmp_path / 'whole.json', tmp_path / 'out.json'
    refine_annotations(Refiner(**arguments), path, out=whole, **options)
    torch.set_num_threads(threads)
    with monkeypatch.context() as patched:
        cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        patched.setattr(Mortal, 'died', tmp_path / 'died', raising=False)
        patched.setattr(ray_annotations, '_Annotator', Mortal)
        report = refine_annotations_with_ray(arguments, path, out=out, workers=2, **options)
        assert list(report.faults) == ['3'] and len(report.objects) == 10
    (tmp_path / 'photos/a.png').unlink()  # it is not looked at again
    report = refine_annotations_with_ray(arguments, path, out=out, workers=1, **options)
    assert not report.faults and len(report.of('refined')) >= 8
    assert out.read_bytes() == whole.read_bytes() != path.read_bytes()
    assert not (tmp_path / '.out.json.partial').exists()


def test_annotations_without_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ImportError, match=r'refine_annotations_with_ray needs Ray: pip install'):
        refine_annotations_with_ray({}, tmp_path, out=tmp_path / 'out', workers=2)
