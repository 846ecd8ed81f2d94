"""What the procedure asks of a network."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .settings import CascadeSettings

#: Masks (B, 3, H, W) in [-1, 1] and output strides -> stride: logits (B, 1, H, W), resized to the
#: input. The image is known already.
Passes = Callable[[Tensor, Sequence[int]], dict[int, Tensor]]

#: Called with (parts done, parts to do).
Progress = Callable[[int, int], None]


class Network(ABC):
    """A refiner as the procedure sees it: whatever is behind it, a cascade needs no more.

    The work on an image is split as in SAM's predictor: :meth:`for_image` computes once what
    depends on the image alone, and what it returns is called once for each pass.

    Attributes:
        strides: Output strides of the cascade, coarse to fine. The paper's are ``(8, 4, 1)``.
        device: Where passes are computed. :meth:`normalize` brings the image there.
        defaults: Settings that this network gives its best results with, those of the paper by
            default. They hold wherever a caller gives none.

    Example:
        >>> import torch
        >>> from mmseg_cascadepsp.cascade import CascadeSettings, Network, refine
        >>> class Unchanged(Network):
        ...     def normalize(self, image):
        ...         return image.float() / 255
        ...     def for_image(self, image):
        ...         return lambda masks, strides: {s: masks[:, :1] * 9 for s in strides}
        >>> image = torch.zeros(3, 80, 80, dtype=torch.uint8)
        >>> mask = torch.zeros(1, 80, 80, dtype=torch.bool)
        >>> mask[:, 20:60, 20:60] = True
        >>> refined = refine(Unchanged(), image, mask, CascadeSettings(L=80))
        >>> bool(((refined > 0.5) == mask[0]).all())
        True
    """

    strides: tuple[int, ...] = (8, 4, 1)
    device: torch.device = torch.device('cpu')
    defaults: CascadeSettings = CascadeSettings()

    @abstractmethod
    def normalize(self, image: Tensor) -> Tensor:
        """Prepare an image.

        Args:
            image: (B, 3, H, W) RGB in 0..255, uint8 or float, on any device.

        Returns:
            (B, 3, H, W) float, normalised, on the network's device.
        """

    @abstractmethod
    def for_image(self, image: Tensor) -> Passes:
        """Compute what depends on the image alone.

        Args:
            image: (B, 3, H, W), normalised. H and W are multiples of 8.

        Returns:
            The passes over this image.
        """

    def describe(self) -> dict[str, str]:
        """What results depend on besides inputs and settings, such as weights and precision.

        Folder runs keep it with each result, so that a repeated run knows whether the same network
        made it.
        """
        return {'network': type(self).__qualname__}

    def with_defaults(self, defaults: CascadeSettings) -> 'Network':
        """The same network with other settings in the place of :attr:`defaults`."""
        other = copy.copy(self)
        other.defaults = defaults
        return other


class OnePhoto(Network):
    """A network for several masks of one photo: what depends on the photo alone is kept from the
    first mask.

    The first few images that it sees are kept, which are those of the Global step. Crops of the
    Local step are many, and computed for each mask.

    Args:
        network: The network.
        kept: How many images are kept.

    Example:
        >>> import torch
        >>> class Counts(Network):
        ...     calls = 0
        ...
        ...     def normalize(self, image):
        ...         return image.float()
        ...
        ...     def for_image(self, image):
        ...         self.calls += 1
        ...         return lambda masks, strides: {s: masks[:, :1] for s in strides}
        >>> network = Counts()
        >>> shared = OnePhoto(network)
        >>> for _ in range(3):
        ...     _ = shared.for_image(shared.normalize(torch.zeros(1, 3, 8, 8)))
        >>> network.calls
        1
    """

    def __init__(self, network: Network, kept: int = 4) -> None:
        self.strides, self.device = network.strides, network.device
        self.defaults = network.defaults
        self._network, self._kept = network, kept
        self._normalized: list[tuple[Tensor, Tensor]] = []
        self._passes: list[tuple[Tensor, Passes]] = []

    def normalize(self, image: Tensor) -> Tensor:
        """See :meth:`Network.normalize`."""
        return self._once(self._normalized, image, self._network.normalize)

    def for_image(self, image: Tensor) -> Passes:
        """See :meth:`Network.for_image`."""
        return self._once(self._passes, image, self._network.for_image)

    def describe(self) -> dict[str, str]:
        """See :meth:`Network.describe`."""
        return self._network.describe()

    def _once(self, found: list, image: Tensor, compute: Callable):
        for known, result in found:
            if known.dtype == image.dtype and torch.equal(known, image):
                return result
        result = compute(image)
        if len(found) < self._kept:
            found.append((image, result))
        return result
