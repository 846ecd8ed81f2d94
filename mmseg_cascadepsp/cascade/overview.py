"""The overview: a first look over the whole image at a smaller size."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import Network
from .passes import run_cascade

#: Least longer side of an overview. On less, details are lost that no later pass wins back.
MIN_OVERVIEW = 224
#: Half the width, as a share of the longer side, of the strips in which an overview that disagrees
#: with the mask gives way: edges and thin parts are for passes that see every pixel.
STRIP = 0.01
#: Least share of the object that an overview must want to change outside of the strips. Smaller
#: errors are seen as well by the passes at full size, which know the photo better.
LEAST_CHANGE = 0.03


def look_over(network: Network, image: Tensor, mask: Tensor, share: float) -> Tensor:
    """Run the cascade over the shrunk image.

    The network then sees more of the object at once, and mends what is too large to be seen
    through from within, such as a lost limb.

    Args:
        network: Runs the passes.
        image: (B, 3, H, W), normalised and padded.
        mask: Coarse mask, (B, 1, H, W) in [-1, 1].
        share: Share of the sides, above 0 and below 1.

    Returns:
        (B, 1, H, W) in [-1, 1], of the image's size: the mask, and where the overview differs
        from it by more than strips of :data:`STRIP`, the overview's finest probability. If that
        is less than :data:`LEAST_CHANGE` of the object, the mask.

    Example:
        >>> class Unchanged(Network):
        ...     def normalize(self, image):
        ...         return image.float()
        ...
        ...     def for_image(self, image):
        ...         return lambda masks, strides: {s: masks[:, :1] * 9 for s in strides}
        >>> mask = -torch.ones(1, 1, 64, 64)
        >>> mask[..., 16:48, 16:48] = 1
        >>> seen = look_over(Unchanged(), torch.zeros(1, 3, 64, 64), mask, 0.5)
        >>> bool((seen == mask).all())  # both agree
        True
    """
    height, width = image.shape[-2:]
    size = [max(round(side * share / 8), 1) * 8 for side in (height, width)]  # as passes take it
    small, coarse = (F.interpolate(part, size=size, mode='area') for part in (image, mask))
    strides = network.strides
    outputs = run_cascade(network.for_image(small), coarse, strides, final=strides[-1:])[-1]
    seen = outputs[strides[-1]].float().sigmoid() * 2 - 1
    # Opened (what is thin goes, the rest stays), and a pixel wider for what is resized.
    radius = max(round(STRIP * max(size)), 1)
    agree = ((seen - coarse).abs() <= 1).to(seen)
    differ = _dilate(1 - _dilate(agree, radius), radius + 1)
    changed, dims = differ * ((seen > 0) != (coarse > 0)), (1, 2, 3)
    matters = changed.sum(dims, keepdim=True) >= LEAST_CHANGE * (coarse > 0).sum(
        dims, keepdim=True
    )
    differ = differ * matters
    seen, differ = (
        F.interpolate(part, size=(height, width), mode='bilinear', align_corners=False)
        for part in (seen, differ)
    )
    return torch.lerp(mask.to(seen), seen, differ)


def _dilate(value: Tensor, radius: int) -> Tensor:
    """The largest value in the square of ``2 * radius + 1`` pixels around each."""
    rows = F.max_pool2d(value, (2 * radius + 1, 1), stride=1, padding=(radius, 0))
    return F.max_pool2d(rows, (1, 2 * radius + 1), stride=1, padding=(0, radius))
