"""Sets of photos with the mask of one object of a PASCAL VOC class (paper, section 4.1)."""

import os.path as osp
from abc import ABC, abstractmethod
from collections.abc import Sequence

from mmengine.fileio import isdir
from mmseg.datasets import BaseSegDataset, PascalVOCDataset

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .class_agnostic import files_by_stem, warn_of_lone


class SingleObjectDataset(BaseSegDataset, ABC):
    """Photos with the mask of one object, as the authors of CascadePSP lay their sets out.

    ``STEM_im.jpg`` or ``STEM_im.png`` is a photo and ``STEM_gt.png`` its mask. The stem says of
    which class the object is. Photos without mask are left out, and the log counts them.

    A sample has ``object_class``, the index of the class. Of a segmentor's label map,
    :class:`~mmseg_cascadepsp.models.RefinedSegmentor` refines only this class, and
    :class:`~mmseg_cascadepsp.evaluation.RefinementMetric` measures the mask of the object.

    Args:
        data_root: The folder.
        data_prefix: ``img_path``, and ``seg_map_path`` if masks lie elsewhere. Sub-folders are
            searched, too. ``coarse_path`` is the folder of coarse masks ``STEM_seg.png`` of some
            model. Then only photos that have a coarse mask are taken, and
            :class:`~mmseg_cascadepsp.datasets.LoadMasks` reads it.
        classes: Names of the segmentor's classes, if it was trained on another set than VOC.
            Objects of classes that it does not know are left out.
        aliases: VOC's name -> name in ``classes``, where they differ. For ADE20K:
            ``dict(tvmonitor='television receiver')``.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        MissingFileError: The folder is missing, or holds no pair.
        InvalidValueError: A file name does not tell a class, none of the classes is known, or two
            files have the same stem.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import SingleObjectDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> class DogsDataset(SingleObjectDataset):
        ...     def object_class(self, stem):
        ...         return self.METAINFO['classes'].index('dog')
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/a_im.png', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/a_gt.png', np.eye(20, 30, dtype=np.uint8) * 255)
        >>> DogsDataset(data_root=root)[0]['object_class']
        12
    """

    METAINFO = PascalVOCDataset.METAINFO
    SUFFIXES = {
        'img_path': ('_im.jpg', '_im.png'),
        'seg_map_path': ('_gt.png',),
        'coarse_path': ('_seg.png',),
    }

    def __init__(
        self,
        data_root: str,
        data_prefix: dict | None = None,
        classes: Sequence[str] | None = None,
        aliases: dict[str, str] | None = None,
        **kwargs,
    ) -> None:
        names = self.METAINFO['classes']
        classes = tuple(classes or names)
        names = [(aliases or {}).get(name, name) for name in names]
        #: Index in VOC -> index of the same class in the segmentor's label maps.
        self.known = {
            old: classes.index(name) for old, name in enumerate(names) if name in classes
        }
        prefix = {'img_path': '', **(data_prefix or {})}
        prefix.setdefault('seg_map_path', prefix['img_path'])
        super().__init__(
            data_root=data_root, data_prefix=prefix, reduce_zero_label=False, **kwargs
        )
        self._metainfo['classes'] = classes

    @abstractmethod
    def object_class(self, stem: str) -> int:
        """Tell the class of the object that a file shows.

        Args:
            stem: File name without ``_im.jpg``.

        Returns:
            Index in ``METAINFO['classes']``.
        """

    def load_data_list(self) -> list[dict]:
        """Find the pairs.

        Returns:
            The samples of MMSeg, one for each pair.
        """
        found = {
            key: _files(folder, self.SUFFIXES[key]) for key, folder in self.data_prefix.items()
        }
        stems = sorted(set.intersection(*(set(files) for files in found.values())))
        if not stems:
            wanted = ', '.join(
                f'STEM{self.SUFFIXES[key][0]} in {folder}'
                for key, folder in self.data_prefix.items()
            )
            raise MissingFileError(
                f'data_root: {self.data_root} holds no object; expected {wanted} '
                '(docs/chaining.md says where to get this set)'
            )
        warn_of_lone(found['img_path'], found['seg_map_path'])
        shown = {stem: self.object_class(osp.basename(stem)) for stem in stems}
        if not set(shown.values()) & set(self.known):
            missing = sorted({self.METAINFO['classes'][index] for index in shown.values()})
            raise InvalidValueError(
                f'classes: none of {", ".join(missing)} is among them; give aliases, such as '
                f'dict({missing[0]}=NAME)'
            )
        return [
            dict(
                {key: files[stem] for key, files in found.items()},
                object_class=self.known[index],
                label_map=None,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for stem, index in shown.items()
            if index in self.known
        ]


def _files(folder: str, suffixes: Sequence[str]) -> dict[str, str]:
    """Relative path without suffix -> path, of the files in a folder and its sub-folders."""
    if not isdir(folder):
        raise MissingFileError(
            f'data_root: there is no folder {folder} (docs/chaining.md says '
            'where to get this set and where to put it)'
        )
    return files_by_stem(folder, suffixes)
