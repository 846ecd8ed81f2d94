"""Which versions of the stack this package is made for, and a sentence where others are met."""

import importlib
import importlib.metadata
import warnings

from packaging.version import InvalidVersion, Version

from mmseg_cascadepsp.errors import MissingPackageError

#: import name -> (distribution, first supported version, first unsupported version)
SUPPORTED = {
    'torch': ('torch', '2.6', '2.14'),
    'mmcv': ('mmcv or mmcv-lite', '2.0.0', '2.2.0'),
    'mmengine': ('mmengine', '0.10.3', '1.0.0'),
    'mmseg': ('mmsegmentation', '1.2.0', '2.0.0'),
}


def installed_version(module: str) -> str | None:
    """Version of an importable module; None where it has none.

    Raises:
        ImportError: the module is not installed.
    """
    distribution, lowest, highest = SUPPORTED[module]
    if module == 'mmseg':  # importing it already asserts on the others: ask the metadata
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None  # a source tree on the path, or missing: require_mmseg tells
    try:
        return getattr(importlib.import_module(module), '__version__', None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise MissingPackageError(
            f'mmseg_cascadepsp needs {distribution} (>={lowest}, <{highest}), which is '
            f'not installed'
        ) from error


def check_versions() -> None:
    """Warn, in one sentence for all, where an installed version is outside the supported range.

    Raises:
        ImportError: torch, mmcv or mmengine is not installed.
    """
    strange = []
    for module, (distribution, lowest, highest) in SUPPORTED.items():
        version = installed_version(module)
        if version is None:
            continue
        try:
            inside = Version(lowest) <= Version(Version(version).public) < Version(highest)
        except InvalidVersion:
            inside = False
        if not inside:
            strange.append(
                f'{module} {version} ({distribution} >={lowest}, <{highest} is supported)'
            )
    if strange:
        warnings.warn(
            f'mmseg_cascadepsp was not tested with {"; ".join(strange)} and may fail or give '
            'other results',
            stacklevel=2,
        )


def require_mmseg() -> None:
    """Import MMSegmentation, and say in one sentence why where that fails.

    Raises:
        ImportError: mmsegmentation is missing, lacks ``ftfy`` or ``regex``, or refuses the
            installed mmcv or mmengine.
    """
    distribution, lowest, highest = SUPPORTED['mmseg']
    try:
        importlib.import_module('mmseg.models')  # what the sub-packages build upon
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'mmseg_cascadepsp needs {distribution} (>={lowest}, <{highest}): module '
            f'{error.name!r} is not installed'
        ) from error
    except AssertionError as error:  # mmseg's own check of mmcv and mmengine
        raise MissingPackageError(
            f'mmsegmentation refuses the installed versions: {error}'
        ) from error
