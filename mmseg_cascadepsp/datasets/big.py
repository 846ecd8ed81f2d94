"""BIG: objects on photos of 2048x1600 to 5000x3600 (paper, section 4.1)."""

import re

from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets.single_object import SingleObjectDataset
from mmseg_cascadepsp.errors import InvalidValueError


@DATASETS.register_module()
class BIGDataset(SingleObjectDataset):
    """50 validation and 100 test objects; file names contain the class's name.

    See :class:`SingleObjectDataset` for arguments and layout.
    """

    #: What a file name may contain -> index of the class. The authors also write ``tv``.
    NAMES = {
        name: index for index, name in enumerate(SingleObjectDataset.METAINFO['classes']) if index
    } | {'tv': 20}

    def object_class(self, stem: str) -> int:
        """See the base class. A word of its own counts more than one inside another word."""
        words = re.findall('[a-z]+', stem.lower())
        for matches in (lambda name: name in words, lambda name: name in stem.lower()):
            hits = [name for name in self.NAMES if matches(name)]
            if hits:
                return self.NAMES[max(hits, key=len)]
        raise InvalidValueError(
            f'BIGDataset: the file name {stem!r} contains none of the class names '
            f'{", ".join(self.NAMES)}'
        )
