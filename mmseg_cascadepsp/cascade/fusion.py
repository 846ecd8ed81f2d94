"""Fuse: one label map from the refined probabilities of its parts (paper, section 4.3)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .components import Component
from .geometry import Box
from .settings import FusionSettings


class SceneResult(NamedTuple):
    """A refined label map.

    Attributes:
        labels: (H, W), dtype of the input labels.
        confidence: (H, W) float32, the score with which a pixel's label won (see
            :class:`Fusion`). It is the threshold where the input label was kept, and 0 for void
            pixels.
        components: The parts that were refined.
        found: How many parts there were before a limit on their number.

    Example:
        See :func:`~mmseg_cascadepsp.cascade.refine_scene`.
    """

    labels: np.ndarray
    confidence: np.ndarray
    components: list[Component]
    found: int


def check_logits(logits: Tensor | np.ndarray) -> Tensor:
    """Check the values of logits.

    Args:
        logits: (classes, H, W), a tensor or an array of numbers. A class that is out of the
            question may have -inf.

    Returns:
        A tensor, which shares the memory where it can.

    Raises:
        InvalidTypeError: They are no numbers.
        InvalidValueError: A pixel has NaN, +inf, or -inf for all classes, so that its softmax is
            none.

    Example:
        >>> check_logits(np.zeros((2, 1, 1))).shape
        torch.Size([2, 1, 1])
    """
    if isinstance(logits, np.ndarray):
        if logits.dtype.kind not in 'iuf':
            raise InvalidTypeError(f'logits must be numbers, got an array of {logits.dtype}.')
        # Torch takes no negative strides, no other byte order and few kinds.
        is_known = logits.dtype in (np.float16, np.float32, np.float64)
        logits = np.ascontiguousarray(logits, logits.dtype if is_known else np.float32)
        logits = torch.from_numpy(logits if logits.flags.writeable else logits.copy())
    if not logits.is_floating_point():
        logits = logits.float()
    if not torch.isfinite(logits.amax(0)).all():
        raise InvalidValueError(
            'logits must have a finite maximum at each pixel, got NaN or infinite ones; check the '
            'model, which may have overflowed in half precision.'
        )
    return logits


class Fusion:
    """Collects the refined parts of one label map, in any order.

    A part's score is its probability, times ``attenuation`` for stuff. A pixel takes the label of
    the part with the highest score above the threshold. Where there is none the input label stays.

    With the segmentor's ``logits`` the score is a mean: the part's own score has the weight 1, and
    the probability that the segmentor gives its class has ``prior_weight``. There is no threshold
    then.

    Args:
        labels: (H, W) integer, input label map.
        settings: ``stuff``, ``attenuation``, ``threshold``, ``protect``, ``prior_weight``,
            ``background`` and ``ignore_index`` are read. A part gives up a pixel where its
            probability is not above the threshold. If no other part takes the pixel, it becomes
            ``background``, or keeps its label where that is None.
        logits: (classes, H, W), those of the segmentor, before the softmax over the classes.

    Example:
        >>> labels = np.array([[0, 0, 1, 1]])
        >>> fusion = Fusion(labels, FusionSettings())
        >>> whole = Box(0, 0, 1, 4)
        >>> fusion.add(0, 1, whole, labels == 1, np.array([[0.1, 0.8, 0.9, 0.9]], np.float32))
        >>> fusion.add(1, 0, whole, labels == 0, np.array([[0.9, 0.2, 0.1, 0.1]], np.float32))
        >>> fusion.result([], 2).labels
        array([[0, 1, 1, 1]])
    """

    def __init__(
        self,
        labels: np.ndarray,
        settings: FusionSettings,
        logits: Tensor | np.ndarray | None = None,
    ) -> None:
        self.labels, self.settings = labels, settings
        self.logits = None
        if logits is not None and settings.prior_weight > 0:
            self.logits = check_logits(logits)
            self.normalizer = self.logits.float().logsumexp(0)
            #: Highest probability of any part: what it leaves is the background's.
            self.claimed = np.zeros(labels.shape, np.float32)
        self.void = np.zeros(labels.shape, bool)
        if settings.ignore_index is not None:
            self.void = labels == settings.ignore_index
        self.best = np.zeros(labels.shape, np.float32)
        self.label = labels.copy()
        self.rank = np.zeros(labels.shape, np.int32)
        self.own = np.zeros(labels.shape, bool)
        self.given_up = np.zeros(labels.shape, bool)

    def _with_prior(self, score: np.ndarray, label: int, where=...) -> np.ndarray:
        prior = (self.logits[label][where].float() - self.normalizer[where]).exp().cpu().numpy()
        weight = self.settings.prior_weight
        return (score + np.float32(weight) * prior) / np.float32(1 + weight)

    def add(
        self, rank: int, label: int, box: Box, mask: np.ndarray, probability: np.ndarray
    ) -> None:
        """Add one part.

        Args:
            rank: Of two parts with equal scores, the one of lower rank takes the pixel.
            label: Its class.
            box: Where it is.
            mask: (h, w) bool, the part as it was.
            probability: (h, w) float32, the part after refinement.
        """
        where = box.slices
        score = probability * np.float32(
            self.settings.attenuation if label in self.settings.stuff else 1
        )
        if self.logits is None:
            score[probability <= self.settings.threshold] = 0
        else:
            score = self._with_prior(score, label, where)
            np.maximum(self.claimed[where], probability, out=self.claimed[where])
        best, ranks = self.best[where], self.rank[where]
        wins = (score > best) | ((score == best) & (rank < ranks))
        best[wins], ranks[wins] = score[wins], rank
        self.label[where][wins] = label
        self.own[where] |= mask
        self.given_up[where] |= mask & (probability <= self.settings.threshold)

    def result(self, components: list[Component], found: int) -> SceneResult:
        """The label map after all parts were added.

        Args:
            components, found: See :class:`SceneResult`.
        """
        hold = np.full(self.labels.shape, self.settings.threshold, np.float32)
        given_up = self.given_up
        if self.logits is not None:
            hold[self.own] = 0
            if self.settings.background is not None:
                hold = self._with_prior(1 - self.claimed, self.settings.background)
                given_up = self.own
        wins = (self.best > hold) & ~self.void
        if self.settings.protect:
            wins &= self.own | (self.labels == self.settings.background)
        labels = np.where(wins, self.label, self.labels)
        if self.settings.background is not None:
            labels[given_up & ~wins & ~self.void] = self.settings.background
        confidence = np.where(wins, self.best, np.float32(self.settings.threshold))
        confidence[self.void] = 0
        return SceneResult(labels, confidence, components, found)
