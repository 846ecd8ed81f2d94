"""What the values of a mask mean, whether they come from arrays, files, training sets or stored
predictions. What can be read in two ways is refused.
"""

import os
import warnings
from dataclasses import dataclass

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError, MaskValuesError

OVERSHOOT = 0.25
"""Floats may leave their range by this share of it, as cubic interpolation does."""
NOISE = 32
"""Lossy formats leave values below this, of 255, where a mask is empty."""
MANY = {255: 64, 65535: 1024}
"""Full value -> so many different values between 0 and it are no class ids."""
MIRRORED, NEAR, END = 0.85, 8, 16
"""How the values of a soft mask are told from ids. At least the share ``MIRRORED`` of them have a
mirror image (255 minus the value) within ``NEAR`` of another one. The smallest and the largest lie
within ``END`` of 0 and 255.
"""
SHOWN = 8
"""Most values that a message lists."""


@dataclass(frozen=True)
class Reading:
    """How files are to be read where they do not say it themselves.

    Args:
        mask_values: The value, or values, that are the object in a mask. All others are
            background. ``'soft'``: values are shares of the object, such as 0 to 255. None: the
            values have to say it.
        ignore: Value of a mask that is neither object nor background, such as 255 in annotations
            of MMSegmentation. It becomes background.
        exif: ``'apply'``: pictures are turned as their EXIF orientation says, as viewers do.
            ``'ignore'``: pixels are taken as they are stored. None: as ``'apply'``, with a
            warning where the mask may have been made on the stored pixels.

    Raises:
        InvalidValueError: An argument is none of these.

    Example:
        >>> Reading(mask_values=3).mask_values
        (3,)
    """

    mask_values: str | int | tuple[int, ...] | None = None
    ignore: int | None = None
    exif: str | None = None

    def __post_init__(self) -> None:
        values = self.mask_values
        if isinstance(values, int | np.integer) and not isinstance(values, bool):
            values = (values,)
        if isinstance(values, list | tuple | set) and values and all(map(_is_whole, values)):
            object.__setattr__(self, 'mask_values', tuple(sorted(map(int, values))))
        elif values is not None and values != 'soft':
            raise InvalidValueError(
                f"mask_values must be one or several integers, or 'soft', got {values!r}."
            )
        if self.ignore is not None and not _is_whole(self.ignore):
            raise InvalidValueError(f'ignore must be an integer, got {self.ignore!r}.')
        if self.exif not in (None, 'apply', 'ignore'):
            raise InvalidValueError(f"exif must be 'apply' or 'ignore', got {self.exif!r}.")

    @property
    def ids(self) -> tuple[int, ...] | None:
        """The values that are the object, if any were named."""
        return None if self.mask_values == 'soft' else self.mask_values

    def told(self) -> dict[str, str]:
        """What differs from the default, which results depend on."""
        return {name: str(value) for name, value in vars(self).items() if value is not None}


def parse_values(text: str) -> str | tuple[int, ...]:
    """The argument ``mask_values`` of a text, of a command line, a form or a page.

    Args:
        text: Integers with commas or spaces, or ``soft``.

    Raises:
        InvalidValueError: It is neither.

    Example:
        >>> parse_values('1, 2'), parse_values('soft')
        ((1, 2), 'soft')
    """
    words = text.replace(',', ' ').split()
    if words == ['soft']:
        return 'soft'
    try:
        return Reading(mask_values=tuple(map(int, words))).mask_values
    except ValueError:
        raise InvalidValueError(
            f"mask_values must be one or several integers, or 'soft', got {text!r}."
        ) from None


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class Seen:
    """The values that a mask has, gathered part by part.

    Attributes:
        low, high: The smallest and the largest one.
        floats: Whether they are stored as floats.
        distinct: All of them, sorted. None where there are fractions.

    Example:
        >>> seen = Seen()
        >>> seen.add(np.array([0, 7], np.uint8))
        >>> seen.add(np.array([[255]]))
        >>> seen.distinct.tolist()
        [0, 7, 255]
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.floats = False
        self.distinct: np.ndarray | None = np.empty(0, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Add a part of the mask: bool, integers or floats of any shape."""
        self.floats |= values.dtype.kind == 'f'
        found = _distinct(values)
        if found is None:
            # NaN stays NaN. In 16 bits, bounds above 65504 would be infinite.
            self.low = np.minimum(self.low, float(values.min()))
            self.high = np.maximum(self.high, float(values.max()))
            self.distinct = None
            return
        self.low, self.high = np.minimum(self.low, found[0]), np.maximum(self.high, found[-1])
        if self.distinct is not None:
            self.distinct = np.union1d(self.distinct, found) if self.distinct.size else found


