"""A segmentor that reads the predictions of another program from files."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError
from mmseg_cascadepsp.files import Reading, from_dataset_ids, read_labels, read_mask
from mmseg_cascadepsp.files.label_ids import VOID, told_mask
from mmseg_cascadepsp.files.stems import files_by_stem

SHOWN = 3


@MODELS.register_module()
class StoredPredictions(BaseSegmentor):
    """A segmentor that reads label maps or masks from a folder instead of computing them.

    With it, predictions of programs other than MMSeg are refined and measured like those of any
    model. The file of a photo has the same stem, such as ``ADE_val_1.png`` for ``ADE_val_1.jpg``,
    or ``x_seg.png`` for ``x_im.jpg``. It may be in any subfolder. If several files have the stem,
    the one whose folders have the names of the photo's folders is taken. Files are label maps
    (grey or palette). For two classes and for single objects they may be masks of 0 and 255.

    Args:
        pred_dir: Folder of the predictions. Photos may be in it, too.
        num_classes: Number of classes. Ids must be below it, or 255 for void.
        ids: How files number the classes. ``'dataset'`` numbers them as in the annotations of the
            set, which MMSeg and ``tools/test.py --out`` also do (for ADE20K from 1, with 0 for
            void). ``'index'`` numbers them from 0.
        label_map: Class id of each number in the files, for datasets with a selection of classes.
        data_preprocessor: Config of the data preprocessor. Its output is not used.
        mask_values: Files are masks, in which this value, or these, are the object. ``'soft'``:
            values are shares of it. See :class:`~mmseg_cascadepsp.files.Reading`.
        ignore: Value of void in the files, which becomes background in masks. 255 if None.

    Raises:
        MissingFileError: There is no such folder, or it has no images.
        InvalidValueError: ``ids`` is unknown, or ``mask_values`` or ``ignore`` is no value.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from mmseg_cascadepsp.files import write_png
        >>> with TemporaryDirectory() as folder:
        ...     write_png(f'{folder}/a.png', np.array([[0, 1], [1, 1]], np.uint8))
        ...     segmentor = StoredPredictions(folder, num_classes=2, ids='index')
        ...     sample = SegDataSample(metainfo={'img_path': 'photos/a.jpg'})
        ...     segmentor.predict(torch.zeros(1, 3, 2, 2), [sample])[0].pred_sem_seg.data
        tensor([[[0, 1],
                 [1, 1]]])
    """

    def __init__(
        self,
        pred_dir: str,
        num_classes: int | None = None,
        ids: str = 'dataset',
        label_map: dict[int, int] | None = None,
        data_preprocessor: dict | None = None,
        mask_values: str | int | Sequence[int] | None = None,
        ignore: int | None = None,
    ) -> None:
        default = dict(type='mmseg.SegDataPreProcessor')  # found in any default scope
        super().__init__(data_preprocessor=data_preprocessor or default)
        if ids not in ('dataset', 'index'):
            raise InvalidValueError(f"ids must be 'dataset' or 'index', got {ids!r}")
        self.pred_dir, self.num_classes, self.ids = pred_dir, num_classes, ids
        self.reading = Reading(mask_values, ignore)
        self.label_map = {int(old): int(new) for old, new in (label_map or {}).items()}
        if not os.path.isdir(pred_dir):
            raise MissingFileError(f'pred_dir: there is no folder {pred_dir}')
        self._files: dict[str, list[Path]] = {}
        for stem, paths in files_by_stem(pred_dir).items():
            self._files.setdefault(PurePath(stem).name, []).extend(paths)
        if not self._files:
            raise MissingFileError(f'pred_dir: {pred_dir} holds no pictures')
        self._warned = False

    def find(self, img_path: str) -> Path | None:
        """Find the file of a photo.

        Args:
            img_path: Path of the photo.

        Returns:
            The file, or None.

        Raises:
            InvalidValueError: Several files fit.
        """
        photo = PurePath(img_path)
        files = []
        if photo.stem.endswith('_im'):
            files = self._files.get(photo.stem.removesuffix('_im') + '_seg', [])
        files = files or self._files.get(photo.stem, [])
        itself = os.path.realpath(img_path)
        files = [path for path in files if os.path.realpath(path) != itself]
        if len(files) > 1:  # the one that shares most of the photo's folders
            common = [
                os.path.commonprefix([path.parent.parts[::-1], photo.parent.parts[::-1]])
                for path in files
            ]
            most = max(map(len, common))
            files = [
                path for path, shared in zip(files, common, strict=True) if len(shared) == most
            ]
        if len(files) > 1:
            raise InvalidValueError(
                f'pred_dir: {files[0]} and {files[1]} could both belong to {img_path}; '
                'keep one of them, or sort them into folders as the photos'
            )
        return files[0] if files else None

    def check(self, img_paths: Sequence[str]) -> None:
        """Check that every photo has its file.

        Args:
            img_paths: Paths of all photos.

        Raises:
            MissingFileError: Some have none. The message counts them and names the first ones.
            InvalidValueError: There are more than 255 classes, but 255 is void in MMSeg's
                annotations.
        """
        if self.num_classes is not None and self.num_classes > VOID:
            raise InvalidValueError(
                f'pred_dir: of {self.num_classes} classes the one numbered {VOID} could not be '
                'told from void; label maps of at most 255 classes can be read'
            )
        missing = [path for path in img_paths if self.find(path) is None]
        if missing:
            raise MissingFileError(
                f'pred_dir: {len(missing)} of {len(img_paths)} photos have no prediction in '
                f'{self.pred_dir}, first {", ".join(missing[:SHOWN])}; expected files of the same '
                f'stem, as {PurePath(missing[0]).stem}.png'
            )

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Read the predictions.

        Args:
            inputs: Not used, except for its device.
            data_samples: Samples with ``img_path``.

        Returns:
            The samples, with ``pred_sem_seg``, (1, H, W) int64.

        Raises:
            MissingFileError: A photo has no prediction.
            InvalidValueError: A file has another size than its photo, or ids out of range.
        """
        for sample in data_samples or ():
            if sample.get('img_path') is None:
                raise InvalidValueError(
                    'StoredPredictions finds files by img_path, which a sample lacks'
                )
            self.check([sample.img_path])
            path = self.find(sample.img_path)
            labels = self._read(path, sample)
            size = tuple(sample.get('ori_shape', labels.shape)[:2])
            if labels.shape != size:
                raise InvalidValueError(
                    f'pred_dir: {path} is {labels.shape[0]}x{labels.shape[1]}, its photo '
                    f'{sample.img_path} {size[0]}x{size[1]} (H x W); they must agree: resize it '
                    'first (masks of single classes bicubic, label maps nearest)'
                )
            labels = torch.from_numpy(labels.astype(np.int64))[None]
            sample.set_data({'pred_sem_seg': PixelData(data=labels.to(inputs.device))})
        return list(data_samples or ())

    def _read(self, path: Path, sample: SegDataSample) -> np.ndarray:
        """Class indices of a file, (H, W) int32."""
        single, ignore = sample.get('object_class'), self.reading.ignore
        of_object = single is not None or self.num_classes == 2
        if self.reading.mask_values is not None:
            if not of_object:
                raise InvalidValueError(
                    f'pred_dir: mask_values (--mask-values) makes a mask of {path}, which cannot '
                    f'tell {self.num_classes or "several"} classes apart; leave it out, and give '
                    'label maps with class ids'
                )
            return (read_mask(path, self.reading) > 127) * np.int32(single or 1)
        labels = read_labels(path)
        present = np.unique(labels)
        if of_object and ignore is None and set(present) <= {0, 255}:
            return (read_mask(path) > 127) * np.int32(single or 1)
        if ignore is not None:
            labels = np.where(labels == ignore, VOID, labels)
        warning = told_mask(labels, path)
        if warning:
            self._warn(f'pred_dir: {warning}')
        if self.ids == 'dataset':
            if sample.get('reduce_zero_label') and present[0] == 0:
                self._warn(
                    f'pred_dir: {path} holds the id 0, which is void in this set; if the '
                    'program that wrote it numbers classes from 0, ids (--pred-ids) must be '
                    "'index'"
                )
            labels = from_dataset_ids(labels, sample.get('reduce_zero_label'), self.label_map)
        strange = labels[labels != VOID]
        if strange.size and self.num_classes is not None and strange.max() >= self.num_classes:
            raise InvalidValueError(
                f'pred_dir: {path} holds the class {strange.max()} where there are '
                f'{self.num_classes} (numbered from 0, after subtracting the void of the set); '
                "expected class indices, or 255 for void; ids (--pred-ids) 'index' and 'dataset' "
                'say how they are numbered; a mask of a single object must have 0 and 255 alone, '
                "or say mask_values (--mask-values), such as 'soft'"
            )
        if single is not None and single not in labels and set(present) == {0, 1}:
            self._warn(
                f'pred_dir: {path} holds 0 and 1 alone, which are classes here, and not the '
                f'object, which is of class {single}: its coarse mask is empty. If it is a mask, '
                'say mask_values=1 (--mask-values 1)'
            )
        return labels.astype(np.int32)

    def _warn(self, sentence: str) -> None:
        """Warn once, because all files usually have the same fault."""
        if not self._warned:
            self._warned = True
            print_log(sentence, logger='current', level=logging.WARNING)

    def loss(self, inputs: Tensor, data_samples=None) -> dict:
        """Refuse training."""
        raise RuntimeError('StoredPredictions reads files and cannot be trained')

    def _forward(self, inputs: Tensor, data_samples=None):
        raise RuntimeError('StoredPredictions reads files and computes no tensors')

    extract_feat = encode_decode = _forward
