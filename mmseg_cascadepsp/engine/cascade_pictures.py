"""Pictures of training, for TensorBoard."""

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_cascadepsp.visualization import cascade_panels

from .cascade_recorder import CascadeRecorder


@HOOKS.register_module()
class CascadePicturesHook(Hook):
    """Show inputs and outputs of the network in regular intervals of a training.

    Each picture shows the photo, the coarse mask, all outputs of all passes (six in the cascade of
    the paper) and the ground truth. ``TensorboardVisBackend`` shows it under *images*, and
    ``LocalVisBackend`` writes it as PNG.

    Args:
        interval: Number of iterations between two pictures, 800 in the release.
        samples: Number of crops of the batch to show.
        side: Longer side of each panel in pixels.

    Example:
        >>> CascadePicturesHook(interval=100).samples
        4
    """

    def __init__(self, interval: int = 800, samples: int = 4, side: int = 160) -> None:
        self.interval, self.samples, self.side = interval, samples, side
        self._recorder: CascadeRecorder | None = None

    def before_train(self, runner: Runner) -> None:
        """Find the refiner."""
        self._recorder = CascadeRecorder(runner.model)

    @master_only
    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Record this iteration if a picture is due."""
        if self.every_n_train_iters(runner, self.interval):
            self._recorder.start()

    @master_only
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Show the picture."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        self._recorder.stop()
        images = self._recorder.rgb()[: self.samples].cpu().numpy()
        passes = [
            {
                stride: logits[: self.samples, 0].float().sigmoid().cpu().numpy()
                for stride, logits in one.items()
            }
            for one in self._recorder.passes
        ]
        height, width = images.shape[1:3]
        masks = {}
        for key in ('coarse_mask', 'gt_sem_seg'):
            masks[key] = torch.zeros(len(images), height, width, dtype=torch.uint8)
            for mask, sample in zip(masks[key], data_batch['data_samples'], strict=False):
                data = sample.get(key).data[0]
                mask[: data.shape[0], : data.shape[1]] = data
        picture = cascade_panels(
            images, masks['coarse_mask'].numpy(), passes, masks['gt_sem_seg'].numpy(), self.side
        )
        runner.visualizer.add_image('cascade', picture, step=runner.iter + 1)
