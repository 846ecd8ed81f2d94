"""Processes of training and testing: of data loading, and several without a GPU."""

import torch
from mmengine.config import Config
from torch import distributed


def prepare_processes(cfg: Config) -> None:
    """Let a config run with ``num_workers=0``, and one of several processes without a GPU.

    PyTorch refuses ``persistent_workers``, which configs set, where there are no workers.
    MMEngine 0.10.7 chooses a GPU for each process and hands it to DistributedDataParallel. Here,
    where there is none, the processes talk by gloo, and batch norms stay apart, since SyncBN is
    for GPUs only.

    Args:
        cfg: of several processes with ``launcher='pytorch'``, under ``torchrun``; it is changed.
    """
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataloader = cfg.get(name)
        if dataloader and dataloader.get('num_workers') == 0:
            dataloader.persistent_workers = False
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
