"""CascadePSP (CVPR 2020) inside MMSegmentation: masks whose boundaries follow the image.

Importing the package takes a moment. Its models, datasets, transforms, metrics and hooks come into
MMSegmentation's registries together with those of MMSegmentation.
"""

import importlib
import warnings
from types import ModuleType
from typing import Any

import wrapt

from .version import __version__

__all__ = ['Refiner', '__version__']

#: Module of MMSegmentation -> rooms that register something beside it. MMSegmentation's registries
#: import these modules when a class is asked for. Refining needs no data sets.
REGISTERED = {
    'mmseg.models': ('models', 'engine'),  # engine: checkpoints named package://
    'mmseg.datasets': ('datasets', 'engine'),
    'mmseg.engine': ('engine',),
    'mmseg.evaluation': ('evaluation',),
}
ROOMS = (
    'annotations', 'apis', 'app', 'cascade', 'compat', 'datasets', 'engine', 'evaluation', 'files',
    'models', 'visualization',
)  # fmt: skip
#: Name -> module that has it, imported when it is asked for.
FRONT_DOORS = {
    'Refiner': 'apis',
    'draw_before_after': 'apis',
    'save_mask': 'apis',
    'refine_annotations': 'annotations',
    'refine_files': 'apis',
    'find_config': 'apis',
    'CascadeSettings': 'cascade',
    'FusionSettings': 'cascade',
}


def _prepare(module: ModuleType) -> None:
    """Make the OpenMMLab stack run beside a current torch; before mmseg's own modules."""
    importlib.import_module('.compat', __name__).prepare_stack()


def _register(module: ModuleType) -> None:
    for room in REGISTERED[module.__name__]:
        importlib.import_module(f'.{room}', __name__)


# mmengine finds ``_base_ = 'mmseg::...'`` by pkg_resources; its warning is not for our user.
warnings.filterwarnings('ignore', 'pkg_resources is deprecated as an API', UserWarning)
# mmseg imports mmcv first: then its compiled operators, or their stand-in, have to be there.
wrapt.register_post_import_hook(_prepare, 'mmcv')
for _name in REGISTERED:
    wrapt.register_post_import_hook(_register, _name)


def __getattr__(name: str) -> Any:
    if name in FRONT_DOORS:
        return getattr(importlib.import_module(f'.{FRONT_DOORS[name]}', __name__), name)
    if name in ROOMS:
        return importlib.import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *FRONT_DOORS, *ROOMS})
