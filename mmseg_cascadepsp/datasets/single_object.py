"""Sets of photos with the mask of one object of a PASCAL VOC class each (paper, section 4.1)."""

import os.path as osp
from abc import ABC, abstractmethod
from collections.abc import Sequence

from mmengine.fileio import isdir
from mmseg.datasets import BaseSegDataset, PascalVOCDataset

from mmseg_cascadepsp.datasets.class_agnostic import files_by_stem, warn_of_lone
from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError


class SingleObjectDataset(BaseSegDataset, ABC):
    """``STEM_im.jpg`` or ``STEM_im.png`` with ``STEM_gt.png``, one object per pair, as the authors
    of CascadePSP lay their sets out; the stem says of which class it is. Photos without truth are
    left out, and the log counts them.

    A sample has ``object_class``, the class's index: of a segmentor's label map,
    :class:`~mmseg_cascadepsp.models.RefinedSegmentor` refines that class alone, and
    :class:`~mmseg_cascadepsp.evaluation.RefinementMetric` measures that object's mask.

    Args:
        data_root: The folder.
        data_prefix: ``img_path``, and ``seg_map_path`` where truth lies elsewhere; both are
            searched through their sub-folders. With ``coarse_path``, the folder of coarse masks
            ``STEM_seg.png`` of some model: only photos that have one are taken, and
            :class:`~mmseg_cascadepsp.datasets.LoadMasks` reads them.
        classes: Names of the segmentor's classes, where it was trained on another set than VOC;
            objects of classes that it does not know are left out.
        aliases: VOC's name -> name in ``classes``, where they differ:
            ``dict(tvmonitor='television receiver')`` for ADE20K.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        FileNotFoundError: The folder is missing, or holds no pair.
        ValueError: A file name does not tell a class, none of the classes is known, or two files
            have the same stem.
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
        """Index in ``METAINFO['classes']`` of the object that a file shows."""

    def load_data_list(self) -> list[dict]:
        """Find the pairs."""
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
        prefix = self.data_prefix
        warn_of_lone(
            found['img_path'], found['seg_map_path'], prefix['img_path'], prefix['seg_map_path']
        )
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
