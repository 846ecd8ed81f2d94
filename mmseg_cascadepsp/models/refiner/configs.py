"""Configs that users write. What is wrong with one is said in a sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.hub import get_config

from mmseg_cascadepsp.errors import InvalidValueError, UserError, one_line

#: What classes of MMEngine, MMSegmentation and torch raise where a config does not fit them.
_MISFITS = (LookupError, TypeError, ValueError, AssertionError, RuntimeError)


def load_config(path: str | os.PathLike) -> Config:
    """Read a config file.

    Args:
        path: Of the file, or ``mmseg::...`` for one of a package.

    Returns:
        The config.

    Raises:
        InvalidValueError: It has a mistake, or what it names cannot be found.

    Example:
        >>> load_config('mmseg::_base_/models/fcn_r50-d8.py').model.type
        'EncoderDecoder'
    """
    name = os.fspath(path)
    try:
        return get_config(name) if '::' in name else Config.fromfile(name)
    except UserError:
        raise
    except Exception as error:  # a config is Python, which may raise anything
        root = error
        while isinstance(root, ImportError) and (root.__cause__ or root.__context__):
            root = root.__cause__ or root.__context__
        missing = f': {root.filename}' if isinstance(root, OSError) and root.filename else ''
        raise InvalidValueError(
            f'config {name} cannot be read: {one_line(root)}{missing}; mend it there.'
        ) from error


@contextmanager
def building(what: str) -> Iterator[None]:
    """Say in a sentence where a config has types or arguments that do not exist.

    Args:
        what: What is built, for the sentence.

    Raises:
        InvalidValueError: There are such types or arguments.

    Example:
        >>> with building('my.py'):
        ...     dict(type='Net').pop('depth')
        Traceback (most recent call last):
        mmseg_cascadepsp.errors.InvalidValueError: my.py cannot be built: depth; check ...
    """
    try:
        yield
    except UserError:
        raise
    except _MISFITS as error:
        reason = str(error.args[0]) if error.args else type(error).__name__
        # MMEngine's first sentence says it: what is not in which registry.
        reason = reason.partition('. Please check')[0].splitlines()[0].rstrip('.')
        hint = 'check the types and arguments, default_scope and custom_imports of the config.'
        raise InvalidValueError(f'{what} cannot be built: {reason}; {hint}') from error
