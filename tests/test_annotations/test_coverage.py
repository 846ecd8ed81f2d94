"""Areas of a map as polygons that share their edges."""

import cv2
import numpy as np
import pytest

shapely = pytest.importorskip('shapely')
features = pytest.importorskip('rasterio.features', reason='the extra annotations')
pytest.importorskip('pycocotools')

from mmseg_cascadepsp.annotations.coverage import coverage_of  # noqa: E402


def noise(seed, size=(40, 50)):
    """The worst there is: areas of a pixel that meet in every corner."""
    return np.random.default_rng(seed).integers(0, 3, size).astype(np.uint8)


def areas(seed, size=(120, 150), sigma=8):
    rng = np.random.default_rng(seed)
    heights = [
        cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), sigma)
        for _ in range(4)
    ]
    return np.argmax(heights, axis=0).astype(np.uint8)


MAPS = {'noise': noise(0), 'areas': areas(1), 'fine': areas(2, sigma=2), 'one': areas(3) * 0}


def drawn(found, labels, void):
    shapes = zip(found.polygons, found.values.tolist(), strict=True)
    return features.rasterize(shapes, labels.shape, fill=void, dtype=labels.dtype)


@pytest.mark.parametrize('void', [None, 0, 3])
@pytest.mark.parametrize('name', MAPS)
def test_every_pixel_comes_back(name, void):
    labels = MAPS[name]
    found = coverage_of(labels, void)
    if void == 0 and name == 'one':
        assert not len(found.values)
        return
    assert shapely.is_valid(found.polygons).all()
    assert shapely.coverage_is_valid(found.polygons)
    assert (drawn(found, labels, 9 if void is None else void) == labels).all()
    for value in np.unique(found.values):
        assert shapely.area(found.polygons[found.values == value]).sum() == (labels == value).sum()


@pytest.mark.parametrize('tolerance', [0.2, 0.5, 1, 2])
@pytest.mark.parametrize('name', ['noise', 'areas', 'fine'])
def test_neighbours_share_their_simplified_edges(name, tolerance):
    labels = MAPS[name]
    exact, found = coverage_of(labels), coverage_of(labels, tolerance=tolerance)
    assert (found.values == exact.values).all()
    assert shapely.is_valid(found.polygons).all()
    assert shapely.coverage_is_valid(found.polygons)
    # No gap and no overlap: the areas add up, and their union has no hole.
    assert shapely.area(found.polygons).sum() == pytest.approx(labels.size)
    assert shapely.union_all(found.polygons).equals(shapely.box(0, 0, *labels.shape[::-1]))
    # As near as it says, measured with Shapely's own distance.
    for before, after in zip(exact.polygons, found.polygons, strict=True):
        points = shapely.points(shapely.get_coordinates(before))
        assert shapely.distance(points, after.boundary).max() <= tolerance + 1e-9
    if tolerance == 0.5:  # which no centre of a pixel crosses
        assert (drawn(found, labels, 9) == labels).all()


def test_simplified_outlines_have_fewer_points():
    labels = MAPS['areas']
    points = [
        shapely.get_num_coordinates(coverage_of(labels, tolerance=tolerance).polygons).sum()
        for tolerance in (0, 0.5, 1, 2)
    ]
    assert points == sorted(points, reverse=True) and points[1] < 0.8 * points[0]
    assert points[3] < 0.4 * points[0]


def test_an_edge_of_void_keeps_its_neighbours_together():
    labels = MAPS['areas'].copy()
    labels[40:60, 30:90] = 255
    found = coverage_of(labels, 255, 1)
    assert shapely.coverage_is_valid(found.polygons)
    hole = shapely.box(0, 0, 150, 120).difference(shapely.union_all(found.polygons))
    assert hole.geom_type == 'Polygon' and hole.area == pytest.approx(20 * 60, abs=4)
