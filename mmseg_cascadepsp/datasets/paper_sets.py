"""The sets that the paper trains on (section 4.2): 36,572 pairs of a photo and a mask."""

import logging
import os.path as osp
import re
from dataclasses import dataclass

from mmengine.fileio import isdir
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .class_agnostic import ClassAgnosticDataset


@dataclass(frozen=True)
class TrainingSet:
    """Where one of the sets comes from, and which files of an archive belong to it.

    Args:
        folder: Its name under the data root, as the authors' release has it.
        title: Its name in the paper.
        count: Number of pairs.
        archives: Files to download.
        page: Where they are linked.
        members: Pattern of the paths of its pictures, in lower case. A path starts with the name
            of the archive or of the folder around.
        per_class: Whether pairs lie in one folder per class.
        nameless: Pattern of paths that do not name the set.

    Example:
        >>> from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS
        >>> TRAINING_SETS['DUTS-TR'].count, TRAINING_SETS['DUTS-TR'].how_to_get
        (10553, 'DUTS-TR.zip from http://saliencydetection.net/duts/')
    """

    folder: str
    title: str
    count: int
    archives: tuple[str, ...]
    page: str
    members: re.Pattern
    per_class: bool = False
    nameless: re.Pattern | None = None

    @property
    def how_to_get(self) -> str:
        """What to download and where, in words."""
        return f'{" and ".join(self.archives)} from {self.page}'


#: Folder -> set. DUTS is what the paper calls DUT-OMRON. The five have 36,572 pairs, as it says.
TRAINING_SETS = {
    s.folder: s
    for s in (
        TrainingSet(
            'MSRA_10K',
            'MSRA-10K',
            10000,
            ('MSRA10K_Imgs_GT.zip',),
            'https://mmcheng.net/msra10k/',
            re.compile(r'(^|/)(msra[-_]?10k|thus10000)[^/]*/'),
        ),
        TrainingSet(
            'ecssd',
            'ECSSD',
            1000,
            ('images.zip', 'ground_truth_mask.zip'),
            'https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html',
            re.compile(r'(^|/)ecssd[^/]*/'),
            # Its archives tell their set neither by their names nor inside, but by 0001 to 1000.
            nameless=re.compile(
                r'(^|/)(images|ground_truth_mask)[^/]*/((images|ground_truth_mask)/)?\d{4}\.\w+$'
            ),
        ),
        TrainingSet(
            'fss',
            'FSS-1000',
            10000,
            ('fewshot_data.zip',),
            'https://github.com/HKUSTCV/FSS-1000',
            re.compile(r'(^|/)(fewshot_data|fss)[^/]*/(.*/)?[^/]+/\d+\.\w+$'),
            per_class=True,
        ),
        TrainingSet(
            'DUTS-TR',
            'DUTS-TR',
            10553,
            ('DUTS-TR.zip',),
            'http://saliencydetection.net/duts/',
            re.compile(r'(^|/)duts-tr[^/]*/'),
        ),
        TrainingSet(
            'DUTS-TE',
            'DUTS-TE',
            5019,
            ('DUTS-TE.zip',),
            'http://saliencydetection.net/duts/',
            re.compile(r'(^|/)duts-te[^/]*/'),
        ),
    )
}


@DATASETS.register_module()
class PaperTrainingSet(ClassAgnosticDataset):
    """One of the sets that the paper trains on, see :data:`TRAINING_SETS`.

    ``tools/dataset_converters/prepare_training_data.py`` and the authors' download script lay it
    out: ``data_root/FOLDER/name.jpg`` beside ``name.png``, FSS-1000 in one folder per class. The
    log says if the number of pairs is not the published one.

    Args:
        data_root: The folder of all sets.
        folder: Which of them.
        kwargs: See :class:`ClassAgnosticDataset`.

    Raises:
        InvalidValueError: ``folder`` is none of the sets.
        MissingFileError: The set is missing or holds no pair.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PaperTrainingSet
        >>> from mmseg_cascadepsp.files import write_image, write_png
        >>> root = tempfile.mkdtemp()
        >>> write_image(f'{root}/ecssd/0001.jpg', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/ecssd/0001.png', np.eye(20, 30, dtype=np.uint8) * 255)
        >>> len(PaperTrainingSet(root, 'ecssd'))
        1
    """

    def __init__(self, data_root: str, folder: str, **kwargs) -> None:
        if folder not in TRAINING_SETS:
            raise InvalidValueError(
                f'folder must be one of {", ".join(TRAINING_SETS)}, got {folder!r}'
            )
        self.training_set = TRAINING_SETS[folder]
        super().__init__(data_root=osp.join(data_root, folder), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Find the pairs.

        Returns:
            The samples of MMSeg, one for each pair.
        """
        wanted = self.training_set
        if not isdir(self.data_root):
            raise MissingFileError(
                f'data_root: {wanted.title} is not at {self.data_root}; download '
                f'{wanted.how_to_get} and run tools/dataset_converters/prepare_training_data.py '
                '(docs/training.md)'
            )
        pairs = super().load_data_list()
        if len(pairs) != wanted.count:
            print_log(
                f'{wanted.title} has {len(pairs):,} pairs in {self.data_root}, published are '
                f'{wanted.count:,}; tools/dataset_converters/prepare_training_data.py says what '
                'is missing',
                logger='current',
                level=logging.WARNING,
            )
        return pairs
