"""Sets of photos with the mask of one object of a PASCAL VOC class each (paper, section 4.1)."""

import os.path as osp
from collections.abc import Sequence

from mmengine.fileio import isdir, list_dir_or_file
from mmseg.datasets import BaseSegDataset, PascalVOCDataset


class SingleObjectDataset(BaseSegDataset):
    """``STEM_im.jpg`` or ``STEM_im.png`` with ``STEM_gt.png``, one object per pair, as the authors
    of CascadePSP lay their sets out; the stem says of which class it is.

    A sample has ``object_class``, the class's index: of a segmentor's label map,
    :class:`~mmseg_cascadepsp.models.RefinedSegmentor` refines that class alone, and
    :class:`~mmseg_cascadepsp.evaluation.RefinementMetric` measures that object's mask.

    Args:
        data_root: The folder.
        data_prefix: ``img_path``, and ``seg_map_path`` where truth lies elsewhere; both are
            searched through their sub-folders. With ``coarse_path``, the folder of coarse masks
            ``STEM_seg.png`` of some model: only photos that have one are taken, and
            :class:`~mmseg_cascadepsp.datasets.LoadMasks` reads them.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        FileNotFoundError: The folder is missing, or holds no pair.
        ValueError: A file name does not tell a class.
    """

    METAINFO = PascalVOCDataset.METAINFO
    SUFFIXES = {
        'img_path': ('_im.jpg', '_im.png'),
        'seg_map_path': ('_gt.png',),
        'coarse_path': ('_seg.png',),
    }

    def __init__(self, data_root: str, data_prefix: dict | None = None, **kwargs) -> None:
        prefix = {'img_path': '', **(data_prefix or {})}
        prefix.setdefault('seg_map_path', prefix['img_path'])
        super().__init__(
            data_root=data_root, data_prefix=prefix, reduce_zero_label=False, **kwargs
        )

    def object_class(self, stem: str) -> int:
        """Index in ``METAINFO['classes']`` of the object that a file shows."""
        raise NotImplementedError

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
            raise FileNotFoundError(
                f'data_root: {self.data_root} holds no object; expected {wanted} '
                '(docs/chaining.md says where to get this set)'
            )
        return [
            dict(
                {key: files[stem] for key, files in found.items()},
                object_class=self.object_class(osp.basename(stem)),
                label_map=None,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for stem in stems
        ]


def _files(folder: str, suffixes: Sequence[str]) -> dict[str, str]:
    """Relative path without suffix -> path, of the files in a folder and its sub-folders."""
    if not isdir(folder):
        raise FileNotFoundError(
            f'data_root: there is no folder {folder} (docs/chaining.md says '
            'where to get this set and where to put it)'
        )
    return {
        name.removesuffix(suffix): osp.join(folder, name)
        for name in sorted(list_dir_or_file(folder, list_dir=False, recursive=True))
        for suffix in suffixes
        if name.endswith(suffix)
    }
