"""CascadePSP (CVPR 2020) inside MMSegmentation: masks whose boundaries follow the image.

Importing the package registers its models, datasets, transforms, metrics and hooks with MMSegmentation's registries.
"""
from . import compat  # noqa: F401  first: it makes ``import mmseg`` work beside mmcv-lite
from .version import __version__

__all__ = ['__version__']
