"""A small network with the interface of a refiner, the same on every machine."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.cascade import CascadeSettings, FusionSettings, Network

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
#: Output layer of each stride: its bias sets the share of foreground.
BIAS = {8: -1.1, 4: -1.5, 1: -1.4}
PUSH = torch.tensor([0.9, 0.5, 0.7]).view(1, 3, 1, 1)


def normalize(image):
    """RGB 0..255 -> ImageNet-normalised float."""
    return (image.float() / 255 - MEAN) / STD


def weight(out_channels, in_channels, kernel, phase):
    """Weights that look random and are the same on every machine."""
    index = torch.arange(out_channels * in_channels * kernel**2, dtype=torch.float64)
    values = torch.sin(index * 12.9898 + phase) * 43758.5453
    values = (values - values.floor() - 0.5) * 2 / math.sqrt(in_channels * kernel**2 / 3)
    return values.float().view(out_channels, in_channels, kernel, kernel)


STEM, DEEP = weight(8, 6, 5, 1.0), weight(8, 8, 3, 2.0)
HEADS = {stride: weight(1, 8, 3, 3.0 + stride) * 3 for stride in (8, 4, 1)}


def refine_pass(image, masks, strides):
    """One pass: logits (B, 1, H, W) per stride, from features pooled to that stride.

    All three mask channels push the result, each by its own weight. The mean over the whole input
    is a feature, so padding and crop size change the result as they do through pyramid pooling.
    """
    assert image.shape[-2] % 8 == 0 and image.shape[-1] % 8 == 0
    features = torch.relu(F.conv2d(torch.cat([image, masks], 1), STEM, padding=2))
    context = features.mean((2, 3), keepdim=True)
    features = torch.relu(F.conv2d(features, DEEP, padding=1) + context)
    outputs = {}
    for stride in strides:
        logits = F.conv2d(F.avg_pool2d(features, stride), HEADS[stride], padding=1) + BIAS[stride]
        logits = logits + F.avg_pool2d((masks * PUSH).sum(1, keepdim=True), stride)
        outputs[stride] = F.interpolate(
            logits, scale_factor=stride, mode='bilinear', align_corners=False
        )
    return outputs


class Toy(Network):
    """A network made of a function of image, masks and strides."""

    def __init__(self, run=refine_pass, normalize=normalize, strides=(8, 4, 1)):
        self.run, self.strides = run, strides
        self._normalize = normalize or torch.Tensor.float

    def normalize(self, image):
        return self._normalize(image)

    def for_image(self, image):
        return partial(self.run, image)


def refine(run, image, mask, normalize=None, strides=(8, 4, 1), progress=None, **settings):
    """Refine with a network made of ``run``, by default with both steps."""
    settings = CascadeSettings(**{'steps': 'both', 'region': 'photo', **settings})
    return cascade.refine(Toy(run, normalize, strides), image, mask, settings, progress)


FUSION = set(FusionSettings.__dataclass_fields__) - {'batch_size', 'compat'}


def _fused(
    function, run, image, labels, *, normalize=None, logits=None, progress=None, **settings
):
    fusion = {name: settings.pop(name) for name in FUSION & settings.keys()}
    if 'batch_size' in settings:  # of regions
        fusion['batch_size'] = settings.pop('batch_size')
    fusion['compat'] = settings.get('compat')
    network = Toy(run, normalize)
    settings = CascadeSettings(**{'region': 'photo', **settings})
    arguments = image, labels, FusionSettings(**fusion), settings
    return function(network, *arguments, logits, progress)


def refine_scene(*args, **options):
    """Scene parsing with a network made of a function, Global step alone by default."""
    return _fused(cascade.refine_scene, *args, **{'steps': 'global', **options})


def refine_classes(*args, **options):
    """One mask per class with a network made of a function, both steps by default."""
    return _fused(cascade.refine_classes, *args, **{'steps': 'both', 'min_area': 0, **options})


def scene(height, width):
    """A photo of waves, (3, H, W) uint8, and a mask of one disc, (1, H, W) bool."""
    y = torch.linspace(0, 1, height, dtype=torch.float64)[:, None]
    x = torch.linspace(0, 1, width, dtype=torch.float64)[None]
    photo = torch.stack(
        [torch.sin(9 * x + 3 * y), torch.sin(23 * x * y + 2), torch.cos(31 * y - 5 * x)]
    )
    disc = (x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.1
    return (127.5 + 127.4 * photo).round().to(torch.uint8), disc[None]
