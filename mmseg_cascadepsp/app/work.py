"""What the page does with a photo and a mask, without anything of the page itself."""

import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from mmseg_cascadepsp.apis import Refiner, find_config
from mmseg_cascadepsp.apis.inputs import read_inputs
from mmseg_cascadepsp.cascade.changes import RefinementReport
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.arrays import check_size, resized_labels, resized_mask
from mmseg_cascadepsp.files.label_ids import VOID
from mmseg_cascadepsp.files.mask_values import Reading
from mmseg_cascadepsp.files.masks import read_labels
from mmseg_cascadepsp.files.photos import read_image
from mmseg_cascadepsp.files.writing import write_png
from mmseg_cascadepsp.visualization import (
    default_palette,
    most_changed,
    overlay,
    paint_labels,
    painted_pair,
)

from .jobs import Job
from .limits import check_classes

#: Longer side of what is painted on, in pixels.
PAINTED_SIDE = 640
#: Longer side of the pictures of a result.
SHOWN_SIDE = 1600
KINDS = 'mask', 'cut-out', 'overlay', 'probability'
"""What can be downloaded."""
SEGMENTOR = 'deeplabv3plus_efficientnet-lite0_persons-cats-horses.py'
SEGMENTOR_WEIGHTS = 'deeplabv3plus_persons-cats-horses.pth'


@dataclass(frozen=True)
class Given:
    """What is refined.

    Attributes:
        name: Of the photo's file, without folder and suffix.
        image: The photo, RGB uint8 ``(H, W, 3)``.
        mask: The mask of an object, bool ``(H, W)``, or a label map, integers ``(H, W)``.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray

    @property
    def palette(self) -> np.ndarray | None:
        """Colours of the label map; None for a mask."""
        return None if self.mask.dtype == bool else default_palette()


@dataclass(frozen=True)
class Choices:
    """Settings that a user of the page has.

    Args:
        settings: Those of :meth:`~mmseg_cascadepsp.Refiner.with_settings`.
        strategy: Of label maps, see :meth:`~mmseg_cascadepsp.Refiner.refine_semantic`.
    """

    settings: dict = field(default_factory=dict)
    strategy: str = 'scene'


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        given: What was refined.
        mask: Refined, as ``given.mask``.
        probability: uint8 ``(H, W)``, as :meth:`~mmseg_cascadepsp.Refiner.refine` gives it; None
            for label maps.
        told: What changed, in words.
        seconds: That it took.
        report: Of a mask that stays as it was.
    """

    given: Given
    mask: np.ndarray
    probability: np.ndarray | None
    told: str
    seconds: float
    report: RefinementReport | None = None


def read_given(
    photo: Path, mask: Path, several: bool, resize: bool, reading: Reading | None = None
) -> Given:
    """Read a photo and its mask or label map.

    Args:
        photo: Its file.
        mask: That of the mask.
        several: Whether it is a label map.
        resize: Whether a mask of another size is stretched to the photo's.
        reading: How to read them where they do not say it.

    Raises:
        UserError: They cannot be read, or do not fit each other.
    """
    if not several:
        image, masks = read_inputs(photo, mask, reading, resize_mask=resize)
        return Given(photo.stem, image, masks[0])
    image, labels = read_image(photo), read_labels(mask)
    check_classes(f'mask {mask}', labels)
    if resize:
        labels = resized_labels(labels, image.shape[:2], f'mask {mask}')
    check_size(f'mask {mask}', labels.shape, f'image {photo}', image.shape[:2])
    return Given(photo.stem, image, labels)


def to_paint_on(image: np.ndarray) -> np.ndarray:
    """The photo, small enough for a browser to paint on; RGB uint8."""
    return _shrunk(image, PAINTED_SIDE)


def _shrunk(picture: np.ndarray, longer: int) -> np.ndarray:
    """The picture, its longer side at most ``longer``."""
    scale = longer / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def painted_mask(layers: list[np.ndarray], shape: tuple[int, int], fill: bool) -> np.ndarray:
    """The mask that was painted, in the photo's full size.

    Args:
        layers: What was painted on top of the photo, RGBA uint8, of any size.
        shape: ``(H, W)`` of the photo.
        fill: Whether closed outlines are filled.

    Returns:
        Bool ``(H, W)``.

    Raises:
        InvalidValueError: Nothing was painted.

    Example:
        >>> ring = np.zeros((20, 20, 4), np.uint8)
        >>> ring[5:15, 5:15], ring[8:12, 8:12] = 255, 0
        >>> int(painted_mask([ring], (40, 40), fill=True).sum())
        400
    """
    painted = None
    for layer in layers:
        strokes = layer[..., 3] > layer[..., 3].max(initial=0) / 2  # paint may be translucent
        painted = strokes if painted is None else painted | strokes
    if painted is None or not painted.any():
        raise InvalidValueError(
            'nothing is painted yet: go over the object, or draw a closed line around it.'
        )
    if fill:
        around = np.pad(painted.astype(np.uint8), 1)
        cv2.floodFill(around, None, (0, 0), 2)
        painted = around[1:-1, 1:-1] != 2
    if painted.shape != shape:
        painted = resized_mask(painted * np.uint8(255), shape)
    return painted


