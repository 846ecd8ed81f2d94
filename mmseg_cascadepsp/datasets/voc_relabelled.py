"""500 objects of PASCAL VOC 2012 val with accurate boundaries (paper, section 4.1)."""

import re

from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets.single_object import SingleObjectDataset
from mmseg_cascadepsp.errors import InvalidValueError


@DATASETS.register_module()
class RelabelledVOCDataset(SingleObjectDataset):
    """Objects of the relabelled PASCAL VOC 2012; names are ``PHOTO_CC``, as in
    ``2007_000033_01``: the photo's VOC name and the class's number in two digits.

    See :class:`SingleObjectDataset` for arguments and layout.
    """

    def object_class(self, stem: str) -> int:
        """See the base class."""
        number = re.fullmatch(r'.+_(\d\d)', stem)
        if number is None or not 1 <= int(number[1]) < len(self.METAINFO['classes']):
            raise InvalidValueError(
                f'RelabelledVOCDataset: the file name {stem!r} does not end in a class '
                'from _01 to _20, as 2007_000033_01 does'
            )
        return int(number[1])
