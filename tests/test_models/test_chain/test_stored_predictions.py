"""Predictions in files: which file is whose, and how it is read."""

import logging

import numpy as np
import pytest
import torch

from mmseg_cascadepsp.files import write_image, write_png
from mmseg_cascadepsp.models import StoredPredictions
from mmseg_cascadepsp.models.chain import stored_predictions as module
from tests.chaining import sample_of

SIZE = (6, 8)
MAP = np.zeros(SIZE, np.uint8)


def of_files(folder, *names, **options):
    """A folder of label maps, photos where the name ends in .jpg."""
    for name in names:
        if name.endswith('.jpg'):
            write_image(folder / name, np.full((*SIZE, 3), 100, np.uint8))
        else:
            write_png(folder / name, MAP)
    return StoredPredictions(str(folder), **options)


def read(folder, labels, single=None, **options):
    """What a file of these values is read as."""
    write_png(folder / 'a.png', labels)
    sample = sample_of(SIZE, img_path='photos/a.jpg')
    if single is not None:
        sample.set_metainfo({'object_class': single})
    (sample,) = StoredPredictions(str(folder), **options).predict(torch.zeros(1), [sample])
    return sample.pred_sem_seg.data[0].numpy()


@pytest.mark.parametrize(
    ('names', 'photo', 'expected'),
    [
        # The authors' folders of results: truth, prediction and photo side by side.
        (['x_gt.png', 'x_seg.png', 'x_im.jpg'], 'x_im.jpg', 'x_seg.png'),
        (['x_gt.png', 'x_im.jpg'], 'x_im.jpg', None),
        (['x_im.png'], 'elsewhere/x_im.jpg', 'x_im.png'),
        (['a.jpg', 'a.png'], 'a.jpg', 'a.png'),
        (['a.jpg'], 'a.jpg', None),
        (['x/a.png', 'y/a.png'], 'photos/y/a.jpg', 'y/a.png'),
    ],
)
def test_a_photo_is_never_its_own_prediction(tmp_path, names, photo, expected):
    found = of_files(tmp_path, *names).find(str(tmp_path / photo))
    assert found == (expected and tmp_path / expected)


def test_masks_of_0_and_255(tmp_path):
    mask = MAP.copy()
    mask[2:4, 3:] = 255
    found = read(tmp_path, mask, single=15, num_classes=21)
    np.testing.assert_array_equal(found, mask // 255 * 15)
    np.testing.assert_array_equal(read(tmp_path, mask, num_classes=2), mask // 255)


@pytest.mark.parametrize('options', [{}, {'ids': 'index'}])
def test_a_mask_in_the_place_of_a_label_map_is_told(tmp_path, monkeypatch, options):
    told = []
    monkeypatch.setattr(module, 'print_log', lambda sentence, **_: told.append(sentence))
    mask = MAP.copy()
    mask[2:4, 3:] = 255
    read(tmp_path, mask, num_classes=3, **options)
    assert len(told) == 1 and 'a.png holds 0 and 255 alone, and 255 is void' in told[0]
    mask[0] = 1
    read(tmp_path, mask, num_classes=3, **options)
    assert len(told) == 1


def test_a_mask_of_0_and_1_that_could_be_a_label_map_is_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmseg_cascadepsp.models.chain.stored_predictions.print_log',
        lambda message, logger, level: said.append((message, level)),
    )
    mask = MAP.copy()
    mask[2:4, 3:] = 1
    for single in (1, 15):
        np.testing.assert_array_equal(read(tmp_path, mask, single=single, num_classes=21), mask)
    ((message, level),) = said
    assert 'which is of class 15: its coarse mask is empty' in message and level == logging.WARNING
    assert '--mask-values 1' in message


def test_soft_masks_are_told_from_class_ids(tmp_path):
    soft = np.linspace(0, 254, 48).reshape(SIZE).astype(np.uint8)
    with pytest.raises(ValueError, match='class 254 where there are 21 .* 0 and 255 alone'):
        read(tmp_path, soft, single=15, num_classes=21)


@pytest.mark.parametrize(
    ('values', 'options', 'expected'),
    [
        ((0, 1, 255), dict(mask_values=1), [0, 15, 0]),
        ((0, 1, 255), dict(mask_values=(1, 255)), [0, 15, 15]),
        ((0, 1, 255), dict(mask_values=255, ignore=1), [0, 0, 15]),
        ((0, 90, 200), dict(mask_values='soft'), [0, 0, 15]),
    ],
)
def test_an_argument_says_what_is_object(tmp_path, values, options, expected):
    mask = np.repeat(np.array(values, np.uint8)[None], 2, 0)
    write_png(tmp_path / 'a.png', mask)
    sample = sample_of((2, 3), img_path='a.jpg', object_class=15)
    predictions = StoredPredictions(str(tmp_path), num_classes=21, **options)
    (sample,) = predictions.predict(torch.zeros(1), [sample])
    assert sample.pred_sem_seg.data[0].tolist() == [expected] * 2


def test_masks_cannot_tell_several_classes_and_void_is_what_is_said(tmp_path):
    labels = MAP + np.uint8(2)
    labels[0] = 0
    with pytest.raises(ValueError, match='cannot tell 3 classes apart'):
        read(tmp_path, labels, num_classes=3, mask_values=2)
    found = read(tmp_path, labels, num_classes=3, ignore=0)
    assert (found[0] == 255).all() and (found[1:] == 2).all()
    with pytest.raises(ValueError, match="mask_values must be .* got 'x'"):
        read(tmp_path, labels, mask_values='x')


def test_so_many_classes_that_255_is_one(tmp_path):
    predictions = of_files(tmp_path, 'a.png', num_classes=256)
    with pytest.raises(ValueError, match='of 256 classes the one numbered 255 could not be told'):
        predictions.check(['photos/a.jpg'])


def test_links_are_followed(tmp_path):
    of_files(tmp_path / 'elsewhere', 'a.png')
    (tmp_path / 'preds').mkdir()
    (tmp_path / 'preds' / 'linked').symlink_to(tmp_path / 'elsewhere')
    found = StoredPredictions(str(tmp_path / 'preds')).find('photos/a.jpg')
    assert found == tmp_path / 'preds' / 'linked' / 'a.png'