@cache
def _segmentor():
    from mmseg.apis import init_model

    from mmseg_cascadepsp.models.refiner.zoo import PACKAGE

    return init_model(
        str(find_config(SEGMENTOR)), str(PACKAGE / 'weights' / SEGMENTOR_WEIGHTS), device='cpu'
    )


def propose(image: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """What the segmentor that comes with the package sees in a photo.

    Args:
        image: RGB uint8 ``(H, W, 3)``.

    Returns:
        Label map, uint8 ``(H, W)``, and the names of its classes, of which 0 is the background.
    """
    from mmseg.apis import inference_model

    model = _segmentor()
    found = inference_model(model, image[..., ::-1].copy()).pred_sem_seg.data[0]
    return found.cpu().numpy().astype(np.uint8), list(model.dataset_meta['classes'])


def refine(job: Job, refiner: Refiner, given: Given, choices: Choices) -> Result:
    """Refine a mask or a label map.

    Args:
        job: What is told how far it is, and can be given up.
        refiner: Does it.
        given: The photo and its mask.
        choices: The user's.

    Raises:
        UserError: See :meth:`~mmseg_cascadepsp.Refiner.refine`.
    """
    refiner = job.watch(refiner.with_settings(**choices.settings))
    start, report = time.perf_counter(), None
    if given.palette is not None:
        labels = refiner.refine_semantic(
            given.image,
            given.mask,
            strategy=choices.strategy,
            background=0 if choices.strategy == 'semantic' else None,
            ignore_index=VOID,
        )
        share = np.count_nonzero(labels != given.mask) / labels.size
        told = f'{share:.1%} of the pixels have another class now'
        probability, mask = None, labels
    else:
        probability, report = refiner.refine(given.image, given.mask, return_report=True)
        mask, change = probability > 127, report.change
        told = (
            f'{1 - change.iou:.1%} of the mask changed, at most {change.shift:.0f} pixels from '
            'its old boundary'
        )
        if not given.mask.any() or given.mask.all():
            told = f'nothing has changed, since the mask is {"full" if mask.all() else "empty"}'
        elif change.iou == 1:
            told = 'nothing has changed'
    kept = report if report is not None and report.kept else None
    return Result(given, mask, probability, told, time.perf_counter() - start, kept)


def preview(given: Given, longer: int = 700) -> np.ndarray:
    """The mask on the photo, small; RGB uint8."""
    return painted_pair(given.image, given.mask, given.mask, palette=given.palette, longer=longer)[
        0
    ]


def pictures(result: Result) -> tuple[tuple, tuple, np.ndarray | None]:
    """What the page shows, none larger than a screen: before and after of the whole photo, and of
    the place that changed most, RGB uint8, and the probability, uint8, where there is one.
    """
    given, soft = result.given, result.probability
    pair = given.image, given.mask, result.mask
    part = most_changed(given.mask, result.mask, 4 / 3)
    return (
        painted_pair(*pair, palette=given.palette, longer=SHOWN_SIDE),
        painted_pair(*pair, part, given.palette, longer=900),
        None if soft is None else _shrunk(soft, SHOWN_SIDE),
    )


def write(result: Result, folder: Path) -> dict[str, Path]:
    """Write what can be downloaded, in the photo's full size.

    Args:
        result: Of :func:`refine`.
        folder: Where to.

    Returns:
        Kind (``'mask'``, ``'cut-out'``, ``'overlay'``, ``'probability'``) -> PNG file. A label map
        has neither cut-out nor probability.
    """
    image, mask, name = result.given.image, result.mask, result.given.name
    kinds = ('mask', 'overlay') if result.given.palette is not None else KINDS
    files = {kind: folder / f'{name}_{kind}.png' for kind in kinds}
    if result.given.palette is not None:
        write_png(files['mask'], mask, palette=result.given.palette)
        write_png(files['overlay'], paint_labels(image, mask, result.given.palette))
        return files
    write_png(files['mask'], mask)
    write_png(files['cut-out'], np.dstack([image, mask * np.uint8(255)]))
    write_png(files['overlay'], overlay(image, mask))
    write_png(files['probability'], result.probability)
    return files
