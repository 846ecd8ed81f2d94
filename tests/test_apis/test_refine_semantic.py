"""``Refiner.refine_semantic``: label maps at the border of the package."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmseg_cascadepsp.apis import refiner as module
from mmseg_cascadepsp.errors import UserError
from mmseg_cascadepsp.models.chain import SceneParsingStrategy, Strategy, build_strategy
from tests.rounding import assert_same_labels

NAMES = ('background', 'cat', 'dog')


@pytest.fixture
def labels(mask):
    """uint8, 70 x 101: an ellipse of class 2, a box of class 1, some void."""
    labels = mask.astype(np.uint8) * 2
    labels[45:, 70:] = 1
    labels[:3] = 255
    return labels


def direct(refiner, photo, labels, strategy, classes=None):
    image = torch.from_numpy(photo.transpose(2, 0, 1))
    return strategy.refine(refiner.network, image, labels, classes=classes).labels


@pytest.mark.parametrize(
    'options, settings',
    [
        ({}, {'type': 'scene'}),
        ({'stuff': [0]}, {'type': 'scene', 'stuff': [0]}),
        ({'stuff': ['background'], 'classes': NAMES}, {'type': 'scene', 'stuff': [0]}),
        ({'strategy': 'semantic'}, {'type': 'semantic', 'background': None}),
        ({'strategy': 'semantic', 'background': 0}, {'type': 'semantic', 'background': 0}),
        ({'strategy': 'auto', 'classes': NAMES}, {'type': 'semantic', 'background': 0}),
        (
            {'strategy': 'auto', 'classes': NAMES, 'background': 'cat'},
            {'type': 'semantic', 'background': 1},
        ),
        ({'strategy': 'auto', 'classes': ('car', 'sky', 'road')}, {'type': 'scene'}),
        ({'strategy': {'type': 'scene', 'min_area': 9}}, {'type': 'scene', 'min_area': 9}),
        ({'strategy': SceneParsingStrategy(padding=1)}, {'type': 'scene', 'padding': 1}),
    ],
    ids=str,
)
def test_it_is_the_strategy(refiner, photo, labels, options, settings):
    before = labels.copy()
    result = refiner.refine_semantic(photo, labels, **options)
    assert_same_labels(result, direct(refiner, photo, labels, build_strategy(settings)))
    np.testing.assert_array_equal(labels, before)
    assert result.dtype == labels.dtype and (result != labels).any()
    assert ((result == 255) == (labels == 255)).all()


def test_auto_looks_for_stuff_unless_it_is_named(refiner):
    names = ('car', 'sky', 'road')
    assert refiner._strategy('auto', 'auto', None, names).stuff == 'auto'
    assert refiner._strategy('auto', ['sky'], None, names).stuff == ['sky']


@pytest.mark.parametrize('strategy', ['semantic', {'type': 'semantic', 'background': 0}], ids=str)
def test_a_strategy_leaves_the_cascade_to_the_refiner(refiner, photo, labels, strategy):
    seen = []
    network = refiner.network

    class Watched(type(network)):
        def for_image(self, image):
            seen.append(image.shape[-1])
            return super().for_image(image)

    own = refiner.with_settings(L=80, crop_filter='all')
    own.network.__class__ = Watched
    own.refine_semantic(photo, labels, strategy)
    assert max(seen) == 80 + 8  # both sides are padded
    seen.clear()
    own.refine_semantic(photo, labels, {'type': 'semantic', 'background': 0, 'L': 96})
    assert max(seen) == 96 + 8


def test_binary_is_the_mask_refined(refiner, photo, mask):
    result = refiner.refine_semantic(photo, mask.astype(np.int64), 'binary')
    probability = refiner.refine(photo, mask)
    certain = np.abs(probability.astype(int) - 127) > 1
    np.testing.assert_array_equal(result[certain], probability[certain] > 127)


@pytest.mark.parametrize('strategy', ['auto', 'binary'])
def test_a_single_name_is_that_of_the_object(refiner, photo, mask, strategy):
    labels = mask.astype(np.uint8)
    result = refiner.refine_semantic(photo, labels, strategy, classes=['vessel'])
    np.testing.assert_array_equal(result, refiner.refine_semantic(photo, labels, 'binary'))
    with pytest.raises(ValueError, match=r'got \[2\]'):
        refiner.refine_semantic(photo, 2 * labels, strategy, classes=['vessel'])


def test_a_strategy_of_ones_own(refiner, photo, labels):
    class Turned(Strategy):
        def _run(self, network, image, labels, *arguments):
            return SimpleNamespace(labels=labels[::-1])

    result = refiner.refine_semantic(photo, labels, Turned())
    np.testing.assert_array_equal(result, labels[::-1])
    with pytest.raises(TypeError, match='a name, a config or a Strategy, got SimpleNamespace'):
        refiner.refine_semantic(photo, labels, SimpleNamespace(refine=print))


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'classes': 'abc'}, "classes must be a list of the names .*, got 'abc'"),
        ({'classes': 5}, 'classes must be a list of the names .*, got 5'),
        ({'classes': ()}, r'classes must be a list of the names .*, got \(\)'),
        ({'classes': [1, 2, 3]}, 'classes must be names, got 1 among them'),
        ({'classes': {'a', 'b', 'c'}}, 'classes must be a list'),
        ({'ignore_index': 'x'}, "ignore_index must be an integer, got 'x'"),
        ({'ignore_index': 1.5}, 'ignore_index must be an integer, got 1.5'),
        ({'ignore_index': [255]}, r'ignore_index must be an integer, got \[255\]'),
        ({'stuff': None}, 'stuff must be ids or names of classes, got None'),
        ({'stuff': 1}, 'stuff must be ids or names of classes, got 1'),
        ({'strategy': 'semantic', 'background': 2.5}, 'background must be ids or names .*got 2.5'),
        ({'strategy': 'binary', 'background': True}, 'background must be ids or names .*got True'),
        ({'strategy': {'type': 'scene', 'protect': 'no'}}, "protect must be True or False.*'no'"),
        ({'strategy': {'type': 'scene', 'bucket': 'x'}}, "bucket must be an integer, got 'x'"),
        ({'logits': np.full((3, 70, 101), np.inf)}, 'logits must have a finite maximum'),
        ({'logits': np.full((3, 70, 101), -np.inf)}, 'logits must have a finite maximum'),
        ({'logits': np.full((3, 70, 101), np.nan)}, 'logits must have a finite maximum'),
        ({'logits': np.full((3, 70, 101), 'a')}, 'logits must be numbers, got an array of <U1'),
        ({'logits': [[1.0]]}, r'logits must be \(classes, 70, 101\) .*got list'),
    ],
)
def test_nonsense_is_refused(refiner, photo, labels, options, words):
    with pytest.raises(UserError, match=words):
        refiner.refine_semantic(photo, labels, **options)


@pytest.mark.parametrize('kind', ['>f4', np.int16, np.float16, np.longdouble])
def test_logits_of_any_kind_of_number(refiner, photo, labels, kind):
    """A class that is out of the question may have -inf."""
    logits = np.stack([labels == label for label in range(4)]) * 9.0
    plain = refiner.refine_semantic(photo, labels, logits=logits.astype(np.float32))
    typed = refiner.refine_semantic(photo, labels, logits=logits.astype(kind))
    np.testing.assert_array_equal(typed, plain)
    logits[3] = -np.inf
    refiner.refine_semantic(photo, labels, logits=logits)


def test_auto_says_what_it_chose(refiner, photo, labels, monkeypatch):
    said = []
    monkeypatch.setattr(module, 'print_log', lambda text, logger: said.append(text))
    refiner.refine_semantic(photo, labels, 'auto', classes=NAMES)
    assert said == [
        'refinement strategy (auto): semantic: the other 2 classes stand before class '
        "0, 'background'."
    ]


@pytest.mark.parametrize(
    'change, options, error, words',
    [
        (lambda a: a[:-1], {}, ValueError, 'size of the image'),
        (lambda a: np.stack([a, a]), {}, ValueError, r'\(H, W\)'),
        (lambda a: a / 2, {}, TypeError, 'integer'),
        (lambda a: a == 2, {}, TypeError, 'uint8'),
        (lambda a: a.tolist(), {}, TypeError, 'numpy array'),
        (lambda a: a, {'classes': NAMES[:2]}, ValueError, '0 to 1.*got 2'),
        (lambda a: a.astype(int) - 1, {}, ValueError, 'got -1'),
        (lambda a: a, {'strategy': 'best'}, ValueError, "'scene', 'semantic', 'binary'"),
        (lambda a: a, {'strategy': 'auto'}, ValueError, 'give them'),
        (lambda a: a, {'strategy': 'binary'}, ValueError, 'semantic or the scene'),
        (lambda a: a, {'strategy': 7}, TypeError, 'int'),
        (
            lambda a: a,
            {'strategy': SceneParsingStrategy(), 'stuff': [0]},
            ValueError,
            'them there',
        ),
        (lambda a: a, {'background': 0}, ValueError, "'semantic' or 'binary'"),
        (lambda a: a, {'stuff': 'ade'}, ValueError, "'ade20k'"),
        (lambda a: a, {'stuff': ['catt'], 'classes': NAMES}, ValueError, 'near: cat'),
        (lambda a: a, {'stuff': ['sky']}, ValueError, 'names of the classes are not known'),
    ],
)
def test_bad_input_gets_a_sentence(refiner, photo, labels, change, options, error, words):
    with pytest.raises(error, match=words):
        refiner.refine_semantic(photo, change(labels), **options)


def test_bad_image_gets_a_sentence(refiner, photo, labels):
    with pytest.raises(UserError, match='image'):
        refiner.refine_semantic(photo[None, None], labels)
    with pytest.raises(UserError, match='image'):
        refiner.refine_semantic(photo / 255 - 1, labels)


def test_logits_of_the_model_count_in_a_scene(refiner, photo, labels):
    logits = np.stack([np.where(labels == label, 3, 0) for label in range(3)]).astype(np.float32)
    plain = refiner.refine_semantic(photo, labels)
    weighed = refiner.refine_semantic(photo, labels, logits=logits)
    trusted = refiner.refine_semantic(
        photo, labels, {'type': 'scene', 'prior_weight': 1000}, logits=torch.from_numpy(logits)
    )
    assert (plain != weighed).any()
    np.testing.assert_array_equal(trusted, labels)
    with pytest.raises(ValueError, match='logits must be'):
        refiner.refine_semantic(photo, labels, logits=logits[:2])


def test_a_mask_in_the_place_of_labels_is_told(refiner, photo, mask):
    labels = mask * np.uint8(255)
    with pytest.warns(UserWarning, match='labels holds 0 and 255 alone, and 255 is void here'):
        found = refiner.refine_semantic(photo, labels, 'binary')
    np.testing.assert_array_equal(found, labels)
