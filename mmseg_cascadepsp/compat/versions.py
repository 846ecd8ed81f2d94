"""Checking the versions of PyTorch and OpenMMLab's packages."""

import importlib
import importlib.metadata
import warnings

from packaging.version import InvalidVersion, Version

from mmseg_cascadepsp.errors import MissingPackageError

#: Distribution, first supported and first unsupported version of each module.
SUPPORTED = {
    'torch': ('torch', '2.6', '2.14'),
    'mmcv': ('mmcv or mmcv-lite', '2.0.0', '2.2.0'),
    'mmengine': ('mmengine', '0.10.3', '1.0.0'),
    'mmseg': ('mmsegmentation', '1.2.0', '2.0.0'),
}


def installed_version(module: str) -> str | None:
    """Version of an installed module.

    Args:
        module: A key of :data:`SUPPORTED`.

    Returns:
        The version, or None if it is unknown.

    Raises:
        MissingPackageError: The module is not installed.

    Example:
        >>> installed_version('torch').count('.') >= 2
        True
    """
    distribution, lowest, highest = SUPPORTED[module]
    if module == 'mmseg':  # importing mmseg already checks the versions of the others
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None  # a source tree, or missing, which require_mmseg reports
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
    """Warn once about all versions that are not supported.

    Raises:
        MissingPackageError: torch, mmcv or mmengine is not installed.

    Example:
        >>> check_versions()
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
    """Import MMSegmentation, and explain in one sentence if that fails.

    Raises:
        MissingPackageError: mmsegmentation or one of its dependencies is missing, or it refuses
            the installed mmcv or mmengine.

    Example:
        >>> require_mmseg()
    """
    distribution, lowest, highest = SUPPORTED['mmseg']
    try:
        importlib.import_module('mmseg.models')  # needed by all registered modules
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'mmseg_cascadepsp needs {distribution} (>={lowest}, <{highest}): module '
            f'{error.name!r} is not installed'
        ) from error
    except AssertionError as error:  # mmseg's own check of mmcv and mmengine
        raise MissingPackageError(
            f'mmsegmentation refuses the installed versions: {error}'
        ) from error
