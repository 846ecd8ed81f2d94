"""Strategies: settings by name, and the rule behind ``auto``."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import DATASETS, TASK_UTILS

from mmseg_cascadepsp.models.chain import (
    STUFF,
    BinaryStrategy,
    SceneParsingStrategy,
    SemanticStrategy,
    build_strategy,
    choose_strategy,
    find_background,
    stuff_ids,
)
from tests.test_cascade.toy_refiner import Toy, refine_classes, refine_scene

ADE_STUFF_1_BASED = (
    1,
    2,
    3,
    4,
    6,
    7,
    10,
    12,
    14,
    17,
    22,
    26,
    27,
    29,
    30,
    47,
    49,
    52,
    53,
    55,
    60,
    61,
    62,
    69,
    80,
    85,
    92,
    95,
    97,
    102,
    106,
    110,
    114,
    129,
    141,
)
PETS = ('Background', 'cat', 'dog')


def names(dataset):
    return DATASETS.get(dataset).METAINFO['classes']


def shrunk(image, masks, strides):
    """A network that takes a pixel off each side of its mask, and is sure."""
    eroded = -torch.nn.functional.max_pool2d(-masks[:, :1], 3, stride=1, padding=1)
    return dict.fromkeys(strides, eroded * 9)


def run(strategy, labels, network=shrunk, classes=None, **options):
    image = torch.zeros(3, *labels.shape)
    return strategy.refine(Toy(network, None), image, labels, classes=classes, **options)


@pytest.fixture
def labels():
    labels = np.zeros((96, 112), np.int64)
    labels[10:50, 10:60] = 1
    labels[40:90, 50:104] = 2
    labels[:4] = 255
    return labels


# Stuff and background


def test_stuff_of_ade20k_is_that_of_the_release():
    assert stuff_ids('ade20k') == {index - 1 for index in ADE_STUFF_1_BASED}


@pytest.mark.parametrize(
    'dataset, key',
    [
        ('ADE20KDataset', 'ade20k'),
        ('CityscapesDataset', 'cityscapes'),
        ('COCOStuffDataset', 'coco_stuff'),
        ('PascalContextDataset', 'pascal_context'),
        ('PascalContextDataset59', 'pascal_context'),
        ('BDD100KDataset', 'cityscapes'),
    ],
)
def test_stuff_lists_name_classes_of_their_datasets(dataset, key):
    classes = names(dataset)
    found = {classes[index] for index in stuff_ids('auto', classes)}
    assert found == set(STUFF[key]) & set(classes)
    assert set(STUFF[key]) - found <= {'background'}
    assert stuff_ids(key, classes) == stuff_ids('auto', classes)
    assert 'sky' in found or 'sky-other' in found
    assert not {'person', 'car', 'dog', 'chair'} & found


def test_stuff_by_name_id_and_subset():
    assert stuff_ids([' Dog', 0], PETS) == {0, 2}
    assert stuff_ids('Dog', PETS) == {2}
    assert stuff_ids('auto', PETS) == stuff_ids('auto') == stuff_ids(()) == frozenset()
    assert stuff_ids('cityscapes', ('car', 'Sky', 'road', 'tram')) == {1, 2}
    assert stuff_ids(np.array([3, 4])) == {3, 4}


@pytest.mark.parametrize(
    'stuff, classes, words',
    [
        ('ade', None, "'ade20k'"),
        (['catt'], PETS, 'near: cat'),
        (['sky'], None, 'give its id'),
        ([3], PETS, '0 to 2, got 3'),
        ([-1], None, 'got -1'),
        ([1.5], None, 'got 1.5'),
        ([True], None, 'got True'),
    ],
)
def test_stuff_that_is_not_known(stuff, classes, words):
    with pytest.raises(ValueError, match=words):
        stuff_ids(stuff, classes)


def test_background_by_name():
    assert find_background(names('PascalVOCDataset')) == 0
    assert find_background(('tumour', '_background_')) == 1
    assert find_background(names('ADE20KDataset')) is find_background(None) is None


# Choice


@pytest.mark.parametrize(
    'classes, name',
    [
        (names('PascalVOCDataset'), 'semantic'),
        (PETS, 'semantic'),
        (names('DRIVEDataset'), 'binary'),
        (('person',), 'binary'),
        (('polyp', 'bg'), 'binary'),
        (names('ADE20KDataset'), 'scene'),
        (names('CityscapesDataset'), 'scene'),
        (names('PascalContextDataset'), 'scene'),
        (names('PotsdamDataset'), 'scene'),
        (('benign', 'malignant'), 'scene'),
        (None, 'scene'),
    ],
)
def test_auto(classes, name):
    chosen, reason = choose_strategy(classes)
    assert chosen == name
    assert reason.endswith('.') and len(reason) > 20
    built = build_strategy('auto', classes)
    assert built == build_strategy(name)
    assert str(built) == f'{type(built).__name__}: {reason}'


@pytest.mark.parametrize('number, name', [(1, 'binary'), (2, 'binary'), (19, 'scene')])
def test_auto_without_names(number, name):
    assert choose_strategy(num_classes=number)[0] == name
    assert type(build_strategy('auto', None, number)) is type(build_strategy(name))


@pytest.mark.parametrize('kind', [SceneParsingStrategy, SemanticStrategy, BinaryStrategy])
def test_strategies_are_registered(kind):
    config = ConfigDict(type=kind.__name__, L=321, stuff=['sky'], threshold=0.4)
    built = TASK_UTILS.build(config)
    assert type(built) is kind and built.stuff == ['sky']
    assert built.settings == {'L': 321, 'threshold': 0.4}
    assert build_strategy(config) == built
    assert build_strategy(dict(config, type=kind)) == built
    assert build_strategy(built) is built
    assert 'L=321' in repr(built) and built != build_strategy(dict(config, L=322))


@pytest.mark.parametrize(
    'strategy, error, words',
    [
        ('panoptic', ValueError, "'scene', 'semantic', 'binary'"),
        ({'type': 'scene', 'minarea': 3}, TypeError, 'minarea'),
        (
            {'type': 'scene', 'fast': True},
            TypeError,
            "fast has been renamed. Give steps='global'",
        ),
        ({'type': 'semantic', 'local': 'auto'}, TypeError, 'local has been renamed'),
        (None, TypeError, 'NoneType'),
        (SceneParsingStrategy, TypeError, 'ABCMeta'),
    ],
)
def test_strategies_that_there_are_not(strategy, error, words):
    with pytest.raises(error, match=words):
        build_strategy(strategy)


# What they do


def test_scene_passes_its_settings_on(labels):
    settings = dict(
        attenuation=0.9,
        threshold=0.3,
        min_area=900,
        max_components=2,
        padding=0.5,
        L=100,
        min_size=64,
        batch_size=2,
        bucket=16,
    )
    result = run(SceneParsingStrategy(stuff=['Background'], **settings), labels, classes=PETS)
    expected = refine_scene(
        shrunk, torch.zeros(3, *labels.shape), labels, stuff=[0], steps='auto', **settings
    )
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.confidence, expected.confidence)
    assert result.found == 3 and len(result.components) == 2
    assert (result.confidence != run(SceneParsingStrategy(), labels).confidence).any()


def test_semantic_gives_to_background_what_classes_give_up(labels):
    result = run(SemanticStrategy(steps='global', L=112), labels, classes=PETS)
    expected = refine_classes(
        shrunk, torch.zeros(3, *labels.shape), labels, background=0, steps='global', L=112
    )
    assert np.array_equal(result.labels, expected.labels)
    before, after = (labels == 2).sum(), (result.labels == 2).sum()
    assert before - 2 * (50 + 54) <= after < before
    assert set(np.unique(result.labels[labels != result.labels])) == {0}
    assert {part.label for part in result.components} == {1, 2}
    kept = run(SemanticStrategy(steps='global', L=112, background=None), labels, classes=PETS)
    assert {part.label for part in kept.components} == {0, 1, 2}
    named = run(SemanticStrategy(steps='global', L=112, background='cat'), labels, classes=PETS)
    assert {part.label for part in named.components} == {0, 2}


@pytest.mark.parametrize(
    'classes, settings, foreground',
    [
        (None, {}, 1),
        (('background', 'cat'), {}, 1),
        (('cat',), {}, 1),
        (('cat', 'bg'), {}, 0),
        (None, {'foreground': 0, 'background': 1}, 0),
        (('cat', 'sky'), {'background': 'sky'}, 0),
        (('sky', 'cat'), {'foreground': 'cat'}, 1),
    ],
)
def test_binary_refines_the_foreground(labels, classes, settings, foreground):
    labels = np.where(labels == 2, foreground, np.where(labels == 255, 255, 1 - foreground))
    result = run(BinaryStrategy(steps='global', L=112, **settings), labels, classes=classes)
    assert [part.label for part in result.components] == [foreground]
    shrunken = (result.labels == foreground).sum()
    assert 0 < shrunken < (labels == foreground).sum()
    assert np.array_equal(result.labels == 255, labels == 255)


def test_binary_refuses_other_classes(labels):
    with pytest.raises(ValueError, match=r'got \[2\]; use the semantic or the scene'):
        run(BinaryStrategy(), labels)
    for settings in ({'foreground': 0}, {'background': 2}, {'foreground': 1, 'background': 1}):
        with pytest.raises(ValueError, match='must be another one'):
            run(BinaryStrategy(**settings), labels)


@pytest.mark.parametrize('name', ['scene', 'semantic', 'binary'])
def test_ids_are_checked_against_the_names(labels, name):
    for classes in (PETS[:2],):
        with pytest.raises(ValueError, match='got'):
            run(build_strategy(name), labels, classes=classes)
    with pytest.raises(TypeError, match='integer'):
        run(build_strategy(name), labels.astype(float))


@pytest.mark.parametrize('keep', [[2], ['dog'], 'dog'], ids=str)
def test_kept_classes_are_not_refined_but_give_way(labels, keep):
    """A network that is sure of what lies within a pixel of its mask."""
    calls = []

    def grown(image, masks, strides):
        calls.append(masks.shape)
        return dict.fromkeys(
            strides, torch.nn.functional.max_pool2d(masks[:, :1], 3, 1, padding=1) * 9
        )

    settings = dict(type='scene', min_area=9, min_size=8, L=128)
    plain = run(build_strategy(settings, PETS), labels, grown, PETS)
    passes = len(calls)
    calls.clear()
    kept = run(build_strategy(dict(settings, keep=keep), PETS), labels, grown, PETS)
    assert len(calls) < passes and len(kept.components) == len(plain.components) - 1
    assert not ((kept.labels == 2) & (labels != 2)).any()
    lost = (labels == 2) & (kept.labels != 2)
    inside = np.zeros(labels.shape, bool)
    inside[41:89, 51:103] = True
    assert lost.any() and not (lost & inside).any()
    with pytest.raises(ValueError, match='near: dog'):
        run(build_strategy(dict(settings, keep=['dogg']), PETS), labels, grown, PETS)
