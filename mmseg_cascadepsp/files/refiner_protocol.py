"""What files are refined with."""

from typing import Protocol

import numpy as np

from mmseg_cascadepsp.cascade import CascadeSettings, Network, Progress


class MaskRefiner(Protocol):
    """The parts of a :class:`~mmseg_cascadepsp.Refiner` that work on files needs.

    Attributes:
        network: The network behind it.
        progress: Whether to show a bar over the crops, or what is called instead.

    Example:
        See :class:`mmseg_cascadepsp.Refiner`.
    """

    network: Network
    progress: bool | Progress

    @property
    def cascade(self) -> CascadeSettings:
        """See :attr:`mmseg_cascadepsp.Refiner.cascade`."""

    def refine(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        *,
        return_report: bool = False,
        threshold: float = 0.5,
    ):
        """See :meth:`mmseg_cascadepsp.Refiner.refine`."""

    def refine_semantic(
        self, image: np.ndarray, labels: np.ndarray, *, ignore_index: int | None = 255
    ) -> np.ndarray:
        """See :meth:`mmseg_cascadepsp.Refiner.refine_semantic`."""

    def settings(self) -> dict[str, str]:
        """See :meth:`mmseg_cascadepsp.Refiner.settings`."""

    def with_settings(self, **settings) -> 'MaskRefiner':
        """See :meth:`mmseg_cascadepsp.Refiner.with_settings`."""
