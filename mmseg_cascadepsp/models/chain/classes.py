"""Names of stuff and background classes."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from numbers import Integral

from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

#: Names of the background class, in lower case.
BACKGROUND_NAMES = ('background', '_background_', '__background__', 'bg')

#: Registered datasets that have the class names of each set.
LISTED_BY = {
    'ade20k': ('ADE20KDataset',),
    'cityscapes': ('CityscapesDataset',),
    'coco_stuff': ('COCOStuffDataset',),
    'pascal_context': ('PascalContextDataset', 'PascalContextDataset59'),
}

#: Stuff of each set, which are surfaces behind objects. The list of ADE20K is the authors', and
#: the others follow its idea. Stuff of COCO-Stuff that comes in separate pieces (food, textiles,
#: furniture, windows) is treated like objects.
STUFF = {
    'ade20k': (
        'wall',
        'building',
        'sky',
        'floor',
        'ceiling',
        'road',
        'grass',
        'sidewalk',
        'earth',
        'mountain',
        'water',
        'house',
        'sea',
        'rug',
        'field',
        'sand',
        'skyscraper',
        'grandstand',
        'path',
        'runway',
        'stairway',
        'river',
        'bridge',
        'hill',
        'hovel',
        'tower',
        'dirt track',
        'land',
        'escalator',
        'stage',
        'conveyer belt',
        'swimming pool',
        'waterfall',
        'lake',
        'pier',
    ),
    'cityscapes': ('road', 'sidewalk', 'building', 'wall', 'vegetation', 'terrain', 'sky'),
    'coco_stuff': (
        'bridge',
        'building-other',
        'ceiling-other',
        'ceiling-tile',
        'clouds',
        'dirt',
        'floor-marble',
        'floor-other',
        'floor-stone',
        'floor-tile',
        'floor-wood',
        'fog',
        'grass',
        'gravel',
        'ground-other',
        'hill',
        'house',
        'moss',
        'mountain',
        'mud',
        'pavement',
        'platform',
        'playingfield',
        'railroad',
        'river',
        'road',
        'rug',
        'sand',
        'sea',
        'sky-other',
        'skyscraper',
        'snow',
        'stairs',
        'wall-brick',
        'wall-concrete',
        'wall-other',
        'wall-panel',
        'wall-stone',
        'wall-tile',
        'wall-wood',
        'water-other',
    ),
    'pascal_context': (
        'background',
        'building',
        'ceiling',
        'floor',
        'grass',
        'ground',
        'mountain',
        'platform',
        'road',
        'sidewalk',
        'sky',
        'snow',
        'track',
        'wall',
        'water',
    ),
}


def _key(name: str) -> str:
    return name.strip().lower()


def _class_names(dataset: str) -> tuple[str, ...]:
    return DATASETS.get(dataset).METAINFO['classes']


def check_classes(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Check the names of the classes.

    Args:
        classes: Names of all classes, in order, or None if they are not known.

    Returns:
        The names.

    Raises:
        InvalidTypeError: They are no list of names, or there are none. A single string is no list:
            ``('cat',)`` has one class, ``'cat'`` would have three.

    Example:
        >>> check_classes(['cat', 'dog'])
        ('cat', 'dog')
    """
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not len(classes):
        raise InvalidTypeError(
            f'classes must be a list of the names of all classes, in order, got {classes!r}.'
        )
    for name in classes:
        if not isinstance(name, str):
            raise InvalidTypeError(f'classes must be names, got {name!r} among them.')
    return tuple(classes)


def known_dataset(classes: Sequence[str] | None) -> str | None:
    """Recognise a dataset by its class names.

    Args:
        classes: Names of all classes, in order. Case does not matter.

    Returns:
        Key of :data:`STUFF`, or None for other classes.

    Example:
        >>> known_dataset(['cat', 'dog']) is None
        True
    """
    wanted = [_key(name) for name in classes or ()]
    for dataset, types in LISTED_BY.items():
        for name in types:
            if wanted == [_key(c) for c in _class_names(name)]:
                return dataset
    return None


