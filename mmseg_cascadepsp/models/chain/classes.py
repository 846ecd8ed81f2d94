"""Which classes are stuff or background, by name, per dataset."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidValueError

#: Names of the background class, in lower case.
BACKGROUND_NAMES = ('background', '_background_', '__background__', 'bg')

#: Set -> registered datasets that list its class names.
LISTED_BY = {
    'ade20k': ('ADE20KDataset',),
    'cityscapes': ('CityscapesDataset',),
    'coco_stuff': ('COCOStuffDataset',),
    'pascal_context': ('PascalContextDataset', 'PascalContextDataset59'),
}

#: Set -> its stuff: surfaces that objects stand in front of. ADE20K's are the authors'; the
#: others follow the same idea. COCO-Stuff's stuff that comes in pieces of its own (food, textiles,
#: furniture, windows) competes as objects do.
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


def known_dataset(classes: Sequence[str] | None) -> str | None:
    """Key of :data:`STUFF` whose class names are ``classes``, if there is one."""
    wanted = [_key(name) for name in classes or ()]
    for dataset, types in LISTED_BY.items():
        for name in types:
            if wanted == [_key(c) for c in _class_names(name)]:
                return dataset
    return None


def find_background(classes: Sequence[str] | None) -> int | None:
    """Index of the class that is named background, if there is one."""
    names = [_key(name) for name in classes or ()]
    return next((names.index(name) for name in BACKGROUND_NAMES if name in names), None)


def class_id(name: int | str, classes: Sequence[str] | None, argument: str) -> int:
    """Id of a class given by id or name.

    Raises:
        ValueError: the class is unknown, or a name comes without ``classes``.
    """
    if isinstance(name, str):
        if classes is None:
            raise InvalidValueError(
                f'{argument} names the class {name!r}, but the names of the classes '
                'are not known: give its id, or classes.'
            )
        names = [_key(c) for c in classes]
        if _key(name) not in names:
            near = get_close_matches(_key(name), names, 3)
            raise InvalidValueError(
                f'{argument} names the class {name!r}, which is not among the '
                f'{len(names)} classes' + (f'; near: {", ".join(near)}.' if near else '.')
            )
        return names.index(_key(name))
    if isinstance(name, bool) or not hasattr(name, '__index__'):
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
        stuff: ids or names of classes, or one name; a key of :data:`STUFF`; ``'auto'``: the list
            of the dataset whose class names are ``classes``, none for another.
        classes: names of the classes. For a key of :data:`STUFF` they may be left out (MMSeg's are
            taken) or differ from the dataset's: those of its stuff that they name count.

    Raises:
        ValueError: an unknown dataset or class.

    Example:
        >>> sorted(stuff_ids('cityscapes'))
        [0, 1, 2, 3, 8, 9, 10]
        >>> stuff_ids(['Sky', 3], classes=['car', 'sky', 'tree', 'road'])
        frozenset({1, 3})
    """
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
