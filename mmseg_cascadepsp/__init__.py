"""CascadePSP (CVPR 2020) inside MMSegmentation: masks whose boundaries follow the image.

Importing the package registers its models, datasets, transforms, metrics and hooks with
MMSegmentation's registries.
"""

from mmseg_cascadepsp import compat  # isort: skip  first: it makes ``import mmseg`` work beside mmcv-lite
from mmseg_cascadepsp import datasets, engine, evaluation, models, visualization
from mmseg_cascadepsp.version import __version__

__all__ = [
    'Refiner',
    '__version__',
    'compat',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'visualization',
]


def __getattr__(name: str):
    """``Refiner`` is imported when it is asked for: nothing in ``apis`` is registered."""
    if name == 'Refiner':
        from mmseg_cascadepsp.apis import Refiner

        return Refiner
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