def find_background(classes: Sequence[str] | None) -> int | None:
    """Find the class that is named background.

    Args:
        classes: Names of all classes, in order.

    Returns:
        Its id, or None.

    Example:
        >>> find_background(['Background', 'cat'])
        0
    """
    names = [_key(name) for name in classes or ()]
    return next((names.index(name) for name in BACKGROUND_NAMES if name in names), None)


def class_id(name: int | str, classes: Sequence[str] | None, argument: str) -> int:
    """Id of a class that is given by id or name.

    Args:
        name: Id or name.
        classes: Names of all classes, in order.
        argument: Name of the argument, for the error message.

    Raises:
        InvalidValueError: It is neither an id nor a name, the class is unknown, or a name is given
            without ``classes``.

    Example:
        >>> class_id('dog', ['cat', 'dog'], 'foreground')
        1
    """
    if isinstance(name, str):
        if classes is None:
            raise InvalidValueError(
                f'{argument} names the class {name!r}, but the names of the classes '
                'are not known: give its id, or give classes.'
            )
        names = [_key(c) for c in classes]
        if _key(name) not in names:
            near = get_close_matches(_key(name), names, 3)
            raise InvalidValueError(
                f'{argument} names the class {name!r}, which is not among the '
                f'{len(names)} classes' + (f'; near: {", ".join(near)}.' if near else '.')
            )
        return names.index(_key(name))
    if isinstance(name, bool) or not isinstance(name, Integral):
        raise InvalidValueError(f'{argument} must be ids or names of classes, got {name!r}.')
    if int(name) < 0 or (classes is not None and int(name) >= len(classes)):
        top = 'up' if classes is None else f'to {len(classes) - 1}'
        raise InvalidValueError(f'{argument} must have ids from 0 {top}, got {int(name)}.')
    return int(name)


def stuff_ids(
    stuff: str | Collection[int | str], classes: Sequence[str] | None = None
) -> frozenset[int]:
    """Ids of the stuff classes.

    Args:
        stuff: Ids or names of classes, one name, or a key of :data:`STUFF`. ``'auto'`` takes the
            list of the dataset that has these ``classes``, or none if there is no such dataset.
        classes: Names of all classes, in order. With a key of :data:`STUFF` they may be left out,
            then those of MMSeg's dataset are taken. Other classes may also be given. Those with
            the name of a stuff class are stuff.

    Returns:
        The ids.

    Raises:
        InvalidTypeError: ``stuff`` or ``classes`` is of another type.
        InvalidValueError: The dataset or a class is unknown.

    Example:
        >>> sorted(stuff_ids('cityscapes'))
        [0, 1, 2, 3, 8, 9, 10]
        >>> stuff_ids(['Sky', 3], classes=['car', 'sky', 'tree', 'road'])
        frozenset({1, 3})
    """
    classes = check_classes(classes)
    if not isinstance(stuff, (str, Collection)):
        raise InvalidTypeError(f'stuff must be ids or names of classes, got {stuff!r}.')
    if isinstance(stuff, str):
        if stuff == 'auto':
            stuff = known_dataset(classes)
            if stuff is None:
                return frozenset()
        if stuff not in STUFF:
            if classes is not None and _key(stuff) in map(_key, classes):
                return frozenset([class_id(stuff, classes, 'stuff')])
            raise InvalidValueError(
                f"stuff must be 'auto', one of {', '.join(map(repr, STUFF))}, or the "
                f'ids or names of classes, got {stuff!r}.'
            )
        if classes is None:
            classes = _class_names(LISTED_BY[stuff][0])
        return frozenset(index for index, name in enumerate(classes) if _key(name) in STUFF[stuff])
    return frozenset(class_id(name, classes, 'stuff') for name in stuff)
