"""Outlines read back by the very readers of their formats."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmseg_cascadepsp.evaluation import binary_iou

coco_masks = pytest.importorskip('pycocotools.mask')
pytest.importorskip('shapely')

from mmseg_cascadepsp.annotations import open_annotations  # noqa: E402
from mmseg_cascadepsp.annotations.base import Entry  # noqa: E402
from mmseg_cascadepsp.annotations.masks import (  # noqa: E402
    READERS,
    best_rings,
    cut_out,
    decode_rle,
    draw,
    joined,
    outlines,
    run_lengths,
)

from .sets import SETS  # noqa: E402


def blob(side, seed, hole=False):
    """A blob of about ``side`` pixels, of one part."""
    rng = np.random.default_rng(seed)
    size = side + 12, side + 20
    noise = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), side / 8)
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(y - size[0] / 2, x - size[1] / 2)
    mask = (distance + noise / noise.std() * side / 12 < side * 0.45).astype(np.uint8)
    _, places, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    mask = places == stats[1:, cv2.CC_STAT_AREA].argmax() + 1
    if hole:
        mask &= distance > side * 0.15
    return mask


def by_pycocotools(ring, size):
    rles = coco_masks.frPyObjects([np.ravel(ring).tolist()], *size)
    return coco_masks.decode(coco_masks.merge(rles)) > 0


def by_cvat(points, size):
    """``PolygonsToMasks.convert_polygon`` of Datumaro, its transform ``polygons_to_masks``. CVAT's
    exporters of masks call it (``cvat/apps/dataset_manager/formats/mask.py``): a polygon is one
    ring of ``pycocotools.mask.frPyObjects``.
    """
    pairs = [pair.split(',') for pair in points.split(';')]
    return by_pycocotools(np.array(pairs, float), size)


def by_cvat_of_runs(geometry, size):
    """``MaskConverter.cvat_rle_to_dm_rle`` of CVAT
    (``cvat/apps/dataset_manager/formats/transformations.py``): the runs go along the rows of a
    box. pycocotools' go along columns, so it reads the box turned.
    """
    left, top, width, height = (int(geometry[k]) for k in ('left', 'top', 'width', 'height'))
    counts = [int(word) for word in geometry['rle'].split(',')]
    rle = coco_masks.frPyObjects({'counts': counts, 'size': [width, height]}, width, height)
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = coco_masks.decode(rle).T > 0
    return mask


def by_ultralytics(ring, size):
    """``ultralytics.data.utils.polygon2mask``."""
    mask = np.zeros(size, np.uint8)
    points = np.asarray([ring.ravel()], dtype=np.int32)
    cv2.fillPoly(mask, points.reshape((points.shape[0], -1, 2)), color=1)
    return mask > 0


def by_labelme(ring, size):
    """``labelme.utils.shape_to_mask``."""
    mask = Image.fromarray(np.zeros(size, dtype=np.uint8))
    ImageDraw.Draw(mask).polygon(xy=[tuple(point) for point in ring], outline=1, fill=1)
    return np.array(mask, dtype=bool)


RULES = {'pycocotools': by_pycocotools, 'opencv': by_ultralytics, 'pillow': by_labelme}


@pytest.mark.parametrize('hole', [False, True])
@pytest.mark.parametrize('side', [16, 32, 64, 128])
@pytest.mark.parametrize('reader', READERS)
def test_an_outline_is_read_back_as_its_mask(reader, side, hole):
    for seed in range(5):
        mask = blob(side, seed, hole)
        [rings] = outlines(cut_out(mask), reader)
        assert len(rings) == 1 + hole
        assert binary_iou(RULES[reader](joined(rings), mask.shape), mask) >= 0.995


@pytest.mark.parametrize('reader', READERS)
def test_simplified_outlines_stay_near(reader):
    for side in (8, 16, 64, 256):
        for seed in range(4):
            mask = blob(side, seed)
            exact, _ = best_rings(cut_out(mask), mask.shape, reader, 0, True)
            [ring], iou = best_rings(cut_out(mask), mask.shape, reader, 0.5, True)
            assert binary_iou(RULES[reader](ring, mask.shape), mask) == pytest.approx(iou)
            assert iou >= 0.975
            assert side < 64 or len(ring) < 0.6 * len(exact[0])


@pytest.mark.parametrize('name', ['COCO', 'YOLO', 'LabelMe', 'CVAT for images'])
def test_the_file_is_read_back(name, tmp_path):
    """What is in the file, with the reader's own arithmetic on it."""
    path, images = SETS[name](tmp_path)
    source = open_annotations(path, images)
    for side in (16, 40, 80):
        mask = blob(side, side)
        height, width = mask.shape
        old = {
            'COCO': [[0, 0, 9, 0, 9, 9]],
            'YOLO': '0 0.1 0.1 0.2 0.2 0.3 0.1',
            'LabelMe': {'type': 'polygon', 'points': []},
            'CVAT for images': {'points': ''},
        }[name]
        geometry, cost = source.encode(Entry('a', 'b', old), cut_out(mask), mask.shape, 0)
        geometry = json.loads(json.dumps(geometry))
        if name == 'COCO':
            assert geometry['area'] == mask.sum()
            [ring] = geometry['segmentation']
            found = by_pycocotools(np.array(ring), mask.shape)
        elif name == 'YOLO':
            values = np.array([float(word) for word in geometry.split()[1:]], np.float32)
            found = by_ultralytics(values.reshape(-1, 2) * (width, height), mask.shape)
        elif name == 'LabelMe':
            found = by_labelme(geometry['points'], mask.shape)
        else:
            found = by_cvat(geometry['points'], mask.shape)
        assert binary_iou(found, mask) >= 0.995
        assert cost >= 0.995
        assert (source.decode(geometry, mask.shape).whole(mask.shape) == found).all()


def test_runs_of_cvat_are_read_back(tmp_path):
    path, images = SETS['CVAT for images'](tmp_path)
    source = open_annotations(path, images)
    for side, hole in ((16, False), (40, True)):
        mask = blob(side, side, hole)
        geometry, _ = source.encode(Entry('a', 'b', {'rle': ''}), cut_out(mask), mask.shape, 0)
        assert (by_cvat_of_runs(geometry, mask.shape) == mask).all()


def test_bridges_between_parts_cost_nothing_on_edges():
    mask = np.zeros((30, 40), bool)
    mask[2:8, 3:9] = mask[20:28, 25:38] = mask[4:9, 30:34] = True
    [ring], iou = best_rings(cut_out(mask), mask.shape, 'pycocotools', 0, True)
    assert iou == 1 and (by_pycocotools(ring, mask.shape) == mask).all()


def test_tiny_objects():
    for shape in ((1, 1), (1, 2), (3, 1), (2, 2)):
        mask = np.zeros((9, 9), bool)
        mask[3 : 3 + shape[0], 4 : 4 + shape[1]] = True
        for reader in READERS:
            rings, _ = best_rings(cut_out(mask), mask.shape, reader, 0.5, True)
            assert draw(rings, mask.shape, reader).any()


def test_run_lengths_are_those_of_pycocotools():
    mask = blob(20, 3, hole=True)
    counts = run_lengths(np.ravel(mask, order='F'))
    rle = {'size': list(mask.shape), 'counts': counts}
    assert (decode_rle(rle).whole(mask.shape) == mask).all()
    compressed = coco_masks.encode(np.asfortranarray(mask, np.uint8))
    assert coco_masks.frPyObjects(rle, *mask.shape)['counts'] == compressed['counts']
