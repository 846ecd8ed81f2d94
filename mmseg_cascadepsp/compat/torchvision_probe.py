"""torchvision is optional; one that does not fit the installed torch is treated as not installed."""
import importlib
import importlib.util
import sys
import warnings


def probe_torchvision() -> bool:
    """Try torchvision once, and hide it where importing it fails.

    A torchvision built for another torch raises RuntimeError or OSError instead of ImportError, which mmengine does
    not expect: it would end every run while collecting the environment. Hidden, ``import torchvision`` raises
    ModuleNotFoundError, as if it were not there.

    Returns:
        bool: whether torchvision can be used.
    """
    if 'torchvision' in sys.modules or importlib.util.find_spec('torchvision') is None:
        return sys.modules.get('torchvision') is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            importlib.import_module('torchvision')
    except Exception as error:
        sys.modules['torchvision'] = None
        warnings.warn(f'torchvision is installed but cannot be imported ({type(error).__name__}: '
                      f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}); it is left out, "
                      "so that 'torchvision://' checkpoints are not available", stacklevel=2)
        return False
    return True
