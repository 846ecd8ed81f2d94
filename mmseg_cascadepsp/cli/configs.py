"""Configs of MMEngine as command lines read them, and runners that say what matters."""

import logging
import os
import os.path as osp
from collections.abc import Iterator, Mapping

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmseg_cascadepsp.errors import MissingFileError
from mmseg_cascadepsp.evaluation.folders import ROOT_VARIABLE

#: Of these names in ``default_hooks`` MMEngine itself takes None, of no other.
MMENGINE_HOOKS = {
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'
}  # fmt: skip


def read_config(path: str, options: Mapping | None = None, data_root: str | None = None) -> Config:
    """Read a config file, or one of a package such as
    ``mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py``.

    Args:
        path: Of the file.
        options: Changes, ``{'key.of.entry': value}``; None takes a hook out.
        data_root: Folder that configs of this package look for data in; by default what
            ``MMSEG_CASCADEPSP_DATA`` holds.

    Raises:
        MissingFileError: There is no such file.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import find_config
        >>> read_config(str(find_config('cascadepsp_lite.py'))).model.type
        'CascadePSP'
    """
    if '::' not in path and not osp.isfile(path):
        raise MissingFileError(f'config: there is no file {path}')
    root = data_root or os.environ.get(ROOT_VARIABLE)
    if root:
        # MMEngine pastes the value into Python text, and by re.sub, which reads backslashes, too.
        text = root.replace('\\', '\\\\\\\\').replace("'", "\\\\'")
        os.environ[ROOT_VARIABLE] = text
    try:
        cfg = get_config(path) if '::' in path else Config.fromfile(path)
    finally:
        if root:
            os.environ[ROOT_VARIABLE] = root
    cfg.merge_from_dict(dict(options or {}))
    hooks = cfg.get('default_hooks', {})
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in MMENGINE_HOOKS:
            del hooks[name]
    return cfg


def type_of(cfg: Mapping) -> str:
    """Name of the class that a config builds, without scope.

    Example:
        >>> type_of({'type': 'mmseg.EncoderDecoder'})
        'EncoderDecoder'
    """
    name = cfg.get('type', '')
    return (name if isinstance(name, str) else name.__name__).rpartition('.')[2]


def inner_datasets(cfg: Mapping) -> Iterator[Mapping]:
    """The data sets inside wrappers.

    Example:
        >>> inner = {'type': 'BIGDataset'}
        >>> list(inner_datasets({'type': 'RepeatDataset', 'dataset': inner})) == [inner]
        True
    """
    inner = [*cfg.get('datasets', ()), *([cfg['dataset']] if 'dataset' in cfg else ())]
    for dataset in inner:
        yield from inner_datasets(dataset)
    if not inner:
        yield cfg


def is_remote(path: str) -> bool:
    """Whether a path is an address that MMEngine's file backends read, and no local folder.

    Example:
        >>> is_remote('s3://bucket/ade'), is_remote('data/ade')
        (True, False)
    """
    return '://' in path


class _Short(logging.Filter):
    """Keeps what is longer than a few lines, such as the whole config, to the log file."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.getMessage().count('\n') < 6


class QuietRunner(Runner):
    """MMEngine's Runner, whose console says what matters while it is built.

    The config, the environment and the list of hooks go to the log file alone.
    """

    def build_logger(self, *args, **kwargs):
        """See MMEngine."""
        logger = super().build_logger(*args, **kwargs)
        self._short = _Short()
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(self._short)
        return logger

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'QuietRunner':
        """See MMEngine."""
        runner = super().from_cfg(cfg)
        for handler in runner.logger.handlers:
            handler.removeFilter(runner._short)
        count = sum(value.numel() for value in runner.model.parameters())
        device = next((value.device for value in runner.model.parameters()), 'cpu')
        print_log(
            f'{type_of(cfg.model)}, {count / 1e6:.1f} M parameters, on {device}; config, '
            f'environment and log are in {runner.log_dir}',
            logger='current',
        )
        return runner