def _distinct(values: np.ndarray) -> np.ndarray | None:
    """The different values, int64, sorted. None where some are no integers."""
    if values.dtype.kind == 'b':
        values = values.view(np.uint8)
    if values.dtype.kind == 'f':
        low, high = float(values.min()), float(values.max())  # of 16 bits they would overflow
        if not (-(2**31) <= low and high < 2**31) or (values != np.rint(values)).any():
            return None
        values = values.astype(np.int64)
    if values.dtype not in (np.uint8, np.uint16):
        if values.min() < 0 or values.max() > 65535:
            found = np.unique(values)
            if found.dtype == np.uint64:  # or it turns negative
                found = np.minimum(found, np.uint64(2**63 - 1))
            return found.astype(np.int64)
        values = values.astype(np.uint16)
    low, high = values.min(), values.max()
    if ((values == low) | (values == high)).all():  # as in most masks
        return np.unique([low, high]).astype(np.int64)
    # A histogram, because sorting millions of pixels takes many times as long.
    values = np.ascontiguousarray(values).reshape(1, -1)
    size = 1 << 8 * values.dtype.itemsize
    counts = cv2.calcHist([values], [0], None, [size], [0, size])
    return np.flatnonzero(counts)


@dataclass(frozen=True)
class Meaning:
    """How to turn the values of a mask, or of parts of it, into object and background.

    Args:
        full: What object is: 1, 255 or 65535. Values above half of it are object.
        ids: The values that are object, in the place of ``full``.
        ignore: Value that is background whatever else is said.

    Example:
        >>> Meaning(255).is_object(np.array([0, 127, 128])).tolist()
        [False, False, True]
        >>> Meaning(1).is_object(np.array([0.5, 0.51])).tolist()  # half itself is background
        [False, True]
        >>> Meaning(ids=(3,)).is_object(np.array([1, 3, 255])).tolist()
        [False, True, False]
    """

    full: int = 255
    ids: tuple[int, ...] | None = None
    ignore: int | None = None

    def is_object(self, values: np.ndarray) -> np.ndarray:
        """Binarise: bool of the same shape."""
        if self.ids is not None:
            result = np.isin(values, self.ids)
        elif values.dtype.kind == 'b':
            result = values
        else:
            result = values > (self.full / 2 if values.dtype.kind == 'f' else self.full // 2)
        return result if self.ignore is None else result & (values != self.ignore)

    def soft(self, values: np.ndarray) -> np.ndarray:
        """Bring to 8 bits and keep soft values soft: uint8 of the same shape, above 127 where
        :meth:`is_object` is true.

        Example:
            >>> Meaning(1).soft(np.array([-1e-7, 0.5, 0.51, 1.1])).tolist()
            [0, 127, 130, 255]
            >>> Meaning(65535).soft(np.array([0, 300, 65535])).tolist()
            [0, 1, 255]
        """
        if self.ids is not None or values.dtype.kind == 'b':
            return self.is_object(values).astype(np.uint8) * 255
        if self.ignore is not None:
            values = np.where(values == self.ignore, 0, values)
        if values.dtype.kind == 'f':
            values = values.clip(0, self.full)
        if self.full != 255:
            scaled = values * np.float32(255) if self.full == 1 else values.astype(np.float32)
            values = scaled if self.full == 1 else scaled / 257
        if values.dtype.kind == 'f':
            values = np.ceil(values - 0.5)  # halves go down: 0.5 is background
        return values.astype(np.uint8)


def meaning_of(
    seen: Seen,
    name: str | os.PathLike,
    reading: Reading | None = None,
    lossy: bool = False,
    nodata: float | None = None,
) -> Meaning:
    """Tell what the values of a mask mean.

    These are clear: 0 and 1, also one of them alone. 0 and another value above half of 255, or of
    65535 where one is above 255. Fractions from 0 to 1. Soft masks: their values lie on both sides
    of the half alike, or are very many. Floats may leave their range a little.

    Args:
        seen: The values of the whole mask.
        name: Of the mask, for messages.
        reading: What the user says about it.
        lossy: Whether the values come from JPEG or from a picture's transparency, where no class
            ids can be.
        nodata: Value that the file itself says is no data.

    Returns:
        How to read the mask.

    Raises:
        MaskValuesError: NaN, values out of range, or values that can be read in two ways. The
            message names both and the arguments that choose.

    Example:
        >>> seen = Seen()
        >>> seen.add(np.array([0, 1, 255]))
        >>> meaning_of(seen, 'a.png', Reading(ignore=255))
        Meaning(full=1, ids=None, ignore=255)
        >>> meaning_of(seen, 'a.png')
        Traceback (most recent call last):
            ...
        mmseg_cascadepsp.errors.MaskValuesError: a.png holds the values 0, 1, 255, ...
    """
    reading = reading or Reading()
    ignore, distinct = reading.ignore, seen.distinct
    if reading.ids is not None:
        if distinct is None:
            raise MaskValuesError(
                f'{name} holds fractions from {seen.low} to {seen.high}; mask_values '
                f'{_listed(reading.ids)} needs a mask of integers.'
            )
        if not np.isin(reading.ids, distinct).any():
            warnings.warn(
                f'{name} holds no {_listed(reading.ids)} but {_listed(distinct)}, so its mask is '
                'empty.',
                stacklevel=3,
            )
        return Meaning(ids=reading.ids, ignore=ignore)
    low, high = seen.low, seen.high
    if distinct is not None and ignore is not None:
        distinct = distinct[distinct != ignore]
        low, high = (distinct[0], distinct[-1]) if distinct.size else (0, 0)
    room = OVERSHOOT if seen.floats else 0
    full = next((full for full in (1, 255, 65535) if high <= full * (1 + room)), None)
    if full is None or not low >= -full * room:  # NaN, too
        hint = ''
        if distinct is not None and low < 0:
            low, high = distinct[[0, -1]]
            hint = f'; where {low} is void, say ignore={low} (--ignore {low})'
        raise MaskValuesError(
            f'{name} holds values from {low} to {high}; expected a mask of 0/255, 0/1, fractions '
            f'from 0 to 1, or 0 to 65535{hint}.'
        )
    meaning = Meaning(full, ignore=ignore)
    if lossy and high == 1 and reading.mask_values is None:
        raise MaskValuesError(
            f'{name} holds {_listed(distinct)} in a format that loses some, which can be read as '
            'an empty mask and as one of 0 and 1: say mask_values=1 (--mask-values 1), or '
            'save it as PNG.'
        )
    if full == 1 or reading.mask_values == 'soft':
        return meaning
    soft = lossy or distinct is None
    if not soft:
        distinct = np.unique(distinct.clip(0, full))
        soft = _is_soft(distinct, full)
        if nodata in distinct[distinct > 0]:
            _refuse_nodata(name, nodata)
    if high <= full // 2 and not (lossy and high < NOISE):
        _refuse_dark(name, distinct, high, full)
    if not soft:
        _refuse_labels(name, distinct, full)
    return meaning


def _is_soft(distinct: np.ndarray, full: int) -> bool:
    """Whether values are those of a mask rather than class ids: nothing and one other value, or
    values between that are many, or mirrored at the half, as interpolation and JPEG leave them.
    """
    if (distinct > 0).sum() == 1:
        return True
    shares = distinct * (255 / full)
    between = shares[(distinct > 0) & (distinct < full)]
    if not ((between < 127.5).any() and (between > 127.5).any()):
        return not between.size
    if len(between) >= MANY[full]:
        return True
    if shares[0] > END or shares[-1] < 255 - END:
        return False
    counterparts = np.abs(between[:, None] + between - 255) <= NEAR
    return bool(counterparts.any(axis=1).mean() >= MIRRORED)


def _refuse_nodata(name: str | os.PathLike, nodata: float) -> None:
    raise MaskValuesError(
        f'{name} says in its header that {nodata:g} is no data, where a mask has its object; say '
        f'ignore={nodata:g} (--ignore {nodata:g}) to make that background, or mask_values='
        f'{nodata:g} (--mask-values {nodata:g}) if it is the object.'
    )


def _refuse_dark(
    name: str | os.PathLike, distinct: np.ndarray | None, high: float, full: int
) -> None:
    if distinct is None:
        raise MaskValuesError(
            f'{name} has no value above {full // 2} (its largest is {high}), so that the mask '
            f'would be empty; expected object pixels of {full} or, with 0/1, of 1, or say '
            "mask_values='soft' (--mask-values soft) if it is meant."
        )
    example = distinct[-1]
    raise MaskValuesError(
        f'{name} has no value above {full // 2}: it holds {_listed(distinct)}, as a label map '
        f'does, and as a mask it would be empty; say which value is the object, such as '
        f'mask_values={example} (--mask-values {example}; of an array, mask == {example}).'
    )


def _refuse_labels(name: str | os.PathLike, distinct: np.ndarray, full: int) -> None:
    inner = distinct[(distinct > 0) & (distinct < full)]
    example = inner[0] if inner.size else distinct[0]
    void = (
        f', and ignore={full} (--ignore {full}) if {full} is void' if distinct[-1] == full else ''
    )
    raise MaskValuesError(
        f'{name} holds the values {_listed(distinct)}, which can be read as a mask (object above '
        f'{full // 2}) and as a label map (an id for each class{", void" * bool(void)}): say '
        f'which value is the object, such as mask_values={example} (--mask-values {example}; of '
        f"an array, mask == {example}){void}, or 'soft' for shares of the object."
    )


def _listed(values) -> str:
    shown = ', '.join(str(value) for value in values[:SHOWN])
    return shown + (f' and {len(values) - SHOWN} more' if len(values) > SHOWN else '')
