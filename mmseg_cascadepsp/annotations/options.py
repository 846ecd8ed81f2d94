"""What is asked of a run over a set of annotations."""

import os
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

#: Fields that say where things are and go, not how objects are refined.
_PLACES = ('images', 'report', 'truth', 'overwrite', 'asked')


@dataclass(frozen=True, kw_only=True)
class AnnotationOptions:
    """How a set of annotations is refined, and what is made beside it.

    Args:
        images: The folder of the photos, or the photo of a GeoTIFF. None: where the format has
            them.
        report: HTML file with every object before and after.
        truth: A set of true outlines of the same photos: the report has scores.
        simplify: Polygons get as few points as keep them within so many pixels of the refined
            outline. 0: every corner.
        overlap: Where two refined objects claim a pixel that neither had before: ``'resolve'``:
            the surer one takes it. ``'keep'``: both have it. In maps a pixel has one object
            always.
        max_change: An object of which more than this share would change (1 - IoU of old and new)
            keeps its old outline. 1: none does.
        min_sureness: An object keeps its old outline where the refiner is less sure of what it
            changes: the mean of ``|2p - 1|`` over those pixels, 0 to 1. 0: none does.
        min_gain: An object keeps its old outline where the refiner expects a smaller gain of IoU,
            which is the change times the sureness. 0: none does. None: 0.02, and 0 in label maps
            and GeoTIFF, of whose large areas a boundary is a small share.
        min_side: Objects with a shorter longer side, in pixels, stay as they are.
        dry_run: Read everything, refine nothing, and write the set as it is.
        overwrite: Write over a result that is there.
        asked: Digest of the command that asks, by which it knows its result again.

    Raises:
        InvalidValueError: An option is out of range.
        InvalidTypeError: A limit is no number.

    Example:
        >>> AnnotationOptions(simplify=1).overlap
        'resolve'
    """

    images: str | os.PathLike | None = None
    report: str | os.PathLike | None = None
    truth: str | os.PathLike | None = None
    simplify: float = 0.5
    overlap: str = 'resolve'
    max_change: float = 0.5
    min_sureness: float = 0.35
    min_gain: float | None = None
    min_side: int = 8
    dry_run: bool = False
    overwrite: bool = False
    asked: str = ''

    def __post_init__(self) -> None:
        if self.overlap not in ('keep', 'resolve'):
            raise InvalidValueError(f"overlap must be 'keep' or 'resolve', got {self.overlap!r}.")
        for name, high in (
            ('simplify', 100),
            ('max_change', 1),
            ('min_sureness', 1),
            ('min_gain', 1),
            ('min_side', 10_000),
        ):
            value = getattr(self, name)
            if name == 'min_gain' and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidTypeError(f'{name} must be a number, got {value!r}.')
            if not 0 <= value <= high:
                raise InvalidValueError(f'{name} must be from 0 to {high}, got {value}.')

    @classmethod
    def of(cls, options: dict[str, Any]) -> 'AnnotationOptions':
        """The options that were given to a function.

        Raises:
            InvalidTypeError: There is no such option.
            InvalidValueError: One is out of range.

        Example:
            >>> AnnotationOptions.of({'min_side': 16}).min_side
            16
        """
        names = [field.name for field in fields(cls)]
        unknown = [name for name in options if name not in names]
        if unknown:
            raise InvalidTypeError(
                f'options are {", ".join(names)}, got {", ".join(map(repr, unknown))}.'
            )
        return cls(**options)

    def told(self) -> dict[str, Any]:
        """What becomes of objects depends on these.

        Example:
            >>> AnnotationOptions(report='a.html').told() == AnnotationOptions().told()
            True
        """
        return {name: value for name, value in asdict(self).items() if name not in _PLACES}
