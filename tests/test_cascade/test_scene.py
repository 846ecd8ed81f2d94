"""Label maps: divide, conquer, fuse, and one mask per class."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from mmseg_cascadepsp.cascade import (
    CascadeSettings,
    FusionSettings,
    check_labels,
    divide,
    refine_regions,
)
from mmseg_cascadepsp.cascade.components import disc, region
from mmseg_cascadepsp.cascade.geometry import Box
from tests.rounding import assert_same_labels

from .street import L_OF, street
from .toy_refiner import Toy, normalize, refine, refine_classes, refine_pass, refine_scene

FIXTURE = Path(__file__).parent / 'data' / 'authors_scene.npz'
#: ADE20K's stuff of the street, 1-based as in the authors' files.
STUFF = (2, 3, 7)


def mask_as_logits(image, masks, strides):
    return dict.fromkeys(strides, masks[:, :1] * 9)


def refined(image, labels, network=refine_pass, **options):
    return refine_scene(
        network, image, labels, normalize=normalize, L=options.pop('L', 240), **options
    )


@pytest.mark.parametrize('fast', [True, False], ids=['global', 'local'])
@pytest.mark.parametrize('size', L_OF, ids=str)
def test_release_to_the_pixel(size, fast):
    """``data/authors_scene.npz`` is what the release's scripts, from the label map to the fused
    one, give for the street with the toy network: components, labels and confidences."""
    image, labels = street(*size)
    with np.load(FIXTURE) as numbers:
        expected = {
            name: numbers[f'{size[0]}x{size[1]}_{"global" if fast else "local"}_{name}']
            for name in ('parts', 'labels', 'confidence')
        }
    result = refined(
        image,
        labels,
        stuff=STUFF,
        L=L_OF[size],
        steps='global' if fast else 'both',
        compat='release',
    )
    parts = [(part.label, *part.mask.shape) for part in result.components]
    assert parts == [tuple(part) for part in expected['parts'].tolist()]
    assert (result.labels != expected['labels']).mean() < 1e-3
    assert np.abs(result.confidence - expected['confidence']).max() < 1.01 / 255
    assert (expected['labels'] != labels).mean() > 0.04


def test_without_compat_result_is_close_to_release_but_covers_last_row_and_column():
    image, labels = street(180, 260)
    ours = refined(image, labels, stuff=STUFF)
    theirs = refined(image, labels, stuff=STUFF, compat='release')
    assert (ours.labels != theirs.labels).mean() < 0.05
    assert (theirs.confidence[-1] == 0.5).all() and (theirs.confidence[:, -1] == 0.5).all()
    assert not (ours.confidence[-1] == 0.5).all()
    steps = theirs.confidence * 255
    things = theirs.confidence > 0.51
    assert np.allclose(steps[things], steps[things].round(), atol=1e-3)
    assert not np.allclose(ours.confidence[ours.confidence > 0.51] * 255 % 1, 0, atol=1e-3)


# Divide


@given(
    st_np.arrays(np.uint8, (37, 43), elements=st.sampled_from([0, 0, 0, 1, 1, 4, 255])),
    st.sampled_from([None, 'release']),
    st.integers(0, 60),
)
@settings(max_examples=40, deadline=None)
def test_components_are_those_of_the_whole_image(labels, compat, min_area):
    """Working inside bounding boxes changes nothing: against the plain, full-size procedure."""
    kernel, expected = disc(compat), []
    for label in (0, 1, 4):
        whole = (labels == label).astype(np.uint8)
        if whole.sum() <= min_area:
            continue
        count, parts = cv2.connectedComponents(cv2.dilate(whole, kernel), connectivity=8)
        for index in range(1, count):
            part = cv2.erode((parts == index).astype(np.uint8), kernel)
            if part.sum() > min_area and (part & whole).any():
                expected.append((label, (part & whole).astype(bool)))
    found = divide(labels, FusionSettings(min_area=min_area, compat=compat))
    if compat is None:
        assert len(found) == len(expected)
        assert [part.area for part in found] == sorted((p.area for p in found), reverse=True)
    for part in found:
        canvas = np.zeros(labels.shape, bool)
        canvas[part.box.slices] = part.mask
        cut = [
            mask & _inside(part.box, mask.shape) for label, mask in expected if label == part.label
        ]
        assert any(np.array_equal(canvas, mask) for mask in cut)
        assert compat or part.area == part.mask.sum()


def _inside(box, shape):
    inside = np.zeros(shape, bool)
    inside[box.slices] = True
    return inside


def test_small_gaps_are_closed_and_large_ones_divide():
    labels = np.zeros((120, 300), np.int64)
    labels[20:100, 20:80] = labels[20:100, 86:140] = labels[20:100, 170:230] = 1
    parts = [part for part in divide(labels) if part.label == 1]
    assert [part.area for part in parts] == [80 * 114, 80 * 60]
    assert not parts[0].mask[:, 82 - parts[0].box.left].any()


@pytest.mark.parametrize('area, count', [(32 * 32, 0), (32 * 32 + 32, 1)])
def test_area_has_to_exceed_the_minimum(area, count):
    labels = np.full((80, 80), 255)
    labels[10 : 10 + area // 32, 20:52] = 3
    assert len(divide(labels)) == count
    assert len(divide(labels, FusionSettings(min_area=area))) == 0


@given(st.integers(1, 60), st.integers(1, 60), st.data(), st.floats(0, 3))
@settings(deadline=None)
def test_region_holds_component_and_stays_inside(height, width, data, padding):
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bounds = Box(
        top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    )
    box = region(bounds, height, width, padding)
    assert 0 <= box.top <= top and bounds.bottom <= box.bottom <= height
    assert 0 <= box.left <= left and bounds.right <= box.right <= width
    grown = (box.bottom - box.top) / (bounds.bottom - bounds.top)
    if box.top > 0 and box.bottom < height:
        assert 1 + padding - 1e-6 <= grown <= 1 + padding + 2 / (bounds.bottom - bounds.top)


# Conquer


def test_batches_of_equal_padded_size_change_nothing():
    image, labels = street(180, 260)
    labels[:] = 1
    for top in (5, 95):
        for left in (6, 67, 130, 193):
            labels[top + left % 3 : top + 60, left : left + 50] = 2 + left % 3
    calls = []

    def network(image, masks, strides):
        calls.append(len(image))
        return refine_pass(image, masks, strides)

    together = refined(image, labels, network, min_size=96)
    assert max(calls) > 2 and sum(calls) == 3 * len(together.components)
    alone = refined(image, labels, batch_size=1, min_size=96)
    assert_same_labels(together.labels, alone.labels)
    assert np.abs(together.confidence - alone.confidence).max() < 1e-5


def test_batches_are_limited_by_memory_of_one_full_region():
    image, labels = street(180, 260)
    areas = []

    def network(image, masks, strides):
        areas.append((len(image), image[0, 0].numel()))
        return refine_pass(image, masks, strides)

    labels = np.repeat(np.arange(4), 45)[:, None].repeat(260, 1)
    refined(image, labels, network, min_size=96, L=96, batch_size=100)
    assert max(count for count, _ in areas) > 1
    assert all(count == 1 or count * area <= 96 * 96 for count, area in areas)


def test_larger_buckets_fill_batches_and_lose_little():
    """The toy network sees its padding, as a refiner with pyramid pooling does."""
    image, labels = street(180, 260)
    batches = {}

    def run(bucket):
        count = []

        def network(image, masks, strides):
            assert image.shape[-1] % bucket == 0 and image.shape[-2] % bucket == 0
            count.append(len(image))
            return refine_pass(image, masks, strides)

        result = refined(image, labels, network, stuff=STUFF, bucket=bucket, min_size=96)
        batches[bucket] = len(count)
        return result

    exact, bucketed = run(8), run(64)
    assert batches[64] < batches[8]
    assert (exact.labels != bucketed.labels).mean() < 0.05


@pytest.mark.parametrize('side, seen', [(40, 96), (96, 96), (110, 110), (200, 120)])
def test_size_that_the_network_sees(side, seen):
    labels = np.zeros((side, side), np.uint8)
    labels[:, side // 2 :] = 1
    sizes = []

    def network(image, masks, strides):
        sizes.append(max(image.shape[-2:]))
        return refine_pass(image, masks, strides)

    refined(torch.zeros(3, side, side), labels, network, padding=2, min_area=0, min_size=96, L=120)
    assert all(size - 8 <= seen <= size for size in sizes)


def test_region_is_refined_as_if_it_were_an_image():
    image, labels = street(180, 260)
    parts = divide(labels)
    for index, probability in refine_regions(
        Toy(), image, parts, CascadeSettings(steps='global'), FusionSettings(min_size=8)
    ):
        box, mask = parts[index].box, torch.from_numpy(parts[index].mask)[None]
        alone = refine(
            refine_pass,
            image[(..., *box.slices)],
            mask,
            steps='global',
            enlarge=False,
            normalize=normalize,
        ).numpy()
        assert np.abs(probability - alone).max() < 1e-5


# Fuse


def test_segmentors_probabilities_settle_what_the_refiner_leaves_open():
    image, labels = street(97, 140)
    logits = np.stack([np.where(labels == label, 3.0, 0.0) for label in range(labels.max() + 1)])

    def undecided(image, masks, strides):
        return {stride: torch.zeros_like(masks[:, :1]) for stride in strides}

    for run in (refine_scene, refine_classes):
        result = run(undecided, image, labels, L=112, logits=logits, normalize=normalize)
        assert np.array_equal(result.labels, labels)
    plain = refined(image, labels, L=112)
    weighed = refined(image, labels, L=112, logits=logits)
    trusting = refined(image, labels, L=112, logits=logits * 100, prior_weight=100)
    assert (plain.labels != weighed.labels).any()
    assert np.array_equal(trusting.labels, labels)
    alone = refined(image, labels, L=112, logits=logits, prior_weight=0)
    assert np.array_equal(alone.labels, plain.labels)
    with_compat = refined(image, labels, L=112, logits=logits, compat='release')
    assert np.array_equal(
        with_compat.labels, refined(image, labels, L=112, compat='release').labels
    )


# Whole label maps

LABEL_MAPS = st_np.arrays(
    np.uint8,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    elements=st.sampled_from([0, 3, 5, 255]),
)


@given(LABEL_MAPS, st.sampled_from(['scene', 'classes']), st.booleans())
@settings(max_examples=40, deadline=None)
def test_network_that_agrees_changes_nothing(labels, how, fast):
    image = torch.zeros(3, *labels.shape)
    if how == 'scene':
        # Not enlarged: the way up and down again blurs single pixels.
        result = refine_scene(
            mask_as_logits,
            image,
            labels,
            min_area=0,
            L=96,
            min_size=1,
            steps='global' if fast else 'both',
        )
    else:
        result = refine_classes(
            mask_as_logits, image, labels, L=96, steps='global' if fast else 'both', enlarge=False
        )
    assert np.array_equal(result.labels, labels)
    assert ((result.confidence == 0) == (labels == 255)).all()


@given(LABEL_MAPS, st.sampled_from([None, 0, 3]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_any_network_leaves_void_and_invents_no_class(labels, background, seed):
    image = torch.zeros(3, *labels.shape)

    def network(image, masks, strides):
        generator = torch.Generator().manual_seed(seed)
        return {
            stride: torch.randn(masks[:, :1].shape, generator=generator) * 9 for stride in strides
        }

    for result in (
        refine_scene(network, image, labels, min_area=0, L=96, min_size=8),
        refine_classes(
            network, image, labels, L=96, steps='global', enlarge=False, background=background
        ),
    ):
        assert np.array_equal(result.labels == 255, labels == 255)
        assert set(np.unique(result.labels)) <= {*np.unique(labels), background}
        assert result.labels.dtype == labels.dtype and result.confidence.dtype == np.float32


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64'])
def test_dtype_and_inputs_stay(dtype):
    image, labels = street(97, 140)
    labels = labels.astype(dtype)
    before = labels.copy()
    result = refined(image, labels)
    assert result.labels.dtype == labels.dtype and np.array_equal(labels, before)
    assert (result.labels != labels).any()


def test_memory_layout_of_labels_does_not_matter():
    image, labels = street(97, 140)
    expected = refined(image, labels).labels
    for view in (np.asfortranarray(labels), labels[::-1].copy()[::-1], labels.T.copy().T):
        assert np.array_equal(refined(image, view).labels, expected)


@pytest.mark.parametrize(
    'labels',
    [
        np.full((50, 60), 255),
        np.full((50, 60), -1),
        np.full((50, 60), 7),
        np.arange(3000).reshape(50, 60) % 90,
    ],
    ids=['all void', 'all -1', 'one class', 'one-pixel components'],
)
def test_nothing_to_refine_comes_back_unchanged(labels):
    image = torch.zeros(3, *labels.shape)
    void = {'ignore_index': -1} if labels[0, 0] == -1 else {}
    for result in (
        refine_scene(mask_as_logits, image, labels, **void),
        refine_classes(mask_as_logits, image, labels, min_area=2000, **void),
    ):
        assert np.array_equal(result.labels, labels)


def test_hundreds_of_components_and_their_limit():
    labels = np.zeros((420, 420), np.int64)
    for index in range(400):
        row, column = divmod(index, 20)
        labels[21 * row + 3 : 21 * row + 12, 21 * column + 3 : 21 * column + 4 + index % 9] = 1
    image, progress = torch.zeros(3, 420, 420), []
    result = refine_scene(
        mask_as_logits,
        image,
        labels,
        min_area=0,
        min_size=16,
        batch_size=64,
        max_components=300,
        progress=lambda *done: progress.append(done),
    )
    assert result.found == 401 and len(result.components) == 300
    assert [part.area for part in result.components] == sorted(
        (part.area for part in result.components), reverse=True
    )
    assert progress == [(done, 300) for done in range(1, 301)]
    assert np.array_equal(result.labels, labels)
    assert not refine_scene(mask_as_logits, image, labels, max_components=0).components


def test_local_step_for_large_regions_only():
    image, labels = street(180, 260)
    fast = refined(image, labels, L=160, min_size=64)
    full = refined(image, labels, L=160, min_size=64, steps='auto')
    assert (fast.labels != full.labels).any()
    small = [part for part in full.components if max(part.mask.shape) < 160]
    assert small
    without = np.ones(labels.shape, bool)
    for part in full.components:
        if max(part.mask.shape) >= 160:
            without[part.box.slices] = False
    assert_same_labels(fast.labels[without], full.labels[without])


def test_classes_fused_from_one_refinement_each():
    image, labels = street(97, 120)
    options = {'normalize': normalize, 'L': 112}
    result = refine_classes(refine_pass, image, labels, **options)
    masks = {
        label: refine(
            refine_pass, image, torch.from_numpy(labels == label)[None], **options
        ).numpy()
        for label in np.unique(labels)
    }
    stack = np.stack(list(masks.values()))
    expected = np.where(stack.max(0) > 0.5, np.array(list(masks))[stack.argmax(0)], labels)
    assert_same_labels(result.labels, expected.astype(labels.dtype))
    assert result.found == len(result.components) == len(masks)
    filled = refine_classes(refine_pass, image, labels, background=2, **options)
    stack[list(masks).index(2)] = 0
    unclaimed = stack.max(0) <= 0.5
    assert (filled.labels[unclaimed] == 2).all() and unclaimed.any()


# Bad input


@pytest.mark.parametrize(
    'labels, error, words',
    [
        (np.zeros((9, 9)), TypeError, 'integer'),
        (np.zeros((9, 9), bool), TypeError, 'uint8'),
        (torch.zeros(9, 9), TypeError, 'numpy'),
        (np.ma.masked_less(np.eye(9, dtype=int), 1), ValueError, r'filled\(255\)'),
        (np.zeros((1, 9, 9), int), ValueError, r'\(H, W\)'),
        (np.zeros((9, 8), int), ValueError, 'size of the image'),
        (np.full((9, 9), -3), ValueError, 'got -3'),
        (np.full((9, 9), 150), ValueError, '0 to 149.*got 150'),
    ],
)
def test_label_maps_that_cannot_be_right(labels, error, words):
    for run in (refine_scene, refine_classes):
        with pytest.raises(error, match=words):
            run(mask_as_logits, torch.zeros(3, 9, 9), labels, num_classes=150)


@pytest.mark.parametrize('logits', [np.zeros((3, 9, 9)), np.zeros((5, 9, 8)), np.zeros((9, 9)), 3])
def test_logits_that_cannot_be_right(logits):
    labels = np.full((9, 9), 255)
    labels[2:5] = 3
    for run in (refine_scene, refine_classes):
        with pytest.raises(ValueError, match=r'logits.*\(classes, 9, 9\).*at least 4 classes'):
            run(mask_as_logits, torch.zeros(3, 9, 9), labels, logits=logits)


def test_void_is_no_id_out_of_range():
    labels = np.full((4, 4), 255)
    assert check_labels(labels, (4, 4), 150) is labels
    with pytest.raises(ValueError, match='255'):
        check_labels(labels, (4, 4), 150, ignore_index=None)


@pytest.mark.parametrize(
    'options',
    [
        {'attenuation': 1.5},
        {'threshold': -0.1},
        {'padding': -1},
        {'min_area': -1},
        {'bucket': 12},
        {'bucket': 0},
        {'batch_size': 0},
        {'min_size': 0},
        {'max_components': -1},
        {'compat': 'paper'},
        {'L': 60},
        {'prior_weight': -1},
    ],
)
def test_settings_that_cannot_be_right(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        refine_scene(mask_as_logits, torch.zeros(3, 9, 9), np.zeros((9, 9), int), **options)
    with pytest.raises(ValueError, match='image'):
        refine_scene(mask_as_logits, torch.zeros(9, 9, 3), np.zeros((9, 9), int))
