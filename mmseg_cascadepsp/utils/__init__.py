from .files import atomic_open
from .io import (
    IMAGE_SUFFIXES,
    read_image,
    read_labels,
    read_mask,
    read_png_text,
    write_image,
    write_png,
)

__all__ = [
    'IMAGE_SUFFIXES',
    'atomic_open',
    'read_image',
    'read_labels',
    'read_mask',
    'read_png_text',
    'write_image',
    'write_png',
]
