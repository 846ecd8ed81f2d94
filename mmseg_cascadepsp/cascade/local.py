"""Local step: crops at full resolution (paper, section 3.2.2), which of them, and how they come
together, from top to bottom."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.cascade.crops import adaptive_crops, boundary_cells
from mmseg_cascadepsp.cascade.geometry import Box, Crop, crop_grid
from mmseg_cascadepsp.cascade.passes import STRIDES, Normalize, RefinePass, padded_cascade
from mmseg_cascadepsp.cascade.windows import Picture, RowReader, resize_window, strips
from mmseg_cascadepsp.errors import InvalidValueError

#: Called with (crops done, crops to do).
Progress = Callable[[int, int], None]


def _has_boundary(mask: Tensor) -> bool:
    return bool(mask.any()) and not bool(mask.all())


def _is_balanced(mask: Tensor) -> bool:
    share = mask.float().mean()
    return not (share > 0.9 or share < 0.1)


#: name -> whether a crop is refined, given its binarised S1, (h, w) bool. ``release`` is the rule
#: of the authors' code, which leaves thin and small objects without a Local step; the paper has
#: none.
CROP_FILTERS: dict[str, Callable[[Tensor], bool]] = {
    'boundary': _has_boundary,
    'release': _is_balanced,
    'all': lambda mask: True,
}

#: Where crops are laid: ``uniform``, the grid of the paper; ``adaptive``, few that cover the
#: boundary of the binarised S1.
CROPS = ('uniform', 'adaptive')


def check_crops(crops: str, crop_filter: str) -> None:
    """Check the two settings and that they go together.

    Raises:
        ValueError: unknown ones, or a filter that asks for crops away from the boundary, or for
            the authors' own, with ``adaptive``.
    """
    for name, value, known in (
        ('crops', crops, CROPS),
        ('crop_filter', crop_filter, tuple(CROP_FILTERS)),
    ):
        if value not in known:
            raise InvalidValueError(
                f'{name} must be one of {", ".join(map(repr, known))}, got {value!r}.'
            )
    if crops == 'adaptive' and crop_filter != 'boundary':
        raise InvalidValueError(
            "crops='adaptive' lays crops along the boundary alone, so crop_filter "
            f"must be 'boundary', got {crop_filter!r}; it goes with "
            "crops='uniform'."
        )


class _Sums:
    """Sums over the crops, of the rows that are not finished: a window that moves down."""

    def __init__(self, strides: Sequence[int], first: int, width: int) -> None:
        self.first = first
        self.values = {stride: torch.zeros(0, width) for stride in strides}
        self.weight = torch.zeros(0, width, dtype=torch.int16)

    def _grow(self, bottom: int) -> None:
        more = bottom - self.first - len(self.weight)
        if more > 0:
            add = (0, 0, 0, more)
            self.values = {stride: F.pad(value, add) for stride, value in self.values.items()}
            self.weight = F.pad(self.weight, add)

    def add(self, crop: Crop, outputs: dict[int, Tensor]) -> None:
        """Add the kept part of a crop's outputs, (h, w); rows that are finished are left out."""
        box = crop.inner._replace(top=max(crop.inner.top, self.first))
        if box.top >= box.bottom:
            return
        self._grow(box.bottom)
        where = box.relative_to(Box(self.first, 0, 0, 0)).slices
        for stride, output in outputs.items():
            self.values[stride][where] += output[box.relative_to(crop.outer).slices].cpu()
        self.weight[where] += 1

    def pop(self, bottom: int) -> tuple[dict[int, Tensor], Tensor]:
        """Sums and weights of the rows up to ``bottom``, which are then finished."""
        self._grow(bottom)
        rows = bottom - self.first
        done = {stride: value[:rows] for stride, value in self.values.items()}, self.weight[:rows]
        self.values = {stride: value[rows:].clone() for stride, value in self.values.items()}
        self.weight, self.first = self.weight[rows:].clone(), bottom
        return done


