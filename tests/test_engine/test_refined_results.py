"""Files of a test: written beside the next batch, none lost, faults not swallowed."""

import errno
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_cascadepsp.engine import RefinedResultsHook, refined_results


def sample(name, labels):
    data = SegDataSample(metainfo=dict(img_path=f'photos/{name}.jpg'))
    data.pred_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
    return data


def test_label_maps_are_written_while_the_next_batch_is_refined(tmp_path, monkeypatch):
    go_on, write = threading.Event(), refined_results.write_png

    def slow_disk(path, array):
        assert go_on.wait(20)
        write(path, array)

    monkeypatch.setattr(refined_results, 'write_png', slow_disk)
    hook = RefinedResultsHook(out_dir=str(tmp_path))
    maps = {name: np.eye(4, 6, shift, dtype=np.int64) for shift, name in enumerate('abc')}
    batches = [[sample('a', maps['a'])], [sample('b', maps['b']), sample('c', maps['c'])]]
    hook.after_test_iter(None, 0, outputs=batches[0])  # comes back though nothing is written yet
    assert not list(tmp_path.iterdir())
    go_on.set()
    hook.after_test_iter(None, 1, outputs=batches[1])
    hook.after_test(None)
    for name, labels in maps.items():
        found = cv2.imread(str(tmp_path / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, labels * 255)  # masks: the set has no classes


@pytest.mark.parametrize('last', [False, True], ids=['in between', 'at the end'])
def test_a_full_disk_stops_the_test(tmp_path, monkeypatch, last):
    def full(path, array):
        raise OSError(errno.ENOSPC, 'No space left on device', path)

    monkeypatch.setattr(refined_results, 'write_png', full)
    hook = RefinedResultsHook(out_dir=str(tmp_path))
    batch = [sample('a', np.zeros((4, 6), np.int64))]
    hook.after_test_iter(None, 0, outputs=batch)
    with pytest.raises(OSError, match='No space left'):
        if last:
            hook.after_test(None)
        else:
            hook.after_test_iter(None, 1, outputs=batch)


def before_test(photos, **options):
    """A hook before the test of a set of these photos."""

    class Photos(BaseDataset):
        def load_data_list(self):
            return [{'img_path': f'data/{photo}'} for photo in photos]

    # Relative, as class-agnostic sets have it.
    dataset = Photos(data_prefix={'img_path': 'images'}, serialize_data=False)
    hook = RefinedResultsHook(**options)
    loop = SimpleNamespace(evaluator=SimpleNamespace())
    loader = SimpleNamespace(dataset=dataset)
    hook.before_test(SimpleNamespace(test_dataloader=loader, test_loop=loop, model=None))
    return hook, [f'data/{photo}' for photo in photos]


def test_photos_of_one_name_in_several_folders_all_get_their_files(tmp_path):
    hook, photos = before_test(['a/images/1.jpg', 'b/images/1.jpg'], out_dir=str(tmp_path))
    samples = [sample('x', np.full((4, 6), value, np.int64)) for value in (0, 1)]
    for data, photo in zip(samples, photos, strict=True):
        data.set_metainfo({'img_path': photo})
    hook.after_test_iter(None, 0, outputs=samples)
    hook.after_test(None)
    for folder, value in (('a', 0), ('b', 255)):
        found = cv2.imread(str(tmp_path / folder / 'images/1.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, np.full((4, 6), value))


def test_photos_that_differ_in_their_suffix_alone_are_told_before_the_test(tmp_path):
    for options in ({'out_dir': str(tmp_path)}, {'show_dir': str(tmp_path)}):
        with pytest.raises(ValueError, match=r'images/1.jpg and .*images/1.png would'):
            before_test(['images/1.jpg', 'images/2.jpg', 'images/1.png'], **options)
    before_test(['images/1.jpg', 'images/1.png'])  # nothing is written
