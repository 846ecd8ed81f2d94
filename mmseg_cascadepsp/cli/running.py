"""How a command line ends, and what several of them share."""

import argparse
import gc
import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TextIO

from mmseg_cascadepsp.errors import MissingPackageError, UserError
from mmseg_cascadepsp.version import __version__

EXIT_CODES = 'exit status: 0 all done, 1 an error or some failed, 2 wrong usage, 130 interrupted.'


def run(
    main: Callable[[Sequence[str] | None], int | None],
    name: str,
    argv: Sequence[str] | None = None,
) -> int:
    """Run the ``main`` of a command line and turn what a user can mend into one sentence.

    Every other error keeps its traceback.

    Args:
        main: Takes the arguments, returns the exit status.
        name: Of the command, which the sentence begins with.
        argv: The arguments. None: those of the process.

    Returns:
        The exit status. It is that of ``main``, 1 after an error, or 130 after Ctrl-C.

    Example:
        >>> run(lambda argv: 0, 'refine', [])
        0
    """
    try:
        return main(argv) or 0
    except (UserError, OSError) as error:
        print(f'{name}: {sentence(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'{name}: interrupted.', file=sys.stderr)
        return 130


def sentence(error: BaseException) -> str:
    """What an error says: of the system's own errors, the reason and the file.

    Args:
        error: The error.

    Example:
        >>> sentence(FileNotFoundError(2, 'No such file or directory', 'a.png'))
        'No such file or directory: a.png'
    """
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or type(error).__name__
    return f'{error.strerror}: {error.filename}' if error.filename else error.strerror


class Patient:
    """A text stream that never ends the work.

    What its encoding lacks is written as an escape. Once its reader is gone, the rest goes
    nowhere.

    Args:
        stream: What is written to, such as ``sys.stdout``.

    Example:
        >>> import io
        >>> stream = io.TextIOWrapper(io.BytesIO(), 'cp1252')
        >>> print(chr(0x732B), file=Patient(stream), flush=True)
        >>> len(stream.buffer.getvalue().strip())
        6
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        try:
            stream.reconfigure(errors='backslashreplace')
        except (AttributeError, ValueError):  # a stream of another kind, which takes all letters
            pass

    def write(self, text: str) -> int:
        """Write text."""
        return self._try(self.stream.write, text) or len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._try(self.stream.flush)

    def _try(self, work: Callable, *arguments):
        try:
            return work(*arguments)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


class Parser(argparse.ArgumentParser):
    """A parser that refuses empty values: variables of the shell that are not set."""

    def parse_args(self, args=None, namespace=None):
        """See :meth:`argparse.ArgumentParser.parse_args`."""
        found = super().parse_args(args, namespace)
        for name, value in vars(found).items():
            if value == '' != self.get_default(name):
                self.error(
                    f'{name} is empty, which names nothing; a variable of the shell may not be set'
                )
        return found


def parser_of(description: str, epilog: str = '', **options) -> argparse.ArgumentParser:
    """A parser whose description and examples keep their lines."""
    return Parser(
        description=description,
        epilog=f'{epilog.rstrip()}\n\n{EXIT_CODES}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def add_cfg_options(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add an argument of MMEngine's form KEY=VALUE.

    :func:`cfg_options` reads it later, since the module that knows the form takes seconds to
    import.

    Args:
        parser: What it is added to.
        name: Such as ``--cfg-options``.
        text: Its help.
    """
    parser.add_argument(name, nargs='+', metavar='KEY=VALUE', help=text)


def cfg_options(pairs: Sequence[str] | None) -> dict:
    """Read ``KEY=VALUE`` as MMEngine's scripts do.

    Raises:
        InvalidValueError: One of them has no ``=``.

    Example:
        >>> cfg_options(['train_cfg.max_iters=10', 'model.init_cfg=None'])
        {'train_cfg.max_iters': 10, 'model.init_cfg': None}
    """
    from mmengine.config import DictAction

    from mmseg_cascadepsp.errors import InvalidValueError

    if not pairs:
        return {}
    for pair in pairs:
        if '=' not in pair:
            raise InvalidValueError(f'settings of a config must be KEY=VALUE, got {pair!r}.')
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    return parser.parse_args(['--options', *pairs]).options


def command_digest(args: argparse.Namespace, left_out: Collection[str] = (), *more) -> str:
    """Tells whether a command is the one that a result was made with.

    Args:
        args: What it was given, ``model`` and ``checkpoint`` among it.
        left_out: Names of those that its results do not depend on.
        more: What else they depend on, values for JSON.

    Returns:
        A digest of these, of the files of model and weights, and of the version. Empty where the
        model is a config, whose other files are not known.

    Example:
        >>> args = argparse.Namespace(model='lite', checkpoint=None)
        >>> len(command_digest(args)), command_digest(argparse.Namespace(model='my.py'))
        (16, '')
    """
    if args.model.endswith('.py'):
        return ''
    package = Path(__file__).resolve().parents[1]
    behind = [Path(args.model), Path(args.checkpoint or ''), *package.glob('weights/*')]
    for configs in (package.parent / 'configs', package / '.mim' / 'configs'):
        behind += configs.glob('**/cascadepsp*.py')
    stats = {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in behind
        if path.is_file()
    }
    asked = {name: value for name, value in vars(args).items() if name not in left_out}
    told = [asked, stats, __version__, *more]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def import_package() -> None:
    """Import what registers the package with MMSegmentation.

    Programs of this package start without Python's search for unreachable objects
    (:func:`~mmseg_cascadepsp.cli.command.run_as_program`). It begins here, behind the imports.

    Raises:
        MissingPackageError: MMSegmentation or what it needs is not installed.
    """
    try:
        import mmseg_cascadepsp.models  # noqa: F401
    except ImportError as error:
        if isinstance(error, UserError):
            raise
        raise MissingPackageError(
            f'{error}. After `make env`: source .venv/bin/activate; README.md, "Install", has the '
            'other ways.'
        ) from error
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