@torch.no_grad()
def local_rows(
    refine_pass: RefinePass,
    image: Tensor | RowReader,
    coarse: dict[int, Tensor],
    *,
    L: int = 900,
    crops: str = 'uniform',
    crop_filter: str = 'boundary',
    normalize: Normalize | None = None,
    strides: Sequence[int] = STRIDES,
    final: Sequence[int] | None = None,
    batch_size: int = 1,
    start: int = 0,
    last: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[int, dict[int, Tensor]]]:
    """The :func:`local_step` from top to bottom: rows come as soon as no crop changes them, and
    nothing of the image's size exists.

    Args:
        refine_pass, image, coarse, L, crops, crop_filter, normalize, strides, final, batch_size,
            progress: as in :func:`local_step`.
        start: first row wanted. The crops that have a part in it and in those below are refined,
            so that a run that was stopped goes on where it was.
        last: whether no other step follows: the finest output is finished.

    Yields:
        (first row, stride -> (n, W) float32 probability), in order.
    """
    picture = Picture(image)
    size = height, width = picture.size
    finest, final = strides[-1], tuple(final or strides[-1:])
    middle = coarse[strides[-2]] if len(strides) > 1 else None

    def hard(box: Box) -> Tensor:
        return resize_window(coarse[finest], size, box) > 0.5

    if crops == 'adaptive':
        cells = boundary_cells(lambda top, bottom: hard(Box(top, 0, bottom, width)), *size)
        laid = adaptive_crops(cells, *size, L)
    else:
        laid = sorted(crop_grid(*size, L))
    wanted = CROP_FILTERS[crop_filter]
    laid = [crop for crop in laid if wanted(hard(crop.outer))]
    todo = [crop for crop in laid if crop.inner.bottom > start]
    before = len(laid) - len(todo)
    sums = _Sums(final, start, width)

    def finished(bottom: int) -> Iterator[tuple[int, dict[int, Tensor]]]:
        for top, stop in strips(sums.first, bottom, width):
            values, weight = sums.pop(stop)
            untouched = weight == 0
            weight = weight.clamp(min=1)
            box = Box(top, 0, stop, width)
            for stride, value in values.items():
                value.div_(weight)
                if untouched.any():
                    old = resize_window(coarse[stride], size, box)
                    old = (old > 0.5).float() if stride == finest else old
                    torch.where(untouched, old, value, out=value)
            yield top, values

    for first in range(0, len(todo), batch_size):
        batch = todo[first : first + batch_size]
        # Few rows at a time would be copied often.
        if batch[0].inner.top - sums.first >= L // 8:
            yield from finished(batch[0].inner.top)
        part = torch.stack([picture.cut(crop.outer) for crop in batch])
        if normalize is not None:
            part = normalize(part)
        given = {}
        if middle is not None:
            soft = torch.stack([resize_window(middle, size, crop.outer) for crop in batch])
            given = dict.fromkeys(strides[:-1], soft[:, None] * 2 - 1)
        masks = torch.stack([hard(crop.outer) for crop in batch])[:, None].float() * 2 - 1
        outputs = padded_cascade(
            refine_pass, part, masks, strides, given=given, final=final, last=last
        )
        for index, crop in enumerate(batch):
            sums.add(crop, {stride: output[index, 0] for stride, output in outputs.items()})
        if progress is not None:
            progress(before + first + len(batch), len(laid))
    yield from finished(height)


def local_step(
    refine_pass: RefinePass,
    image: Tensor | RowReader,
    coarse: dict[int, Tensor],
    *,
    strides: Sequence[int] = STRIDES,
    final: Sequence[int] | None = None,
    **settings,
) -> dict[int, Tensor]:
    """Local step (paper, section 3.2.2): crops at full resolution, refined and averaged.

    The coarse mask of a crop, M1, is the binarised finest output of the step before (S1); its
    second finest one (S4) enters as the intermediates, without tanh, and the cascade starts at its
    second pass. The user's mask is not read any more.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W), uint8 or float, or a reader; see
            :func:`~mmseg_cascadepsp.cascade.refine`.
        coarse: outputs of the step before, stride -> (1, 1, h, w) probability on the CPU at any
            size, for the two finest of ``strides``.
        strides: output strides of the cascade.
        final: strides wanted; the finest alone by default.
        settings: ``L``, side of the crops, at least 66; ``crops``, one of :data:`CROPS`;
            ``crop_filter``, name of :data:`CROP_FILTERS`; ``normalize``, applied to each crop;
            ``batch_size``, crops per pass of the network; ``progress``, called after each batch.

    Returns:
        stride -> (1, 1, H, W) float32 probability on the CPU. Where no crop was refined it is M1
        (0 or 1) for the finest stride, the resized coarse output for another.
    """
    final = tuple(final or strides[-1:])
    total = {stride: torch.empty(1, 1, *image.shape[-2:]) for stride in final}
    for top, values in local_rows(
        refine_pass, image, coarse, strides=strides, final=final, **settings
    ):
        for stride, rows in values.items():
            total[stride][0, 0, top : top + len(rows)] = rows
    return total
