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
from .label_ids import from_dataset_ids, to_dataset_ids

__all__ = [
    'IMAGE_SUFFIXES',
    'atomic_open',
    'from_dataset_ids',
    'read_image',
    'read_labels',
    'read_mask',
    'read_png_text',
    'to_dataset_ids',
    'write_image',
    'write_png',
]
