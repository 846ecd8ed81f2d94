"""Photos and masks on disk: reading, writing, pairing, folder runs, photos larger than memory."""

from .label_ids import from_dataset_ids, to_dataset_ids
from .mask_values import Reading
from .masks import read_labels, read_mask
from .opening import IMAGE_SUFFIXES
from .paths import atomic_open
from .photos import read_image
from .reading import read_pair
from .writing import read_png_text, write_image, write_png

__all__ = [
    'IMAGE_SUFFIXES',
    'Reading',
    'atomic_open',
    'from_dataset_ids',
    'read_image',
    'read_labels',
    'read_mask',
    'read_pair',
    'read_png_text',
    'to_dataset_ids',
    'write_image',
    'write_png',
]
