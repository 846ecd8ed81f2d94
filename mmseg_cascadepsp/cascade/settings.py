"""The settings, declared once: how a cascade runs, and how label maps are fused."""

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .geometry import check_crop_size
from .guided import GuidedFilter

STEPS = ('auto', 'global', 'both', 'local')
CROPS = ('uniform', 'adaptive')
REGIONS = ('auto', 'photo', 'object')
CROP_FILTERS = ('boundary', 'release', 'all')
COMPAT = (None, 'release')


def _one_of(name: str, value: object, known: tuple) -> None:
    if not isinstance(value, (str, type(None))) or value not in known:
        raise InvalidValueError(
            f'{name} must be one of {", ".join(map(repr, known))}, got {value!r}.'
        )


def _within(name: str, value: float, low: float, high: float = float('inf')) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f'{name} must be a number, got {value!r}.')
    if not low <= value <= high or not math.isfinite(value):
        bounds = f'at least {low}' if high == float('inf') else f'from {low} to {high}'
        raise InvalidValueError(f'{name} must be {bounds}, got {value}.')


def check_integer(name: str, value: object, low: float = -math.inf) -> None:
    """Check an integer of the settings or beside them.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        low: The least that it may be.

    Raises:
        InvalidTypeError: It is no integer.
        InvalidValueError: It is below ``low``.

    Example:
        >>> check_integer('levels', 2, 1)
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f'{name} must be an integer, got {value!r}.')
    if value < low:
        raise InvalidValueError(f'{name} must be at least {low}, got {value}.')


def check_ignore_index(value: object) -> None:
    """Check the id of void pixels.

    Args:
        value: An integer, or None if there are none.

    Raises:
        InvalidTypeError: It is something else.

    Example:
        >>> check_ignore_index(255)
    """
    if value is not None:
        check_integer('ignore_index', value)


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidTypeError(f'{name} must be True or False, got {value!r}.')


def _ids(name: str, ids: object) -> frozenset[int]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Collection):
        raise InvalidTypeError(f'{name} must be ids of classes, got {ids!r}.')
    for each in ids:
        check_integer(f'each id of {name}', each, 0)
    return frozenset(ids)


@dataclass(frozen=True, kw_only=True)
class CascadeSettings:
    """How a cascade runs over an image (paper, section 3.2). The defaults are the paper's.

    Args:
        L: Longer side of the Global step and side of the Local step's crops, at least 66. The
            device's memory grows with it (paper, section 3.2.3).
        steps: ``'auto'``, as the paper: Global step, and the Local step where the longer side of
            the image is at least ``L``. ``'global'``: Global step alone. ``'both'``, as the
            authors' package: the Local step for smaller images, too. ``'local'``: Local step
            alone, with the coarse mask in place of the outputs of the Global step (paper,
            Table 2).
        region: What the cascade looks at. ``'photo'``, as the paper: the whole photo.
            ``'object'``: a region around the object, or around each of its parts if they are far
            apart. ``'auto'``: such regions in photos larger than ``L``, where the longest region
            is at most a quarter as long as the photo. In a photo that is shrunk to ``L`` a small
            object has few pixels, and gets lost.
        crops: Where the Local step lays its crops. ``'uniform'``: the paper's grid.
            ``'adaptive'``: as few as cover the boundary.
        crop_filter: Which crops are refined. ``'boundary'``: those that the boundary of the mask
            runs through. ``'release'``, as the authors' code: those of 10 to 90 % foreground.
            ``'all'``: every crop. Adaptive crops take ``'boundary'`` alone.
        enlarge: Whether images smaller than ``L`` are enlarged to it for the Global step, as the
            authors' package does.
        levels: Number n of Local steps, coarse to fine (paper, end of section 3.2.2), for images
            much larger than ``L``. Step k works at the longer side
            ``L * (max(H, W) / L) ** (k / n)``. Images up to ``L`` take one.
        batch_size: Crops per pass of the network.
        overview: Share of ``L`` at which the Global step first looks over the whole image, which
            mends errors of the coarse mask that are larger than those at its boundary. None, as
            the paper: no overview. There is none either where it would see less than 224 pixels.
        tidy: Whether to undo what the network says against the coarse mask far from its boundary:
            connected components that do not touch it are removed, holes that open deep inside it
            are filled. :meth:`Refiner.refine <mmseg_cascadepsp.Refiner.refine>` removes specks
            (pieces and holes below 0.05 % of the object), too.
        guided_filter: Filter that the finest probability goes through in the end. None: none, as
            the paper.
        max_change: Share of an object, 1 - IoU of the coarse and the refined mask, from 0 to 1,
            above which the mask stays as it was. None: no bound. :meth:`Refiner.refine
            <mmseg_cascadepsp.Refiner.refine>` and folder runs read it. Label maps do not.
        keep_accurate: Whether a mask whose boundary lies on the photo's edges already stays as it
            was, but for gross errors, since every boundary that is redrawn loses a little. Read
            where ``max_change`` is, and by sets of annotations. Photos that are refined by rows
            are not asked.
        compat: ``'release'``: as the authors' package to the pixel. It stands for
            ``steps='both'`` unless others are given, ``region='photo'``,
            ``crop_filter='release'``, and neither overview, tidying, filter nor masks that stay.
            None: the paper.

    Raises:
        InvalidTypeError: A setting is of another type.
        InvalidValueError: A setting is out of range, or two do not go together.

    Example:
        >>> CascadeSettings(L=500).steps
        'auto'
        >>> CascadeSettings(compat='release').crop_filter
        'release'
    """

    L: int = 900
    steps: str = 'auto'
    region: str = 'auto'
    crops: str = 'uniform'
    crop_filter: str = 'boundary'
    enlarge: bool = True
    levels: int = 1
    batch_size: int = 1
    overview: float | None = None
    tidy: bool = False
    guided_filter: GuidedFilter | None = None
    max_change: float | None = None
    keep_accurate: bool = True
    compat: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'L', check_crop_size(self.L))
        _one_of('compat', self.compat, COMPAT)
        _one_of('steps', self.steps, STEPS)
        _one_of('region', self.region, REGIONS)
        _one_of('crops', self.crops, CROPS)
        _one_of('crop_filter', self.crop_filter, CROP_FILTERS)
        if self.compat == 'release':
            if self.crops == 'adaptive':
                raise InvalidValueError("compat='release' knows crops='uniform' alone.")
            if self.max_change is not None:
                raise InvalidValueError(
                    "compat='release' takes what the network says, so max_change must be None, "
                    f'got {self.max_change!r}.'
                )
            implied = dict(
                steps='both' if self.steps == 'auto' else self.steps,
                region='photo',
                crop_filter='release',
                overview=None,
                tidy=False,
                guided_filter=None,
                keep_accurate=False,
            )
            for name, value in implied.items():
                object.__setattr__(self, name, value)
        if self.crops == 'adaptive' and self.crop_filter != 'boundary':
            raise InvalidValueError(
                "crops='adaptive' lays crops along the boundary alone, so crop_filter must be "
                f"'boundary', got {self.crop_filter!r}; it goes with crops='uniform'."
            )
        for name in ('levels', 'batch_size'):
            check_integer(name, getattr(self, name), 1)
        for name in ('enlarge', 'tidy', 'keep_accurate'):
            _flag(name, getattr(self, name))
        if self.overview is not None:
            _within('overview', self.overview, 0, 1)
            if self.overview == 0:  # as people switch off what is a number
                object.__setattr__(self, 'overview', None)
            elif self.overview == 1:
                raise InvalidValueError(
                    'overview must be a share of L below 1, such as 0.5, or None, got 1.'
                )
        if self.max_change is not None:
            _within('max_change', self.max_change, 0, 1)
        if self.guided_filter is not None and not isinstance(self.guided_filter, GuidedFilter):
            raise InvalidTypeError(
                f'guided_filter must be a GuidedFilter or None, got {self.guided_filter!r}.'
            )

    def with_local_step(self, size: tuple[int, int]) -> bool:
        """Whether an image of ``size``, (H, W), gets the Local step."""
        if self.steps == 'auto':
            return max(size) >= self.L
        return self.steps != 'global'

    def replace(self, **changes: Any) -> 'CascadeSettings':
        """These settings with some of them changed.

        Example:
            >>> CascadeSettings().replace(L=500).L
            500
        """
        unknown = changes.keys() - {field.name for field in fields(self)}
        if unknown:
            raise InvalidTypeError(
                f'there is no setting {", ".join(sorted(unknown))}; a cascade has '
                f'{", ".join(field.name for field in fields(self))}.'
            )
        return replace(self, **changes)


def call_settings(fast: bool | None = None, L: int | None = None) -> dict:
    """The settings that ``fast`` and ``L`` of a call stand for.

    Raises:
        InvalidTypeError: ``fast`` is neither True, False nor None.

    Example:
        >>> call_settings(fast=True, L=500)
        {'steps': 'global', 'L': 500}
    """
    settings: dict[str, str | int] = {}
    if fast is not None:
        _flag('fast', fast)
        settings['steps'] = 'global' if fast else 'both'
    if L is not None:
        settings['L'] = L
    return settings


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """How a label map is divided into parts and put together again (paper, section 4.3).

    Args:
        stuff: Ids of classes whose probability is attenuated, so that objects in front of them
            win.
        attenuation: The factor, 0 to 1.
        threshold: Probability above which a part takes a pixel. Below it the input label stays.
        protect: Whether pixels of parts too small to be refined keep their label. In the paper
            their neighbours may take them.
        prior_weight: Weight of the segmentor's own probability beside the refiner's, where its
            logits are at hand. 0, as the paper: none.
        background: Id of the class that has no mask of its own and takes the pixels that others
            give up. For whole-image refinement of each class alone. None: every class has a mask.
        keep: Ids of classes that are not refined but give way to neighbours that are sure.
        ignore_index: Id of void pixels, which stay as they are. None: there are none.
        num_classes: Ids must be below it. None: not known.
        min_area: Parts of at most so many pixels are left as they are.
        max_components: At most so many parts are refined, the largest. None: all.
        padding: Growth of a component's bounding box, as a share of its sides, half on each side.
        min_size: Regions smaller than this longer side are enlarged to it.
        batch_size: Most regions per pass of the network.
        bucket: Sides of regions are padded to multiples of it, a multiple of 8. With more, more
            regions share a batch, and the network sees more padding.
        compat: ``'release'``: the authors' scripts to the pixel. Neither ``protect`` nor logits
            are used. None: the paper.

    Raises:
        InvalidTypeError: A setting is of another type.
        InvalidValueError: A setting is out of range.

    Example:
        >>> FusionSettings(stuff={2, 5}).attenuation
        0.51
    """

    stuff: frozenset[int] = frozenset()
    attenuation: float = 0.51
    threshold: float = 0.5
    protect: bool = True
    prior_weight: float = 0.5
    background: int | None = None
    keep: frozenset[int] = frozenset()
    ignore_index: int | None = 255
    num_classes: int | None = None
    min_area: int = 32 * 32
    max_components: int | None = None
    padding: float = 0.25
    min_size: int = 224
    batch_size: int = 8
    bucket: int = 8
    compat: str | None = None

    def __post_init__(self) -> None:
        for name in ('stuff', 'keep'):
            object.__setattr__(self, name, _ids(name, getattr(self, name)))
        _one_of('compat', self.compat, COMPAT)
        for name, bounds in {
            'attenuation': (0, 1),
            'threshold': (0, 1),
            'prior_weight': (0,),
            'min_area': (0,),
            'padding': (0, 100),
            'min_size': (1,),
        }.items():
            _within(name, getattr(self, name), *bounds)
        _flag('protect', self.protect)
        check_ignore_index(self.ignore_index)
        check_integer('batch_size', self.batch_size, 1)
        for name, low in {'background': 0, 'num_classes': 1, 'max_components': 0}.items():
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low)
        check_integer('bucket', self.bucket)
        if self.bucket < 8 or self.bucket % 8:
            raise InvalidValueError(f'bucket must be a multiple of 8, got {self.bucket}.')
        if self.compat == 'release':
            object.__setattr__(self, 'protect', False)
            object.__setattr__(self, 'prior_weight', 0)
