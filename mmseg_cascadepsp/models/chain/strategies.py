"""How a label map is taken apart for the refiner and put together again.

A strategy holds settings; the procedure is :mod:`mmseg_cascadepsp.cascade`. Its ``refine`` takes

    refine_pass: one pass of the refiner, see :data:`mmseg_cascadepsp.cascade.RefinePass`.
    image: (3, H, W) RGB uint8 tensor.
    labels: (H, W) integer numpy array, 0-based ids.
    normalize: (B, 3, H, W) RGB 0..255 -> normalised float on the refiner's device.
    strides: output strides of the refiner's cascade.
    classes: names of the classes; with them ids are checked, and stuff and background found.
    ignore_index: id of void pixels, which stay as they are; None if there are none.
    logits: (classes, H, W), the segmentor's, if they are at hand.
    progress: called with (parts done, parts to do).

and returns a :class:`mmseg_cascadepsp.cascade.SceneResult`: ``labels`` (of the dtype given),
``confidence``, ``components`` (refined) and ``found`` (large enough to be). It raises ValueError
and TypeError with a sentence for label maps and settings that cannot be right.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from mmseg.registry import TASK_UTILS
from torch import Tensor

from mmseg_cascadepsp.cascade import (
    Progress,
    RefinePass,
    SceneResult,
    refine_classes,
    refine_scene,
)
from mmseg_cascadepsp.cascade.components import MIN_AREA, PADDING
from mmseg_cascadepsp.cascade.fusion import ATTENUATION, PRIOR_WEIGHT, THRESHOLD
from mmseg_cascadepsp.cascade.passes import Normalize
from mmseg_cascadepsp.cascade.scene import MIN_SIZE
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.models.chain.classes import class_id, find_background, stuff_ids


@dataclass(kw_only=True)
class Strategy:
    """What all strategies share.

    Args:
        stuff: classes whose probability is attenuated, so that objects in front of them win: ids
            or names, the name of a dataset (``'ade20k'``, ``'cityscapes'``, ``'coco_stuff'``,
            ``'pascal_context'``), or ``'auto'``: the list of the dataset whose class names these
            are, if it is one of those.
        attenuation: the factor, 0 to 1.
        threshold: probability above which a part takes a pixel.
        protect: whether pixels of parts that are too small to be refined keep their label; in the
            paper their neighbours may take them.
        prior_weight: weight, beside the refiner's probability, of the segmentor's own, where its
            logits are at hand; 0, as in the paper: none. Of use where many classes meet.
        max_components: at most so many parts are refined, the largest.
        L: longer side that the network sees, at least 66.
        reason: why this strategy was chosen, for messages.
    """

    stuff: str | Collection[int | str] = 'auto'
    attenuation: float = ATTENUATION
    threshold: float = THRESHOLD
    protect: bool = True
    prior_weight: float = 0.0
    max_components: int | None = None
    L: int = 900
    reason: str | None = field(default=None, compare=False)

    def _common(self, classes: Sequence[str] | None) -> dict:
        return {
            'stuff': stuff_ids(self.stuff, classes),
            'num_classes': None if classes is None else len(classes),
            **{
                name: getattr(self, name)
                for name in (
                    'attenuation',
                    'threshold',
                    'protect',
                    'prior_weight',
                    'max_components',
                    'L',
                )
            },
        }

    def __str__(self) -> str:
        return type(self).__name__ + (f': {self.reason}' if self.reason else '')


@TASK_UTILS.register_module()
@dataclass(kw_only=True)
class SceneParsingStrategy(Strategy):
    """Divide and conquer (paper, section 4.3): each connected component of each class is refined
    in a region of its own.

    Args:
        keep: classes, ids or names, that are not refined but give way to neighbours that are sure:
            what one sees through (foliage, fences) has no edge to follow.
        min_area: smaller classes and components (pixels) are left as they are.
        padding: growth of a component's bounding box, half on each side.
        fast: Global step alone; otherwise regions of at least ``L`` get the Local step, too.
        min_size: smaller regions are enlarged to this longer side.
        batch_size: most regions of a batch; only those of equal padded size share one.
        bucket: regions are padded to multiples of it; above 8 more of them share a batch, at the
            price of a little accuracy.
        compat: ``'release'``: the authors' scripts to the pixel.
    """

    prior_weight: float = PRIOR_WEIGHT
    keep: Collection[int | str] = ()
    min_area: int = MIN_AREA
    padding: float = PADDING
    fast: bool = True
    min_size: int = MIN_SIZE
    batch_size: int = 8
    bucket: int = 8
    compat: str | None = None

    def refine(
        self,
        refine_pass: RefinePass,
        image: Tensor,
        labels: np.ndarray,
        *,
        normalize: Normalize | None,
        strides: Sequence[int],
        classes: Sequence[str] | None = None,
        ignore_index: int | None = 255,
        logits: Tensor | np.ndarray | None = None,
        progress: Progress | None = None,
    ) -> SceneResult:
        """See the module."""
        own = {
            name: getattr(self, name)
            for name in (
                'min_area',
                'padding',
                'fast',
                'min_size',
                'batch_size',
                'bucket',
                'compat',
            )
        }
        names = [self.keep] if isinstance(self.keep, str) else self.keep
        own['keep'] = {class_id(name, classes, 'keep') for name in names}
        return refine_scene(
            refine_pass,
            image,
            labels,
            normalize=normalize,
            strides=strides,
            ignore_index=ignore_index,
            logits=logits,
            progress=progress,
            **own,
            **self._common(classes),
        )


@TASK_UTILS.register_module()
@dataclass(kw_only=True)
class SemanticStrategy(Strategy):
    """One mask per class, refined over the whole image: for few classes and large photos.

    Args:
        background: id or name of the class that has no mask of its own and takes what the others
            give up; ``'auto'``: the class of that name, if there is one; None: all have masks.
        min_area: smaller classes (pixels) are left as they are.
        fast, crops, crop_filter, local, enlarge, batch_size: see
            :func:`mmseg_cascadepsp.cascade.refine`; Global and Local step by default.
    """

    background: int | str | None = 'auto'
    min_area: int = 0
    fast: bool = False
    crops: str = 'uniform'
    crop_filter: str = 'boundary'
    local: str = 'always'
    enlarge: bool = True
    batch_size: int = 1

    def _background(self, classes: Sequence[str] | None) -> int | None:
        if self.background is None:
            return None
        if self.background == 'auto':
            return find_background(classes)
        return class_id(self.background, classes, 'background')

    def refine(
        self,
        refine_pass: RefinePass,
        image: Tensor,
        labels: np.ndarray,
        *,
        normalize: Normalize | None,
        strides: Sequence[int],
        classes: Sequence[str] | None = None,
        ignore_index: int | None = 255,
        logits: Tensor | np.ndarray | None = None,
        progress: Progress | None = None,
    ) -> SceneResult:
        """See the module."""
        own = {
            name: getattr(self, name)
            for name in (
                'min_area',
                'fast',
                'crops',
                'crop_filter',
                'local',
                'enlarge',
                'batch_size',
            )
        }
        return refine_classes(
            refine_pass,
            image,
            labels,
            background=self._background(classes),
            normalize=normalize,
            strides=strides,
            ignore_index=ignore_index,
            logits=logits,
            progress=progress,
            **own,
            **self._common(classes),
        )


@TASK_UTILS.register_module()
@dataclass(kw_only=True)
class BinaryStrategy(SemanticStrategy):
    """One foreground class.

    Args:
        foreground: its id or name; by default the id, 0 or 1, that is not ``background``.
        background: id or name; ``'auto'``: the class of that name, else 0.
    """

    foreground: int | str | None = None

    def _background(self, classes: Sequence[str] | None) -> int:
        found = super()._background(classes)
        return 0 if found is None else found

    def refine(
        self,
        refine_pass: RefinePass,
        image: Tensor,
        labels: np.ndarray,
        *,
        classes: Sequence[str] | None = None,
        ignore_index: int | None = 255,
        **kwargs,
    ) -> SceneResult:
        """See the module.

        Raises:
            ValueError: ``labels`` hold another class than these two.
        """
        # A single name is that of the object: 0 is all else.
        names = ('background', *classes) if classes is not None and len(classes) == 1 else classes
        background = self._background(names)
        foreground = 1 - background
        if self.foreground is not None:
            foreground = class_id(self.foreground, names, 'foreground')
        if background not in (0, 1) and self.foreground is None or foreground == background:
            raise InvalidValueError(
                f'background is class {background}: foreground must be another one, and given.'
            )
        if isinstance(labels, np.ndarray) and labels.dtype.kind in 'iu':
            strange = set(np.unique(labels).tolist()) - {background, foreground, ignore_index}
            if strange:
                raise InvalidValueError(
                    f'labels must hold {background} (background), {foreground} (foreground) and '
                    f'ignore_index {ignore_index} only for the binary strategy, got '
                    f'{sorted(strange)[:5]}; use the semantic or the scene strategy.'
                )
        return super().refine(
            refine_pass, image, labels, classes=names, ignore_index=ignore_index, **kwargs
        )
