"""torchvision is optional; one that does not fit the installed torch counts as not installed."""

import importlib
import importlib.util
import sys
import warnings


def probe_torchvision() -> bool:
    """Try torchvision once, and hide it where importing it fails.

    A torchvision built for another torch raises RuntimeError or OSError instead of ImportError,
    which mmengine does not expect: every run would end while it collects its environment. Hidden,
    ``import torchvision`` raises ModuleNotFoundError, as if it were not there.

    Returns:
        bool: whether torchvision can be used.
    """
    if 'torchvision' in sys.modules:
        return sys.modules['torchvision'] is not None
    if importlib.util.find_spec('torchvision') is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            importlib.import_module('torchvision')
    except Exception as error:
        for name in [name for name in sys.modules if name.startswith('torchvision.')]:
            del sys.modules[name]
        sys.modules['torchvision'] = None
        reason = (str(error).splitlines() or [''])[0]
        warnings.warn(
            f'torchvision is left out, because importing it fails with {type(error).__name__}: '
            f"{reason}; only checkpoints named 'torchvision://...' need it",
            stacklevel=2,
        )
        return False
    return True
