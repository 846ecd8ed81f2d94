"""Configs of MMEngine as command lines read them, and runners that say what matters."""

import logging
import os
import os.path as osp
from collections.abc import Iterator, Mapping

from mmengine.config import Config
from mmengine.logging import MMLogger, print_log
from mmengine.runner import Runner

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError
from mmseg_cascadepsp.evaluation.folders import ROOT_VARIABLE
from mmseg_cascadepsp.models.refiner.configs import building, load_config

#: MMEngine takes None for these names in ``default_hooks``, and for no other.
MMENGINE_HOOKS = {
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'
}  # fmt: skip
#: Beginnings of messages that the console leaves out.
DUMPS = (
    'System environment:',
    'Config:',
    'Hooks will be executed',
    'paramwise_options',
    'Using env variable',
    'Distributed training is not used',
    'The prefix is not set in metric class',
    'Exp name:',
    '"FileClient" will be deprecated',  # said by MMEngine of its own hooks
    '"HardDiskBackend" is the alias',
)


def read_config(path: str, options: Mapping | None = None, data_root: str | None = None) -> Config:
    """Read a config file, or one of a package such as
    ``mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py``.

    Args:
        path: The file.
        options: Changes, ``{'key.of.entry': value}``. None takes a hook out.
        data_root: Folder that configs of this package look for data in. By default it is what
            ``MMSEG_CASCADEPSP_DATA`` holds.

    Returns:
        The config.

    Raises:
        MissingFileError: There is no such file.
        InvalidValueError: The config has a mistake, or no model.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import find_config
        >>> read_config(str(find_config('cascadepsp_lite.py'))).model.type
        'CascadePSP'
    """
    if '::' not in path and not osp.isfile(path):
        raise MissingFileError(f'config: there is no file {path}')
    _quieten(MMLogger.get_current_instance())
    root = data_root or os.environ.get(ROOT_VARIABLE)
    if root:
        # MMEngine pastes the value into Python text, and by re.sub, which reads backslashes, too.
        text = root.replace('\\', '\\\\\\\\').replace("'", "\\\\'")
        os.environ[ROOT_VARIABLE] = text
    try:
        cfg = load_config(path)
    finally:
        if root:
            os.environ[ROOT_VARIABLE] = root
    with building(f'the config {path} with the given options'):
        cfg.merge_from_dict(dict(options or {}))
    if not isinstance(cfg.get('model'), Mapping):
        raise InvalidValueError(f'config {path} has no model.')
    hooks = cfg.get('default_hooks') or {}
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


class _NoDumps(logging.Filter):
    """Keeps to the log file what MMEngine says at length, or of every weight."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().lstrip('\n-').startswith(DUMPS)


def _quieten(logger: logging.Logger) -> None:
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.addFilter(_NoDumps())


class QuietRunner(Runner):
    """MMEngine's Runner, whose console says what matters.

    The config, the environment, the list of hooks and the settings of single weights go to the log
    file alone.
    """

    def build_logger(self, *args, **kwargs):
        """See MMEngine."""
        logger = super().build_logger(*args, **kwargs)
        _quieten(logger)
        return logger

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'QuietRunner':
        """See MMEngine."""
        with building(f'the run of {cfg.filename}'):
            runner = super().from_cfg(cfg)
        weights = list(runner.model.parameters())
        count = sum(weight.numel() for weight in weights)
        for line in (
            f'data: {", ".join(data_roots(cfg))}',
            f'model: {type_of(cfg.model)}, {count / 1e6:.1f} M parameters',
            f'device: {weights[0].device if weights else "cpu"}',
            f'log, config and environment: {runner.log_dir}',
        ):
            print_log(line, logger='current')
        return runner

    def build_train_loop(self, loop):
        """See MMEngine."""
        with building('train_dataloader or train_cfg'):
            return super().build_train_loop(loop)

    def build_val_loop(self, loop):
        """See MMEngine."""
        with building('val_dataloader, val_evaluator or val_cfg'):
            return super().build_val_loop(loop)

    def build_test_loop(self, loop):
        """See MMEngine."""
        with building('test_dataloader, test_evaluator or test_cfg'):
            return super().build_test_loop(loop)


def data_roots(cfg: Mapping) -> list[str]:
    """Where the data of a run lie, each folder once.

    Example:
        >>> dataset = {'type': 'BIGDataset', 'data_root': 'data/big'}
        >>> data_roots({'test_dataloader': {'dataset': dataset}})
        ['data/big']
    """
    loaders = (cfg.get(f'{kind}_dataloader') or {} for kind in ('train', 'val', 'test'))
    sets = (each for loader in loaders for each in inner_datasets(loader.get('dataset') or {}))
    return list(dict.fromkeys(each['data_root'] for each in sets if each.get('data_root')))
