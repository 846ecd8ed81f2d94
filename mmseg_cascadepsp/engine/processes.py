"""Several processes on machines without a GPU."""

import torch
from mmengine.config import Config
from torch import distributed


def prepare_processes(cfg: Config) -> None:
    """Let a config of several processes run where there is no GPU; with GPUs it stays as it is.

    MMEngine 0.10.7 chooses a GPU for each process and hands it to DistributedDataParallel. Here
    the processes talk by gloo, and batch norms stay apart, since SyncBN is for GPUs only.

    Args:
        cfg: with ``launcher='pytorch'``, under ``torchrun``; it is changed.
    """
    if cfg.get('launcher') != 'pytorch' or torch.cuda.is_available():
        return
    cfg.sync_bn = None
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    if not distributed.is_initialized():
        distributed.init_process_group('gloo')
