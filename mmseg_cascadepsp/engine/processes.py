"""Settings for data loading workers and for several processes on CPUs."""

import torch
from mmengine.config import Config
from torch import distributed


def prepare_processes(cfg: Config) -> None:
    """Adapt a config to ``num_workers=0``, and to several processes without GPUs.

    PyTorch refuses ``persistent_workers`` without workers. MMEngine 0.10.7 expects a GPU for each
    process. Without GPUs the processes communicate by gloo, and batch norms are not synchronised,
    because SyncBN needs GPUs.

    Args:
        cfg: Config of a run, which is changed. With ``launcher='pytorch'`` the process must have
            been started by ``torchrun``.

    Example:
        >>> loader = dict(num_workers=0, persistent_workers=True)
        >>> cfg = Config(dict(train_dataloader=loader))
        >>> prepare_processes(cfg)
        >>> cfg.train_dataloader.persistent_workers
        False
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
