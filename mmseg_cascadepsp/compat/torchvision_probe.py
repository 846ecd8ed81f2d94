"""Ignoring a torchvision that does not fit the installed PyTorch. torchvision is optional."""

import importlib
import importlib.util
import sys
import warnings


def probe_torchvision() -> bool:
    """Import torchvision, and hide it if that fails.

    A torchvision built for another PyTorch raises RuntimeError or OSError on import. mmengine only
    expects ImportError, so every run would fail. After this call ``import torchvision`` raises
    ModuleNotFoundError, as if it were not installed.

    Returns:
        Whether torchvision can be used.

    Example:
        >>> probe_torchvision() == probe_torchvision()
        True
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
