"""What is written of refined pairs, and how they are read."""

from collections.abc import Collection
from dataclasses import dataclass

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .arrays import check_threshold
from .mask_values import Reading

EXTRAS = {'probability': '.png', 'overlay': '.jpg', 'before_after': '.jpg'}
"""What can be written besides the mask, and as which format."""
WINDOWED_PIXELS = 100_000_000
"""Photos of more pixels are refined by rows."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is written of refined pairs.

    Args:
        threshold: Probability above which a pixel is object, from 0 to below 1.
        extras: Some of :data:`EXTRAS`. Photos that are refined by rows have ``probability`` alone.
        windowed: Whether photos are refined by rows, see
            :func:`~mmseg_cascadepsp.apis.refine_file`. None: those of more than
            :data:`WINDOWED_PIXELS`. With False, masks are written as PNG or JPEG alone.
        overwrite: Whether to make everything anew, also in the place of outputs of other settings.
        asked: Digest of the command that asks for the outputs, kept in them for
            :func:`~mmseg_cascadepsp.files.pairs.were_asked`.
        mask_values, ignore, exif: How to read photos and masks where they do not say it, see
            :class:`~mmseg_cascadepsp.files.Reading`.
        resize_mask: Whether masks of another size are brought to that of their photos.
        label_map: Whether masks are label maps, whose classes are refined all at once. Results are
            label maps, too. ``ignore`` is their void, 255 by default.

    Raises:
        InvalidValueError: A bad setting.

    Example:
        >>> RunOptions(extras=['overlay']).threshold
        0.5
    """

    threshold: float = 0.5
    extras: Collection[str] = ()
    windowed: bool | None = None
    overwrite: bool = False
    asked: str = ''
    mask_values: str | int | Collection[int] | None = None
    ignore: int | None = None
    exif: str | None = None
    resize_mask: bool = False
    label_map: bool = False

    def __post_init__(self) -> None:
        values = self.mask_values
        if isinstance(values, Collection) and not isinstance(values, str):
            object.__setattr__(self, 'mask_values', tuple(values))
        self.reading.told()  # raises errors of its arguments now
        check_threshold(self.threshold)
        if isinstance(self.extras, str) or not isinstance(self.extras, Collection):
            raise InvalidTypeError(f'extras must be a collection of names, got {self.extras!r}.')
        object.__setattr__(self, 'extras', tuple(self.extras))
        unknown = [extra for extra in self.extras if extra not in tuple(EXTRAS)]
        if unknown:
            raise InvalidValueError(
                f'extras must be of {", ".join(EXTRAS)}, got {", ".join(map(str, unknown))}.'
            )
        if not isinstance(self.asked, str):
            raise InvalidTypeError(f'asked must be a digest as text, got {self.asked!r}.')
        for name in ('windowed', 'overwrite', 'resize_mask', 'label_map'):
            value = getattr(self, name)
            if not isinstance(value, bool) and (name != 'windowed' or value is not None):
                raise InvalidTypeError(f'{name} must be True or False, got {value!r}.')
        wrong = {
            'windowed': self.windowed,
            'mask_values': self.mask_values is not None,
            'probability': 'probability' in self.extras,
            'threshold': self.threshold != 0.5,
        }
        named = ' and '.join(name for name, given in wrong.items() if given)
        if self.label_map and named:
            raise InvalidValueError(
                f'{named} cannot be given with label_map, which refines whole photos, all classes '
                'at once: leave one of them out.'
            )

    @property
    def reading(self) -> Reading:
        """How photos and masks are read."""
        return Reading(self.mask_values, self.ignore, self.exif)

    def told(self) -> dict:
        """What results depend on."""
        flags = {name: 'True' for name in ('resize_mask', 'label_map') if getattr(self, name)}
        return {**self.reading.told(), **flags, 'threshold': self.threshold}
