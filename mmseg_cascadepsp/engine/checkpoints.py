"""Checkpoints that survive a killed training."""

import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from glob import escape, glob
from os import remove

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner, find_latest_checkpoint
from mmseg.registry import HOOKS

from mmseg_cascadepsp.files import atomic_open


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """MMEngine's backend for local files, which writes files atomically.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     AtomicBackend().put(b'weights', f'{folder}/a.pth')
        ...     AtomicBackend().get(f'{folder}/a.pth')
        b'weights'
    """

    def put(self, obj: bytes, filepath: str) -> None:
        """Write a file. Its folder is created if necessary.

        Args:
            obj: Content of the file.
            filepath: File to write.
        """
        with atomic_open(filepath) as file:
            file.write(obj)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook that keeps a complete checkpoint at every moment.

    A checkpoint is written to a temporary file and moved into place. Only then the previous one is
    removed. MMEngine removes the previous one first.

    Args:
        args, kwargs: See :class:`mmengine.hooks.CheckpointHook`.

    Example:
        >>> SafeCheckpointHook(interval=100).backend_args
        {'backend': 'atomic'}
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.backend_args is None and '://' not in str(self.out_dir):
            self.backend_args = dict(backend='atomic')

    def before_run(self, runner: Runner) -> None:
        """Clean up after a run that was killed.

        Half-written files are removed. The file ``last_checkpoint``, which names the checkpoint to
        resume from, is written again if it is empty.
        """
        if is_main_process() and '://' not in str(self.out_dir):
            folder = runner.work_dir
            if self.out_dir not in (None, folder):
                folder = osp.join(self.out_dir, osp.basename(osp.normpath(folder)))
            for path in glob(osp.join(escape(folder), '.*.pth.*.tmp')):
                remove(path)
            names = osp.join(escape(folder), self.filename_tmpl.format('*'))
            found = sorted(glob(names), key=osp.getmtime)
            last = osp.join(runner.work_dir, 'last_checkpoint')
            if found and osp.exists(last) and not find_latest_checkpoint(runner.work_dir):
                with atomic_open(last) as file:
                    file.write(found[-1].encode())
        barrier()

    def before_train(self, runner: Runner) -> None:
        """Run the validation that was due when the run was stopped.

        Checkpoints are written before a validation, so it may have been missed. If it was
        complete, it runs a second time.
        """
        super().before_train(runner)
        loop = runner.train_loop
        if (
            isinstance(loop, IterBasedTrainLoop)  # in other loops val_interval counts epochs
            and runner.val_loop is not None
            and runner.iter >= max(loop.val_begin, 1)
            and (runner.iter == loop.max_iters or runner.iter % loop.val_interval == 0)
        ):
            runner.val_loop.run()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Delay the removal of files to the end of the block, and keep those written again."""
        backend, removed = self.file_backend, []
        self.file_backend = copy(backend)
        self.file_backend.remove = removed.append
        try:
            yield
        finally:
            self.file_backend = backend
        # A repeated validation may write the best checkpoint under the same name.
        best = [getattr(self, 'best_ckpt_path', None)]
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        kept = {osp.realpath(path) for path in (*best, self.last_ckpt) if path}
        for path in removed:
            if osp.realpath(path) not in kept:
                backend.remove(path)
