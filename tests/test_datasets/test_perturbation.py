"""The fast perturbation against a plain one: the same distribution of coarse masks."""

import math
import random

import cv2
import numpy as np
import pytest
from scipy.stats import ks_2samp

from mmseg_cascadepsp.datasets.transforms import perturb_mask

SIZE = 96


def plain_perturbation(mask, iou_target):
    """Paper, section 3.3, as the release has it, one step after the other."""
    kept = []
    contours = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    for vertices in ([tuple(v[0]) for v in contour] for contour in contours):
        if len(vertices) < 10:
            continue
        run = int(0.1 * len(vertices))
        by_gap = sorted(
            (math.dist(vertices[i], vertices[i + run]), i) for i in range(len(vertices) - run)
        )
        _, start = random.choice(by_gap[: math.ceil(0.1 * len(by_gap))])
        rest = vertices[:start] + vertices[start + run :]
        chosen = sorted(random.sample(range(len(rest)), int(0.1 * len(rest))))
        if chosen:
            kept.append(np.array([rest[i] for i in chosen], np.int32))
    subsampled = cv2.drawContours(np.zeros_like(mask), kept, -1, 255, -1) if kept else mask.copy()
    coarse = subsampled.copy()
    for _ in range(250):
        for _ in range(4):
            left, top = random.randrange(SIZE), random.randrange(SIZE)
            right, bottom = random.randint(left + 1, SIZE), random.randint(top + 1, SIZE)
            if random.random() < 0.25:
                coarse[(top + bottom) // 2, (left + right) // 2] = random.choice((0, 255))
            size = random.randint(3, 9)
            form, width, height = random.choice((
                (cv2.MORPH_RECT, size, size),
                (cv2.MORPH_ELLIPSE, size, size),
                (cv2.MORPH_ELLIPSE, size, size // 2),
                (cv2.MORPH_ELLIPSE, size // 2, size),
            ))  # fmt: skip
            change = random.choice((cv2.dilate, cv2.erode))
            box = coarse[top:bottom, left:right].copy()
            box = change(box, cv2.getStructuringElement(form, (width, height)))
            coarse[top:bottom, left:right] = box
        both, either = coarse & subsampled, coarse | subsampled
        if (both > 0).sum() / max((either > 0).sum(), 1) < iou_target and either.any():
            break
    return coarse


def blobs(count):
    """Masks of thresholded noise, with holes and parts."""
    while count:
        noise = np.random.normal(size=(6, 6))
        mask = cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) > 0.3
        if mask.any():
            count -= 1
            yield mask.astype(np.uint8) * 255


def measures(coarse, truth):
    """IoU, change of area, mean distance of the coarse boundary from the true one."""
    edges = [cv2.morphologyEx(m, cv2.MORPH_GRADIENT, np.ones((3, 3))) for m in (coarse, truth)]
    distance = cv2.distanceTransform(255 - edges[1], cv2.DIST_L2, 5)
    away = distance[edges[0] > 0]
    return (
        (coarse & truth > 0).sum() / (coarse | truth > 0).sum(),
        (coarse > 0).sum() / (truth > 0).sum() - 1,
        away.mean() if away.size else 0,
    )


@pytest.fixture(scope='module')
def pairs():
    """Masks with targets, and what the plain perturbation makes of them."""
    random.seed(0)
    np.random.seed(0)
    tasks = [(mask, np.random.uniform(0.8, 1)) for mask in blobs(1000)]
    return tasks, [measures(plain_perturbation(*task), task[0]) for task in tasks]


def p_values(found, expected):
    columns = zip(np.transpose(found), np.transpose(expected), strict=True)
    return [ks_2samp(*both).pvalue for both in columns]


def test_the_same_distribution_as_the_plain_way(pairs):
    tasks, expected = pairs
    np.random.seed(1)
    found = [measures(perturb_mask(*task), task[0]) for task in tasks]
    assert min(p_values(found, expected)) > 0.01


def test_the_comparison_tells_targets_that_are_lower_by_a_tenth(pairs):
    tasks, expected = pairs
    np.random.seed(1)
    lower = [(mask, target - 0.1) for mask, target in tasks]
    found = [measures(perturb_mask(*task), task[0]) for task in lower]
    assert p_values(found, expected)[0] < 0.01
