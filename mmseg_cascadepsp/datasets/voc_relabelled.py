"""500 objects of PASCAL VOC 2012 val with accurate boundaries (paper, section 4.1)."""

import re

from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidValueError

from .single_object import SingleObjectDataset


@DATASETS.register_module()
class RelabelledVOCDataset(SingleObjectDataset):
    """Objects of the relabelled PASCAL VOC 2012.

    A stem is ``PHOTO_CC``, as in ``2007_000033_01``: the name of the photo in VOC, and the number
    of the class in two digits. See :class:`SingleObjectDataset` for arguments and layout.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import RelabelledVOCDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/2007_000033_01_im.png', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/2007_000033_01_gt.png', np.eye(20, 30, dtype=np.uint8) * 255)
        >>> RelabelledVOCDataset(data_root=root)[0]['object_class']
        1
    """

    def object_class(self, stem: str) -> int:
        """Read the number of the class from a file name.

        Args:
            stem: File name without ``_im.jpg``.

        Returns:
            Index of the class.

        Raises:
            InvalidValueError: The name does not end in the number of a class.
        """
        number = re.fullmatch(r'.+_(\d\d)', stem)
        if number is None or not 1 <= int(number[1]) < len(self.METAINFO['classes']):
            raise InvalidValueError(
                f'RelabelledVOCDataset: the file name {stem!r} does not end in a class '
                'from _01 to _20, as 2007_000033_01 does'
            )
        return int(number[1])
