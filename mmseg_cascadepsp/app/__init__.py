"""The refiner behind an address: a queue of requests, HTTP, and a page to try it on."""

from mmseg_cascadepsp.errors import MissingPackageError


def missing(error: ImportError) -> MissingPackageError:
    """What is said where the extra ``app`` is not installed."""
    return MissingPackageError(
        f'{error}: the server needs the extra "app": pip install "mmseg_cascadepsp[app]" brings '
        'it.'
    )
