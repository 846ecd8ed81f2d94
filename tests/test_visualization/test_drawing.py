import numpy as np
import pytest

from mmseg_cascadepsp.visualization import default_palette, overlay, paint_labels
from mmseg_cascadepsp.visualization.drawing import blend, title_strip

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:60] = True


def test_blend_is_the_weighted_mean_where_it_is_told():
    for colour in ((10, 200, 255), np.full(PHOTO.shape, (10, 200, 255), np.uint8)):
        result = blend(PHOTO, colour, MASK, 0.3)
        np.testing.assert_array_equal(result[~MASK], PHOTO[~MASK])
        mean = PHOTO[MASK] * 0.7 + np.array((10, 200, 255)) * 0.3
        assert np.abs(result[MASK] - mean).max() <= 1


@pytest.mark.parametrize('mask', [MASK, MASK * 1, MASK * 255, MASK * 0.9, MASK * np.uint8(255)])
def test_overlay_tints_inside_and_leaves_outside(mask):
    before = PHOTO.copy()
    result = overlay(PHOTO, mask)
    np.testing.assert_array_equal(PHOTO, before)
    assert result.shape == PHOTO.shape and result.dtype == np.uint8
    np.testing.assert_array_equal(result[:14], PHOTO[:14])
    assert (result[25:35, 36:54] != PHOTO[25:35, 36:54]).any(-1).mean() > 0.95


def test_overlay_has_no_line_where_the_mask_leaves_the_picture():
    result = overlay(PHOTO, np.ones((60, 80), bool), alpha=0)
    np.testing.assert_array_equal(result, PHOTO)


def test_labels_are_painted_by_the_palette():
    labels = np.where(MASK, 1, 255)
    result = paint_labels(PHOTO, labels, [[0, 0, 0], [9, 90, 200]], alpha=1)
    assert (result[MASK] == (9, 90, 200)).all()
    np.testing.assert_array_equal(result[~MASK], PHOTO[~MASK])


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'uint16', 'int64'])
def test_labels_of_every_dtype_are_painted(dtype):
    result = paint_labels(PHOTO, np.where(MASK, 15, 255).astype(dtype), alpha=1)
    assert (result[MASK] == default_palette(16)[15]).all()
    np.testing.assert_array_equal(result[~MASK], PHOTO[~MASK])
    first = paint_labels(PHOTO, np.where(MASK, 0, 255).astype(dtype), alpha=1)
    assert (first[MASK] == 0).all()  # class 0 is painted too


def test_the_palette_is_vocs():
    assert default_palette(22)[[1, 2, 8, 15, 21]].tolist() == [
        [128, 0, 0],
        [0, 128, 0],
        [64, 0, 0],
        [192, 128, 128],
        [128, 64, 128],
    ]
    assert len(np.unique(default_palette(), axis=0)) == 256


def test_titles_shrink_to_fit():
    wide = title_strip(400, [((255, 0, 0), 'before')], 20)
    narrow = title_strip(60, [((255, 0, 0), 'a rather long title of a panel')], 20)
    assert wide.shape[1] == 400 and narrow.shape[1] == 60
    assert narrow.shape[0] < wide.shape[0]
    assert (wide == (255, 0, 0)).all(-1).any()
    assert (wide[:, 300:] == 255).all()


@pytest.mark.parametrize(
    ('photo', 'mask'),
    [(PHOTO, MASK[:-1]), (PHOTO[..., 0], MASK), (PHOTO.astype(float), MASK), (PHOTO, MASK[None])],
)
def test_bad_shapes(photo, mask):
    with pytest.raises(ValueError, match='must'):
        overlay(photo, mask)
