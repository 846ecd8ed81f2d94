"""BIG: objects on photos of 2048x1600 to 5000x3600 (paper, section 4.1)."""

import re

from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidValueError

from .single_object import SingleObjectDataset


@DATASETS.register_module()
class BIGDataset(SingleObjectDataset):
    """BIG: 50 validation and 100 test objects. File names contain the name of the class.

    See :class:`SingleObjectDataset` for arguments and layout.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import BIGDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/a_dog_im.png', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/a_dog_gt.png', np.eye(20, 30, dtype=np.uint8) * 255)
        >>> dataset = BIGDataset(data_root=root)
        >>> dataset.metainfo['classes'][dataset[0]['object_class']]
        'dog'
    """

    #: What a file name may contain -> index of the class. The authors also write ``tv``.
    NAMES = {
        name: index for index, name in enumerate(SingleObjectDataset.METAINFO['classes']) if index
    } | {'tv': 20}

    def object_class(self, stem: str) -> int:
        """Find the class whose name is in a file name.

        Names that are words of their own count first, then names that a word ends in, as in
        ``armchair_2`` and ``cars``. Others are an accident: there is no car in ``scarf``.

        Args:
            stem: File name without ``_im.jpg``.

        Returns:
            Index of the class. Of several names in a file name, the longest counts.

        Raises:
            InvalidValueError: There is none.
        """
        words = re.findall('[a-z]+', stem.lower())
        whole = [name for name in self.NAMES if name in words]
        ends = [n for n in self.NAMES if any(re.fullmatch(f'.*{n}(e?s)?', word) for word in words)]
        if not whole + ends:
            raise InvalidValueError(
                f'BIGDataset: the file name {stem!r} contains none of the class names '
                f'{", ".join(self.NAMES)}'
            )
        return self.NAMES[max(whole or ends, key=len)]
