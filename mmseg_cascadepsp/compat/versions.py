"""Checking the versions of PyTorch and OpenMMLab's packages."""

import importlib
import importlib.metadata
import warnings

from packaging.version import InvalidVersion, Version

from mmseg_cascadepsp.errors import MissingPackageError

#: Distribution, first supported and first unsupported version of each module.
SUPPORTED = {
    'torch': ('torch', '2.6', '2.15'),
    'mmcv': ('mmcv or mmcv-lite', '2.0.0', '2.2.0'),
    'mmengine': ('mmengine', '0.10.4', '1.0.0'),
    'mmseg': ('mmsegmentation', '1.2.1', '2.0.0'),
}
#: Requirement that brings a module, where its name is another.
UNDECLARED = {'pkg_resources': 'setuptools<82'}


def installed_version(module: str) -> str | None:
    """Version of an installed module.

    Args:
        module: A key of :data:`SUPPORTED`.

    Returns:
        The version, or None if it is unknown.

    Raises:
        MissingPackageError: The module is not installed, or one that it needs.

    Example:
        >>> installed_version('torch').count('.') >= 2
        True
    """
    if module == 'mmseg':  # importing mmseg already checks the versions of the others
        try:
            return importlib.metadata.version(SUPPORTED[module][0])
        except importlib.metadata.PackageNotFoundError:
            return None  # a source tree, or missing, which require_mmseg reports
    try:
        return getattr(importlib.import_module(module), '__version__', None)
    except ModuleNotFoundError as error:
        raise _missing(error, module) from error


def install_command(module: str) -> str:
    """The command that installs a supported version of a module.

    Without a bound, pip takes mmcv 2.2, which MMSegmentation refuses.

    Args:
        module: A key of :data:`SUPPORTED`.

    Example:
        >>> install_command('mmengine')
        'pip install "mmengine>=0.10.4,<1.0.0"'
    """
    distribution, lowest, highest = SUPPORTED[module]
    if module == 'mmcv':
        distribution = 'mmcv' if _has_distribution('mmcv') else 'mmcv-lite'  # needs no compiler
    return f'pip install "{distribution}>={lowest},<{highest}"'


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _missing(error: ModuleNotFoundError, module: str) -> MissingPackageError:
    distribution, lowest, highest = SUPPORTED[module]
    name = (error.name or module).partition('.')[0]
    if name in SUPPORTED:
        command = install_command(name)
    else:  # a package that one of OpenMMLab's imports without asking for it
        command = f'pip install "{UNDECLARED.get(name, name)}"'
    return MissingPackageError(
        f'mmseg_cascadepsp needs {distribution} (>={lowest}, <{highest}): module {name!r} is '
        f'not installed: {command}'
    )


def check_versions() -> None:
    """Warn once about all versions that are not supported.

    Raises:
        MissingPackageError: torch, mmcv or mmengine is not installed.

    Example:
        >>> check_versions()
    """
    strange = []
    for module in SUPPORTED:
        version = installed_version(module)
        if not is_supported(module, version):
            _, lowest, highest = SUPPORTED[module]
            strange.append(
                f'{module} {version} (>={lowest}, <{highest} is supported: '
                f'{install_command(module)})'
            )
    if strange:
        warnings.warn(
            f'mmseg_cascadepsp was not tested with {"; ".join(strange)} and may fail or give '
            'other results',
            stacklevel=2,
        )


def is_supported(module: str, version: str | None) -> bool:
    """Whether a version of a module is inside the supported range.

    Args:
        module: A key of :data:`SUPPORTED`.
        version: The version. An unknown one, None, is not judged.

    Example:
        >>> is_supported('mmcv', '2.1.0'), is_supported('mmcv', '2.2.0')
        (True, False)
    """
    if version is None:
        return True
    _, lowest, highest = SUPPORTED[module]
    try:
        return Version(lowest) <= Version(Version(version).public) < Version(highest)
    except InvalidVersion:
        return False


def require_mmseg() -> None:
    """Import MMSegmentation, and explain in one sentence if that fails.

    Raises:
        MissingPackageError: mmsegmentation or one of its dependencies is missing, or it refuses
            the installed mmcv or mmengine.

    Example:
        >>> require_mmseg()
    """
    try:
        importlib.import_module('mmseg.models')  # needed by all registered modules
    except ModuleNotFoundError as error:
        raise _missing(error, 'mmseg') from error
    except AssertionError as error:  # mmseg's own check of mmcv and mmengine
        refused = [
            module
            for module in ('mmcv', 'mmengine')
            if not is_supported(module, installed_version(module))
        ]
        told = '; '.join(
            f'{module} {installed_version(module)}: {install_command(module)}'
            for module in refused
        )
        raise MissingPackageError(f'mmsegmentation does not run with {told or error}') from error
