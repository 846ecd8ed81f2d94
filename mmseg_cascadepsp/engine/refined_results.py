"""Checks before the test of a refined segmentor, and files of its results."""

import os.path as osp
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePath

import numpy as np
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.evaluation import as_annotation
from mmseg_cascadepsp.files import write_image, write_png
from mmseg_cascadepsp.files.paths import folder_around
from mmseg_cascadepsp.models.chain import RefinedSegmentor, StoredPredictions
from mmseg_cascadepsp.models.chain.building import check_segmentor_weights
from mmseg_cascadepsp.models.chain.original_pixels import original_pixels
from mmseg_cascadepsp.visualization import before_after_change, default_palette


@HOOKS.register_module()
class RefinedResultsHook(Hook):
    """Prepare a :class:`~mmseg_cascadepsp.models.RefinedSegmentor` for a test, write its results.

    The hook gives the model the classes and the ``ignore_index`` of the dataset, the latter to
    the metrics, too, and checks that the model's checkpoint or stored predictions are complete.

    Args:
        out_dir: Folder for the refined label maps, or None. They are PNG files in the folders and
            under the names of the photos. Classes are numbered as in the annotations of the
            dataset. Masks of single objects have 0 and 255.
        show_dir: Folder for pictures with the mask before, the mask after and the change, or None.

    Example:
        >>> RefinedResultsHook(out_dir='refined').out_dir
        'refined'
    """

    def __init__(self, out_dir: str | None = None, show_dir: str | None = None) -> None:
        self.out_dir, self.show_dir = out_dir, show_dir
        self._meta, self._root = {}, None
        self._writer = ThreadPoolExecutor(1)
        self._written: Future | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that the checkpoint has all weights of the segmentor. MMEngine would only warn.

        Raises:
            InvalidValueError: Weights are missing or of another shape.
        """
        model = _unwrap(runner.model)
        if isinstance(model, RefinedSegmentor):
            check_segmentor_weights(model.segmentor, checkpoint)

    def before_test(self, runner: Runner) -> None:
        """Give the model the classes, and check that all photos have stored predictions.

        Raises:
            MissingFileError: Photos have no prediction.
            InvalidValueError: The results of two photos would have the same name, or photos have
                none.
        """
        dataset = runner.test_dataloader.dataset
        self._meta = _meta_of(dataset)
        # Metrics of others keep what they were given: they read no ignore_index there.
        runner.test_loop.evaluator.dataset_meta = self._meta
        if self.out_dir or self.show_dir:
            photos = _photos_of(dataset)
            if not photos:
                raise InvalidValueError(
                    'results are written under the names of the photos (img_path), which '
                    f'{type(dataset).__name__} does not have; leave --out and --show-dir out.'
                )
            self._root = _folder_of(photos, _prefix_of(dataset))
            self._check_names(photos)
        model = _unwrap(runner.model)
        if not isinstance(model, RefinedSegmentor):
            return
        model.dataset_meta = self._meta
        stored = model.segmentor
        if isinstance(stored, StoredPredictions):
            stored.num_classes = len(self._meta.get('classes', ())) or stored.num_classes
            stored.label_map = self._meta.get('label_map') or stored.label_map
            stored.check(_photos_of(dataset))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: list[SegDataSample] | None = None,
    ) -> None:
        """Write the results of a batch in the background."""
        self._settle()
        if outputs and (self.out_dir or self.show_dir):
            self._written = self._writer.submit(self._write, outputs)

    def _settle(self) -> None:
        """Wait for the background writer, and raise its errors."""
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def _write(self, samples: list[SegDataSample]) -> None:
        for sample in samples:
            name = self._name(sample.img_path)
            labels = _labels(sample, 'pred_sem_seg')
            single = 'object_class' in sample
            if self.out_dir:
                write_png(
                    osp.join(self.out_dir, name + '.png'),
                    as_annotation(labels, sample, self._meta),
                )
            if self.show_dir and 'pred_sem_seg_coarse' in sample:
                photo = original_pixels(sample, labels.shape).permute(1, 2, 0).numpy()
                palette = None if single else self._palette()
                picture = before_after_change(
                    photo, _labels(sample, 'pred_sem_seg_coarse'), labels, palette=palette
                )
                write_image(osp.join(self.show_dir, name + '.jpg'), picture)

    def _palette(self) -> np.ndarray:
        """Colours of all classes, uint8 ``(n, 3)``. A single class is 1, on a black background."""
        palette = self._meta.get('palette')
        if not palette:
            return default_palette()
        palette = np.array(palette, np.uint8)
        return palette if len(palette) > 1 else np.concatenate([palette * 0, palette])

    def after_test(self, runner: Runner) -> None:
        """Finish writing and print the folders."""
        self._settle()
        for what, folder in (('label maps', self.out_dir), ('pictures', self.show_dir)):
            if folder:
                print_log(f'{what} are in {osp.abspath(folder)}', logger='current')

    def _name(self, img_path: str) -> str:
        """Path of a photo in the dataset's folder, without suffix."""
        path = osp.relpath(img_path, self._root) if self._root else osp.basename(img_path)
        return str(PurePath(path).with_suffix(''))

    def _check_names(self, photos: Sequence[str]) -> None:
        named: dict[str, str] = {}
        for photo in photos:
            if named.setdefault(self._name(photo), photo) != photo:
                raise InvalidValueError(
                    f'{named[self._name(photo)]} and {photo} would both be written as '
                    f'{self._name(photo)}.png; rename one of them'
                )


def _photos_of(dataset) -> list[str]:
    """Paths of all photos, if the dataset has them. Only MMEngine's have ``get_data_info``."""
    if not hasattr(dataset, 'get_data_info'):
        return []
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [info['img_path'] for info in infos if info.get('img_path') is not None]


def _inner_of(dataset) -> list[BaseDataset]:
    """The datasets of MMEngine inside wrappers, or the dataset itself."""
    if isinstance(dataset, ConcatDataset):
        return [inner for each in dataset.datasets for inner in _inner_of(each)]
    if isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
        return _inner_of(dataset.dataset)
    return [dataset] if isinstance(dataset, BaseDataset) else []


def _meta_of(dataset) -> dict:
    """What a dataset says of its classes, and its ``ignore_index``, if it has one."""
    from mmseg.datasets import BaseSegDataset  # refining alone needs no data sets

    meta = dict(dataset.metainfo) if hasattr(dataset, 'metainfo') else {}
    voids = {each.ignore_index for each in _inner_of(dataset) if isinstance(each, BaseSegDataset)}
    if len(voids) == 1:
        meta['ignore_index'] = voids.pop()
    return meta


def _prefix_of(dataset) -> str | None:
    """The folder of photos that a dataset was given, if it is one dataset."""
    inner = _inner_of(dataset)
    return inner[0].data_prefix.get('img_path') if len(inner) == 1 else None


def _folder_of(photos: Sequence[str], prefix: str | None) -> str | None:
    """Folder of the photos, or the parent of several such folders."""
    common = folder_around({osp.dirname(osp.abspath(photo)) for photo in photos})
    if common is None or not prefix:
        return common
    prefix = osp.abspath(prefix)
    return prefix if folder_around([common, prefix]) == prefix else common


def _labels(sample: SegDataSample, key: str) -> np.ndarray:
    labels = sample.get(key).data
    return labels.reshape(labels.shape[-2:]).long().cpu().numpy()


def _unwrap(model: nn.Module) -> nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
