"""What surrounds a test of a refined segmentor: checks before it, files after it."""

import os
import os.path as osp
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePath

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_cascadepsp.evaluation.metrics.samples import numbered
from mmseg_cascadepsp.models.segmentors import RefinedSegmentor, StoredPredictions
from mmseg_cascadepsp.models.segmentors.original_pixels import original_pixels
from mmseg_cascadepsp.utils import write_image, write_png
from mmseg_cascadepsp.visualization import before_after_change


@HOOKS.register_module()
class RefinedResultsHook(Hook):
    """Tell a :class:`~mmseg_cascadepsp.models.RefinedSegmentor` the dataset's classes, check that
    checkpoint and stored predictions fit, and write results.

    Args:
        out_dir: Folder of the refined label maps: PNG of the photo's name, numbered as the
            dataset's annotations (masks of single objects: 0 and 255). None: none are written.
        show_dir: Folder of pictures of three panels: before, after, what changed.
    """

    def __init__(self, out_dir: str | None = None, show_dir: str | None = None) -> None:
        self.out_dir, self.show_dir = out_dir, show_dir
        self._meta, self._root = {}, None
        self._writer = ThreadPoolExecutor(1)
        self._written: Future | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """See that the checkpoint has every weight of the segmentor; MMEngine would only warn.

        Raises:
            ValueError: Weights are missing or of another shape.
        """
        model = _unwrap(runner.model)
        if not isinstance(model, RefinedSegmentor):
            return
        saved = checkpoint.get('state_dict', checkpoint)
        saved = {
            key.removeprefix('module.').removeprefix('segmentor.'): value
            for key, value in saved.items()
        }
        own = dict(model.segmentor.named_parameters())
        wrong = [
            key
            for key, value in own.items()
            if not key.startswith('auxiliary_head')
            and (key not in saved or saved[key].shape != value.shape)
        ]
        if wrong:
            raise ValueError(
                f'the checkpoint does not fit the segmentor: {len(wrong)} of its {len(own)} '
                f'weights are missing or of another shape, first {wrong[0]}; '
                'it belongs to another config'
            )

    def before_test(self, runner: Runner) -> None:
        """Hand over the classes; look for the predictions of all photos."""
        dataset = runner.test_dataloader.dataset
        self._meta = dict(getattr(dataset, 'metainfo', {}))
        self._root = getattr(dataset, 'data_prefix', {}).get('img_path')
        model = _unwrap(runner.model)
        if not isinstance(model, RefinedSegmentor):
            return
        model.dataset_meta = self._meta
        stored = model.segmentor
        if isinstance(stored, StoredPredictions):
            stored.num_classes = len(self._meta.get('classes', ())) or stored.num_classes
            stored.label_map = self._meta.get('label_map') or stored.label_map
            stored.check([dataset.get_data_info(i)['img_path'] for i in range(len(dataset))])

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: list[SegDataSample] | None = None,
    ) -> None:
        """Write the results of a batch, while the next one is refined."""
        self._settle()
        if outputs and (self.out_dir or self.show_dir):
            self._written = self._writer.submit(self._write, outputs)

    def _settle(self) -> None:
        """Wait for what is being written; its errors are raised here."""
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
                    osp.join(self.out_dir, name + '.png'), numbered(labels, sample, self._meta)
                )
            if self.show_dir and 'pred_sem_seg_coarse' in sample:
                photo = original_pixels(sample, labels.shape).permute(1, 2, 0).numpy()
                palette = None if single else np.array(self._meta['palette'], np.uint8)
                picture = before_after_change(
                    photo, _labels(sample, 'pred_sem_seg_coarse'), labels, palette=palette
                )
                write_image(osp.join(self.show_dir, name + '.jpg'), picture)

    def after_test(self, runner: Runner) -> None:
        """Finish writing, say where the files are."""
        self._settle()
        for what, folder in (('label maps', self.out_dir), ('pictures', self.show_dir)):
            if folder:
                print_log(f'{what} are in {osp.abspath(folder)}', logger='current')

    def _name(self, img_path: str) -> str:
        """Path inside the dataset's folder of photos, without suffix."""
        path = osp.relpath(img_path, self._root) if self._root else osp.basename(img_path)
        if path.startswith(os.pardir):
            path = osp.basename(img_path)
        return str(PurePath(path).with_suffix(''))


def _labels(sample: SegDataSample, key: str) -> np.ndarray:
    labels = sample.get(key).data
    return labels.reshape(labels.shape[-2:]).long().cpu().numpy()


def _unwrap(model: nn.Module) -> nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
