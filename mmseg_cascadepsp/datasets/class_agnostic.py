"""Pairs of photos and masks without classes."""

import logging
import os.path as osp
from collections.abc import Collection, Mapping

from mmengine.fileio import isdir, list_dir_or_file
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import MissingFileError
from mmseg_cascadepsp.files import IMAGE_SUFFIXES
from mmseg_cascadepsp.files.stems import names_by_stem, one_by_stem


def files_by_stem(folder: str, suffixes: Collection[str] = IMAGE_SUFFIXES) -> dict[str, str]:
    """Find the pictures in a folder and its sub-folders.

    Args:
        folder: The folder, on a disk or wherever :mod:`mmengine.fileio` reads.
        suffixes: What the names of pictures end in, in lower case. Files may have it in any case.

    Returns:
        Relative path without suffix -> path, sorted.

    Raises:
        InvalidValueError: Two of them have the same stem.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mmseg_cascadepsp.datasets.class_agnostic import files_by_stem
        >>> folder = tempfile.mkdtemp()
        >>> Path(folder, 'cats').mkdir()
        >>> Path(folder, 'cats', 'a.JPG').touch()
        >>> list(files_by_stem(folder))
        ['cats/a']
    """
    names = list_dir_or_file(folder, list_dir=False, recursive=True)
    paths = {
        stem: [osp.join(folder, name) for name in same]
        for stem, same in names_by_stem(names, suffixes).items()
    }
    return one_by_stem(paths, 'data_root')


def warn_of_lone(photos: Mapping[str, str], masks: Mapping[str, str]) -> None:
    """Log how many photos have no mask, and how many masks have no photo.

    Args:
        photos: Stem -> path.
        masks: Stem -> path.

    Example:
        >>> from mmseg_cascadepsp.datasets.class_agnostic import warn_of_lone
        >>> warn_of_lone({'a': 'images/a.jpg'}, {'a': 'masks/a.png'})  # says nothing
    """
    words = []
    for what, files, other, others in (
        ('photos', photos, 'mask', masks),
        ('masks', masks, 'photo', photos),
    ):
        lone = [path for stem, path in files.items() if stem not in others]
        if lone:
            words.append(
                f'{len(lone)} of {len(files)} {what} have no {other} of the same stem and are '
                f'left out, first {lone[0]}'
            )
    if words:
        print_log('; '.join(words), 'current', logging.WARNING)


@DATASETS.register_module()
class ClassAgnosticDataset(BaseSegDataset):
    """Pairs of a photo and the mask of one object, for training and measuring a refiner.

    The names of a photo and its mask must agree but for the suffix. Sub-folders are searched, too.
    There are two layouts:

    - ``data_prefix=dict(img_path='images', seg_map_path='masks')``: photos and masks in two
      folders of ``data_root``, or of each sub-folder of it that has them (several sets side by
      side)
    - ``data_prefix=dict(img_path='', seg_map_path='')``, the default: ``name.jpg`` beside
      ``name.png`` (MSRA-10K, ECSSD, DUTS), also in one folder per class as in FSS-1000.

    ``coarse_path`` in ``data_prefix`` names a folder of coarse masks beside the other two. Then
    only photos that have a coarse mask are taken, and
    :class:`~mmseg_cascadepsp.datasets.LoadMasks` reads it.

    Args:
        data_root: The folder.
        data_prefix: See above.
        repeat: Set (sub-folder) -> how often its pairs stand in the list, 1 by default.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        MissingFileError: The folder is missing, or holds no pair.
        InvalidValueError: Two photos, or two masks, of a folder have the same stem.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import ClassAgnosticDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/images/a.png', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/masks/a.png', np.eye(20, 30, dtype=np.uint8) * 255)
        >>> prefix = dict(img_path='images', seg_map_path='masks')
        >>> dataset = ClassAgnosticDataset(data_root=root, data_prefix=prefix)
        >>> len(dataset), dataset[0]['seg_map_path'] == f'{root}/masks/a.png'
        (1, True)
    """

    METAINFO = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(
        self,
        data_root: str,
        data_prefix: dict | None = None,
        repeat: dict[str, int] | None = None,
        **kwargs,
    ) -> None:
        self.repeat = repeat or {}
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix or dict(img_path='', seg_map_path=''),
            reduce_zero_label=False,
            **kwargs,
        )

    def _join_prefix(self) -> None:
        """Prefixes stay relative: they are joined to each set's folder."""

    def _sets(self) -> list[str]:
        """Names of the sub-folders that hold a set each, or one empty name for the root itself."""
        image_prefix = self.data_prefix['img_path']
        if not isdir(self.data_root):
            raise MissingFileError(
                f'data_root: there is no folder {self.data_root}; give yours with --data-root '
                'or in MMSEG_CASCADEPSP_DATA (docs/training.md shows the layouts)'
            )
        if isdir(osp.join(self.data_root, image_prefix)):
            return ['']
        folders = sorted(list_dir_or_file(self.data_root, list_file=False))
        return [name for name in folders if isdir(osp.join(self.data_root, name, image_prefix))]

    def _label_map(self, name: str) -> dict[int, int] | None:
        """Value in a set's masks -> label, for MMSeg's ``LoadAnnotations``. None: no change."""

    def load_data_list(self) -> list[dict]:
        """Find the pairs.

        Returns:
            The samples of MMSeg, one for each pair.
        """
        pairs = []
        for name in self._sets():
            folders = {
                key: osp.join(self.data_root, name, p) for key, p in self.data_prefix.items()
            }
            if folders['img_path'] == folders['seg_map_path']:
                images = files_by_stem(folders['img_path'], ('.jpg', '.jpeg'))
                masks = files_by_stem(folders['img_path'], ('.png',))
                found = dict(img_path=images, seg_map_path=masks)
            else:
                found = {
                    key: files_by_stem(folder) for key, folder in folders.items() if isdir(folder)
                }
            stems = [
                s for s in found['img_path'] if all(s in found.get(key, ()) for key in folders)
            ]
            warn_of_lone(found['img_path'], found.get('seg_map_path', {}))
            new = [
                dict(
                    {key: found[key][stem] for key in folders},
                    label_map=self._label_map(name),
                    reduce_zero_label=False,
                    seg_fields=[],
                )
                for stem in stems
            ]
            pairs += new * self.repeat.get(name, 1)
        if not pairs:
            raise MissingFileError(
                f'data_root: {self.data_root} holds no photo with a partner of the same stem '
                f'in each of {dict(self.data_prefix)} (docs/training.md shows the layouts)'
            )
        return pairs
