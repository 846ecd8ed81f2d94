"""Global step and Local step: one refinement module, images of any size (paper, section 3.2).

Where the paper and the authors' package differ, the package is followed; the arguments of
:func:`refine` name the other choices. Probabilities live on the CPU, so that the memory of the
device depends on ``L`` alone (paper, section 3.2.3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.cascade.geometry import Box, check_crop_size, resize_longer_side
from mmseg_cascadepsp.cascade.local import Progress, check_crops, local_rows, local_step
from mmseg_cascadepsp.cascade.passes import (
    STRIDES,
    Normalize,
    RefinePass,
    finished,
    padded_cascade,
)
from mmseg_cascadepsp.cascade.windows import Picture, RowReader, resize_window, strips
from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError


@torch.no_grad()
def global_step(
    refine_pass: RefinePass,
    image: Tensor | RowReader,
    mask: Tensor | RowReader,
    *,
    L: int = 900,
    enlarge: bool = True,
    normalize: Normalize | None = None,
    strides: Sequence[int] = STRIDES,
    final: Sequence[int] | None = None,
    last: bool = False,
) -> dict[int, Tensor]:
    """Global step (paper, section 3.2.1): all passes of the cascade over the whole, resized image.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W), uint8 or float, or a reader; see :func:`refine`.
        mask: (1, H, W), bool or in [-1, 1], or a reader of bool rows; soft when shrunk.
        L: longer side that the network sees.
        enlarge: whether smaller images are enlarged to ``L`` (image bicubic, mask bilinear), as
            the package does.
        normalize: applied after resizing.
        strides: output strides of the cascade.
        final: strides wanted; all by default.
        last: whether the finest output is finished here; not where it will be shrunk again.

    Returns:
        stride -> (1, 1, H', W') float32 probability on the CPU, at the resized size.
    """
    pictures = [Picture(image), Picture(mask)]
    signed = isinstance(mask, Tensor) and mask.dtype != torch.bool
    longer = max(pictures[0].size)
    if longer > L:
        image, mask = (picture.shrink(L) for picture in pictures)
    else:
        image, mask = (picture.whole() for picture in pictures)
        if longer < L and enlarge:
            image = resize_longer_side(image, L, 'bicubic')
            mask = resize_longer_side(mask, L, 'bilinear')
    if not signed:  # only now: a large mask never exists as a whole in float
        mask = mask.float() * 2 - 1
    image = image[None] if normalize is None else normalize(image[None])
    outputs = padded_cascade(refine_pass, image, mask[None], strides, final=final, last=last)
    return {stride: output.cpu() for stride, output in outputs.items()}


def _check_inputs(image: Tensor, mask: Tensor, normalize: Normalize | None) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise InvalidValueError(
            f'image must have shape (3, H, W) with at least one pixel, got {tuple(image.shape)}'
        )
    if mask.shape != (1, *image.shape[-2:]):
        raise InvalidValueError(
            f'mask must have shape {(1, *image.shape[-2:])} like the image, '
            f'got {tuple(mask.shape)}'
        )
    if normalize is None and not image.is_floating_point():
        raise InvalidTypeError(
            f'image must be normalised float, got {image.dtype}: normalise it first '
            'or pass normalize'
        )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InvalidTypeError(f'mask must be bool or float in [-1, 1], got {mask.dtype}')


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """Global step and Local step in two parts, for images that are never whole in memory and for
    runs that are stopped between them: :meth:`first_steps`, whose result is small and can be
    kept, and :meth:`last_step`, which gives the refined rows from top to bottom.

    Args:
        refine_pass, fast, L, crops, crop_filter, local, enlarge, levels, normalize, strides,
            batch_size, progress: see :func:`refine`.

    Raises:
        ValueError, TypeError: see :func:`refine`.
    """

    refine_pass: RefinePass
    fast: bool = False
    L: int = 900
    crops: str = 'uniform'
    crop_filter: str = 'boundary'
    local: str = 'always'
    enlarge: bool = True
    levels: int = 1
    normalize: Normalize | None = None
    strides: Sequence[int] = STRIDES
    batch_size: int = 1
    progress: Progress | None = None

    def __post_init__(self) -> None:
        check_crop_size(self.L)
        check_crops(self.crops, self.crop_filter)
        if self.local not in ('always', 'auto', 'only'):
            raise InvalidValueError(
                f"local must be one of ('always', 'auto', 'only'), got {self.local!r}"
            )
        if self.fast and self.local == 'only':
            raise InvalidValueError(
                "fast=True leaves out the Local step and local='only' the Global "
                'step; give one of the two'
            )
        for name in ('levels', 'batch_size'):
            if getattr(self, name) < 1:
                raise InvalidValueError(f'{name} must be at least 1, got {getattr(self, name)}')

    def _with_local(self, size: Sequence[int]) -> bool:
        return not self.fast and (self.local != 'auto' or max(size) >= self.L)

    def _enlarges(self, size: Sequence[int]) -> bool:
        return self.enlarge and max(size) < self.L

    def _local(self) -> dict:
        names = ('L', 'crops', 'crop_filter', 'normalize', 'strides', 'batch_size', 'progress')
        return {name: getattr(self, name) for name in names}

    @torch.no_grad()
    def first_steps(
        self, image: Tensor | RowReader, mask: Tensor | RowReader
    ) -> dict[int, Tensor]:
        """Global step, and all Local steps but the last.

        Args:
            image: as in :func:`refine`, or a reader of (n, W, 3) uint8 rows.
            mask: as in :func:`refine`, or a reader of (n, W) bool rows.

        Returns:
            stride -> (1, 1, h, w) float32 probability on the CPU, for :meth:`last_step`; of the
            size of the Global step, or of the Local step before the last.
        """
        size, L = image.shape[-2:] if isinstance(image, Tensor) else image.shape, self.L
        finest, two_finest = tuple(self.strides[-1:]), tuple(self.strides[:-3:-1])
        with_local = self._with_local(size)
        if self.local == 'only':
            whole = Picture(mask).whole()
            signed = isinstance(mask, Tensor) and mask.dtype != torch.bool
            whole = (whole + 1) / 2 if signed else whole.float()
            return dict.fromkeys(two_finest, whole[None].cpu())
        output = global_step(
            self.refine_pass,
            image,
            mask,
            L=L,
            enlarge=self.enlarge,
            normalize=self.normalize,
            strides=self.strides,
            final=two_finest if with_local else finest,
            last=not with_local and not self._enlarges(size),
        )
        count = self.levels if with_local and max(size) > L else 1
        for level in range(1, count):
            scaled = Picture(image).shrink(round(L * (max(size) / L) ** (level / count)))
            output = local_step(
                self.refine_pass, scaled, output, final=two_finest, **self._local()
            )
        return output

    @torch.no_grad()
    def last_step(
        self, image: Tensor | RowReader, coarse: dict[int, Tensor], start: int = 0
    ) -> Iterator[tuple[int, Tensor]]:
        """The last Local step, or the way back to the image's size without one.

        Args:
            image: as in :meth:`first_steps`.
            coarse: what that returned.
            start: first row wanted, see :func:`local_rows`.

        Yields:
            (first row, (n, W) float32 probability), in order, to the last row.
        """
        size = image.shape[-2:] if isinstance(image, Tensor) else image.shape
        finest = self.strides[-1]
        if self._with_local(size):
            for top, values in local_rows(
                self.refine_pass, image, coarse, start=start, last=True, **self._local()
            ):
                yield top, values[finest]
            return
        probability = coarse[finest]
        if max(size) <= self.L:
            if self._enlarges(size):
                probability = F.interpolate(probability, size=tuple(size), mode='area')
                probability = finished(
                    self.refine_pass, Picture(image).whole()[None], probability, self.normalize
                ).cpu()
            yield start, probability[0, 0, start:]
            return
        for top, stop in strips(start, size[0], size[1]):
            yield (
                top,
                resize_window(probability, size, Box(top, 0, stop, size[1]), align_corners=True),
            )


@torch.no_grad()
def refine(
    refine_pass: RefinePass,
    image: Tensor,
    mask: Tensor,
    *,
    fast: bool = False,
    L: int = 900,
    crops: str = 'uniform',
    crop_filter: str = 'boundary',
    local: str = 'always',
    enlarge: bool = True,
    levels: int = 1,
    normalize: Normalize | None = None,
    strides: Sequence[int] = STRIDES,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Tensor:
    """Refine one mask of one image: Global step, then Local step (paper, section 3.2).

    Args:
        refine_pass: one pass of the network, see
            :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W) RGB: uint8 with ``normalize``, or normalised float without. H, W >= 1.
        mask: (1, H, W) coarse mask, bool or float in [-1, 1].
        fast: Global step alone.
        L: longer side of the Global step and side of the Local step's crops, at least 66; the
            device's memory grows with it (paper, section 3.2.3).
        crops: where the Local step lays its crops: ``uniform``, the paper's grid; ``adaptive``,
            few that cover the boundary of the binarised S1, each pixel of it at least
            ``max(16, L // 8)`` from a crop's sides.
        crop_filter: crops that the Local step refines: ``boundary``, those in which the binarised
            S1 takes both values; ``release``, those with a foreground share of 0.1 to 0.9, as the
            authors' code does; ``all``. With ``adaptive`` crops ``boundary`` alone.
        local: ``always``, as the package; ``auto``, only for images with max(H, W) >= L, as the
            paper (there both are 900); ``only``, without a Global step: the coarse mask stands
            for its outputs (the paper's ablation, Table 2).
        enlarge: whether images smaller than ``L`` are enlarged for the Global step, as the package
            does.
        levels: number n of Local steps, coarse to fine (paper, end of section 3.2.2), for images
            much larger than ``L``: step k works at longer side ``L * (max(H, W) / L) ** (k / n)``.
            Images up to ``L`` take one.
        normalize: (B, 3, H, W) RGB 0..255 -> normalised float on the network's device; applied
            after resizing and per crop, so that no full-size normalised copy of the image exists.
        strides: output strides of the cascade, coarse to fine.
        batch_size: crops of the Local step per pass of the network.
        progress: called with (crops done, crops to do) in each Local step.

    Returns:
        (H, W) float32 probability on the CPU.

    Raises:
        ValueError: ``L`` below 66, wrong shapes, unknown ``crops``, ``crop_filter`` or ``local``,
            the first two not going together, ``fast`` with ``local='only'``, ``levels`` or
            ``batch_size`` below 1.
        TypeError: wrong dtypes.
    """
    job = Refinement(
        refine_pass=refine_pass,
        fast=fast,
        L=L,
        crops=crops,
        crop_filter=crop_filter,
        local=local,
        enlarge=enlarge,
        levels=levels,
        normalize=normalize,
        strides=strides,
        batch_size=batch_size,
        progress=progress,
    )
    _check_inputs(image, mask, normalize)
    result = torch.empty(image.shape[-2:])
    for top, rows in job.last_step(image, job.first_steps(image, mask)):
        result[top : top + len(rows)] = rows
    return result
