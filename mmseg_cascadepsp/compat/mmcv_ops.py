"""A substitute for mmcv's compiled operators, so that MMSegmentation can be used with mmcv-lite.

MMSegmentation imports ``mmcv.ops``, which needs the compiled module ``mmcv._ext``. mmcv-lite does
not have it. Most models (FCN, PSPNet, DeepLabV3+, EncNet, SegFormer, UPerNet and those of this
package) never call a compiled operator. For them it is enough that the import succeeds.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType

EXTENSION = 'mmcv._ext'


class MissingExtension(ModuleType):
    """A module that has functions of all names. Each raises RuntimeError when it is called.

    Example:
        >>> callable(MissingExtension('mmcv._ext').nms)
        True
    """

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
    """Import ``mmcv.ops``, with a substitute for the compiled extension if that is missing.

    The substitute is in ``sys.modules`` only during this import. Otherwise mmengine would take
    mmcv-lite for the full mmcv (:func:`mmengine.utils.dl_utils.mmcv_full_available`) and fail. A
    full mmcv is not changed.

    Returns:
        Whether the substitute was used.

    Example:
        >>> _ = import_mmcv_ops()
        >>> import_mmcv_ops()  # imported already
        False
    """
    if 'mmcv.ops' in sys.modules or importlib.util.find_spec(EXTENSION) is not None:
        return False
    sys.modules[EXTENSION] = MissingExtension(EXTENSION)
    try:
        with warnings.catch_warnings():
            # mmcv calls torch.jit fifty times at import, which PyTorch warns is deprecated.
            warnings.filterwarnings('ignore', r'`torch\.jit\.', DeprecationWarning)
            importlib.import_module('mmcv.ops')
    finally:
        del sys.modules[EXTENSION]
    return True
