"""Fuse: one label map from the refined probabilities of its parts (paper, section 4.3)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmseg_cascadepsp.cascade.components import Component
from mmseg_cascadepsp.cascade.geometry import Box

#: Probability above which a part takes a pixel; below it the input label stays.
THRESHOLD = 0.5
#: Factor on the probability of "stuff", so that objects in front of it win.
ATTENUATION = 0.51
#: Weight of the segmentor's own probability beside the refiner's, where it is known.
PRIOR_WEIGHT = 0.5


class SceneResult(NamedTuple):
    """A refined label map.

    Attributes:
        labels: (H, W), dtype of the input labels.
        confidence: (H, W) float32: score (see :class:`Fusion`) with which a pixel's label won; the
            threshold where the input label was kept, 0 for void pixels.
        components: the parts refined.
        found: how many parts there were before a limit on their number.
    """

    labels: np.ndarray
    confidence: np.ndarray
    components: list[Component]
    found: int


class Fusion:
    """Collects the refined parts of one label map, in any order.

    A pixel takes the label of the part with the highest score above the threshold: its
    probability, times ``attenuation`` for stuff. Where there is none the input label stays.

    With the segmentor's ``logits`` the score is the mean of that probability and of the class's
    own in the segmentor, of weights 1 and ``prior_weight``, and the highest takes the pixel: there
    is no threshold.

    Args:
        labels: (H, W) integer, input label map.
        stuff: ids of attenuated classes.
        attenuation: their factor, 0 to 1.
        threshold: see above.
        ignore_index: pixels of this id stay as they are.
        background: id of pixels that their own part gives up (probability up to the threshold) and
            no other claims; None: they keep their label.
        protect: pixels of no part (too small to be refined) keep their label. Without, as in the
            paper, their neighbours may take them.
        logits: (classes, H, W), the segmentor's, softmax being over the classes.
        prior_weight: see above; 0 does without the logits.
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        stuff: frozenset[int] = frozenset(),
        attenuation: float = ATTENUATION,
        threshold: float = THRESHOLD,
        ignore_index: int | None = 255,
        background: int | None = None,
        protect: bool = False,
        logits: Tensor | np.ndarray | None = None,
        prior_weight: float = PRIOR_WEIGHT,
    ) -> None:
        self.labels, self.stuff, self.attenuation = labels, stuff, attenuation
        self.threshold, self.background = threshold, background
        self.protect, self.weight = protect, prior_weight
        self.logits = None
        if logits is not None and prior_weight > 0:
            if isinstance(logits, np.ndarray):  # torch takes no negative strides
                logits = np.ascontiguousarray(logits)
            self.logits = torch.as_tensor(logits)
            self.normalizer = self.logits.float().logsumexp(0)
            #: Highest probability of any part: what it leaves is the background's.
            self.claimed = np.zeros(labels.shape, np.float32)
        self.void = np.zeros(labels.shape, bool)
        if ignore_index is not None:
            self.void = labels == ignore_index
        self.best = np.zeros(labels.shape, np.float32)
        self.label = labels.copy()
        self.rank = np.zeros(labels.shape, np.int32)
        self.own = np.zeros(labels.shape, bool)
        self.given_up = np.zeros(labels.shape, bool)

    def _with_prior(self, score: np.ndarray, label: int, where=...) -> np.ndarray:
        prior = (self.logits[label][where].float() - self.normalizer[where]).exp().cpu().numpy()
        return (score + np.float32(self.weight) * prior) / np.float32(1 + self.weight)

    def add(
        self, rank: int, label: int, box: Box, mask: np.ndarray, probability: np.ndarray
    ) -> None:
        """Add one part.

        Args:
            rank: of two parts with equal scores, the one of lower rank takes the pixel.
            label: its class.
            box: where it is.
            mask: (h, w) bool, the part as it was.
            probability: (h, w) float32, refined.
        """
        where = box.slices
        score = probability * np.float32(self.attenuation if label in self.stuff else 1)
        if self.logits is None:
            score[probability <= self.threshold] = 0
        else:
            score = self._with_prior(score, label, where)
            np.maximum(self.claimed[where], probability, out=self.claimed[where])
        best, ranks = self.best[where], self.rank[where]
        wins = (score > best) | ((score == best) & (rank < ranks))
        best[wins], ranks[wins] = score[wins], rank
        self.label[where][wins] = label
        self.own[where] |= mask
        self.given_up[where] |= mask & (probability <= self.threshold)

    def result(self, components: list[Component], found: int) -> SceneResult:
        """The label map after all parts were added."""
        hold = np.full(self.labels.shape, self.threshold, np.float32)
        given_up = self.given_up
        if self.logits is not None:
            hold[self.own] = 0
            if self.background is not None:
                hold = self._with_prior(1 - self.claimed, self.background)
                given_up = self.own
        wins = (self.best > hold) & ~self.void
        if self.protect:
            wins &= self.own | (self.labels == self.background)
        labels = np.where(wins, self.label, self.labels)
        if self.background is not None:
            labels[given_up & ~wins & ~self.void] = self.background
        confidence = np.where(wins, self.best, np.float32(self.threshold))
        confidence[self.void] = 0
        return SceneResult(labels, confidence, components, found)
