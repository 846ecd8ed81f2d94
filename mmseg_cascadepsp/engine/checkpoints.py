"""Checkpoints that are whole or not there."""

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
    """MMEngine's files on a disk; what is put appears under its name once all of it is there."""

    def put(self, obj: bytes, filepath: str) -> None:
        """Write bytes to a file; its folder is made if missing."""
        with atomic_open(filepath) as file:
            file.write(obj)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's checkpoints, of which a whole one is there at every moment after the first.

    Each is written to a temporary file that is moved into place, and what it replaces goes
    afterwards; MMEngine writes in place and removes first.

    Args:
        args: see :class:`mmengine.hooks.CheckpointHook`, as ``kwargs``.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.backend_args is None and '://' not in str(self.out_dir):
            self.backend_args = dict(backend='atomic')

    def before_run(self, runner: Runner) -> None:
        """Before a run is resumed: clear away what a kill left behind.

        Half-written files go. ``last_checkpoint``, which names the checkpoint to resume from and
        which MMEngine writes in place, is written again where it lacks the name.
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
        """Make up for a validation that was due when the run was stopped: the checkpoint is there
        before it. At worst it is made twice.
        """
        super().before_train(runner)
        loop = runner.train_loop
        if (
            isinstance(loop, IterBasedTrainLoop)  # another's val_interval counts epochs
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
        """Files that MMEngine removes in this block go at its end, unless written again."""
        backend, removed = self.file_backend, []
        self.file_backend = copy(backend)
        self.file_backend.remove = removed.append
        try:
            yield
        finally:
            self.file_backend = backend
        # A validation that is made up for may give the best checkpoint the name it had.
        best = [getattr(self, 'best_ckpt_path', None)]
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        kept = {osp.realpath(path) for path in (*best, self.last_ckpt) if path}
        for path in removed:
            if osp.realpath(path) not in kept:
                backend.remove(path)
