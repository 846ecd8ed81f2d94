"""The table of a cascade's outputs."""

import numpy as np
import pytest

from mmseg_cascadepsp.visualization import cascade_panels
from mmseg_cascadepsp.visualization.drawing import title_strip

SHAPE = (2, 20, 30)


def parts():
    images = np.zeros((*SHAPE, 3), np.uint8)
    images[..., 0] = 200
    flat = np.ones(SHAPE, np.float32)
    passes = [
        {8: 0.1 * flat},
        {8: 0.2 * flat, 4: 0.3 * flat},
        {8: 0.4 * flat, 4: 0.5 * flat, 1: 0.6 * flat},
    ]
    return images, np.full(SHAPE, 70, np.uint8), passes, np.full(SHAPE, 255, np.uint8)


def test_every_output_has_its_place():
    picture = cascade_panels(*parts(), side=60)
    title = title_strip(60, [((0, 0, 0), 'photo')], 9).shape[0]
    columns = [60 * i + 2 * i + 30 for i in range(9)]
    for row in (0, 1):
        y = title + 42 * row + 20
        assert picture[y, columns[0]].tolist() == [200, 0, 0]
        greys = [70] + [round(255 * v) for v in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)] + [255]
        for x, grey in zip(columns[1:], greys, strict=True):
            assert np.abs(picture[y, x].astype(int) - grey).max() <= 1
    assert picture.dtype == np.uint8 and picture.shape == (title + 2 * 42, 9 * 62, 3)


def test_what_is_not_finite_is_black():
    images, coarse, passes, truth = parts()
    passes[2][1] = np.full(SHAPE, np.nan, np.float32)
    picture = cascade_panels(images, coarse, passes, truth, side=60)
    assert not picture[35, 62 * 7 + 30].any()


def test_maps_of_another_size():
    images, coarse, passes, truth = parts()
    with pytest.raises(ValueError, match=r'truth must have the shape \(2, 20, 30\)'):
        cascade_panels(images, coarse, passes, truth[:, :-1])
    passes[1][4] = passes[1][4][:1]
    with pytest.raises(ValueError, match='2: s4 must have'):
        cascade_panels(images, coarse, passes, truth)
