"""Errors that a user can mend. Each says in one sentence what came, what was expected and what to
do.

They are kinds of Python's own errors, so ``except ValueError`` catches them as usual. Command
lines print their sentence and end with status 1. Every other error keeps its traceback.
"""


class UserError(Exception):
    """What all errors that a user can mend have in common.

    Example:
        >>> from mmseg_cascadepsp.errors import InvalidValueError, UserError
        >>> issubclass(InvalidValueError, UserError), issubclass(InvalidValueError, ValueError)
        (True, True)
    """


class InvalidValueError(UserError, ValueError):
    """An argument has a value that cannot be used.

    Example:
        >>> issubclass(InvalidValueError, ValueError)
        True
    """


class InvalidTypeError(UserError, TypeError):
    """An argument is of a kind that cannot be used.

    Example:
        >>> issubclass(InvalidTypeError, TypeError)
        True
    """


class FileError(UserError, OSError):
    """A file cannot be read or written.

    Example:
        >>> issubclass(FileError, OSError)
        True
    """


class MaskValuesError(InvalidValueError, FileError):
    """The values of a mask, in a file or an array, do not say what is object.

    Example:
        >>> issubclass(MaskValuesError, ValueError)
        True
    """


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder does not exist.

    Example:
        >>> issubclass(MissingFileError, FileNotFoundError)
        True
    """


class DeniedFileError(FileError, PermissionError):
    """A file may not be read.

    Example:
        >>> issubclass(DeniedFileError, PermissionError)
        True
    """


class NotReadyError(UserError, RuntimeError):
    """What was asked for cannot be done in the present state.

    Example:
        >>> issubclass(NotReadyError, RuntimeError)
        True
    """


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed.

    Example:
        >>> issubclass(MissingPackageError, ImportError)
        True
    """


class DeviceMemoryError(UserError, RuntimeError):
    """A GPU has too little memory for what was asked for.

    Example:
        >>> issubclass(DeviceMemoryError, RuntimeError)
        True
    """


class BusyError(UserError, RuntimeError):
    """There is too much to do at the moment.

    Args:
        message: The sentence.
        retry_after: Seconds after which to try again.

    Example:
        >>> BusyError('Too many photos at once.', 5).retry_after
        5
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TimeLimitError(UserError, TimeoutError):
    """A call takes longer than it may.

    Example:
        >>> issubclass(TimeLimitError, TimeoutError)
        True
    """


#: Errors whose text says what went wrong without the name of their class.
_TELLING = (UserError, OSError, ValueError, TypeError, RuntimeError, ImportError)


def one_line(error: BaseException) -> str:
    """What an error says, in one line. Of the system's own errors it is the reason alone.

    Example:
        >>> one_line(OSError(28, 'No space left on device')), one_line(KeyError('stride'))
        ('No space left on device', "KeyError: 'stride'")
    """
    reason = error.strerror if isinstance(error, OSError) else None
    lines = str(reason or error).strip().splitlines()
    name = type(error).__name__
    if not lines:
        return name
    return lines[0] if isinstance(error, _TELLING) else f'{name}: {lines[0]}'
