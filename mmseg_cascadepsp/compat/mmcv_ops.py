"""A stand-in for mmcv's compiled operators: MMSegmentation can be imported beside mmcv-lite.

Four modules of MMSegmentation import ``mmcv.ops`` unguarded, and every module of ``mmcv.ops`` asks
the compiled ``mmcv._ext`` for its functions while it is imported. mmcv-lite carries ``mmcv.ops``
but no ``mmcv._ext``. Most models (FCN, PSPNet, DeepLabV3+, EncNet, SegFormer, UPerNet and those of
this package) never call one of these functions, so it is enough to answer for them once.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType

EXTENSION = 'mmcv._ext'


class MissingExtension(ModuleType):
    """A module with every function asked for; each raises one clear error when it is called."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(
                f"the compiled operator '{name}' was called, but mmcv-lite, which is installed, "
                'has none: uninstall mmcv-lite and install the full mmcv (>=2.0.0, <2.2.0)'
            )

        return missing


def import_mmcv_ops() -> bool:
    """Import ``mmcv.ops``, beside mmcv-lite with a stand-in for the compiled extension.

    The stand-in is in ``sys.modules`` during this one import only: were it left there, mmengine
    would take mmcv for the full one (:func:`mmengine.utils.dl_utils.mmcv_full_available`) and
    fail. The full mmcv is not touched.

    Returns:
        bool: whether the stand-in was used.
    """
    if 'mmcv.ops' in sys.modules or importlib.util.find_spec(EXTENSION) is not None:
        return False
    sys.modules[EXTENSION] = MissingExtension(EXTENSION)
    try:
        with warnings.catch_warnings():
            # mmcv scripts fifty functions at import; torch tells each time that torch.jit ages.
            warnings.filterwarnings('ignore', r'`torch\.jit\.', DeprecationWarning)
            importlib.import_module('mmcv.ops')
    finally:
        del sys.modules[EXTENSION]
    return True
