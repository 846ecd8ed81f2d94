"""What ``tools/train.py`` looks at before a training starts."""

import os
import os.path as osp
import re
from collections.abc import Iterator, Mapping

from mmengine.config import Config
from mmengine.fileio import isdir
from mmengine.runner import find_latest_checkpoint

from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS
from mmseg_cascadepsp.errors import MissingFileError
from mmseg_cascadepsp.evaluation.folders import ROOT_VARIABLE

DATA_HELP = 'docs/training.md shows what belongs there'


MMENGINE_HOOKS = {
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'
}  # fmt: skip
"""Of these names in ``default_hooks`` MMEngine itself takes None, of no other."""


def read_config(path: str, data_root: str | None = None, options: Mapping | None = None) -> Config:
    """The config of a training.

    Args:
        path: of the file.
        data_root: of the pairs; by default what ``MMSEG_CASCADEPSP_DATA`` holds.
        options: changes, ``dict(key.of.entry=value)``; None takes a hook out.

    Raises:
        OSError: there is no such file.
    """
    if not osp.isfile(path):
        raise MissingFileError(f'config: there is no file {path}')
    root = data_root or os.environ.get(ROOT_VARIABLE)
    if root:
        # MMEngine pastes the value into Python text, and by re.sub, which reads backslashes, too.
        text = root.replace('\\', '\\\\\\\\').replace("'", "\\\\'")
        os.environ[ROOT_VARIABLE] = text
    try:
        cfg = Config.fromfile(path)
    finally:
        if root:
            os.environ[ROOT_VARIABLE] = root
    cfg.merge_from_dict(dict(options or {}))
    hooks = cfg.get('default_hooks', {})
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in MMENGINE_HOOKS:
            del hooks[name]
    return cfg


def last_checkpoint(work_dir: str) -> str | None:
    """What MMEngine's note of the last checkpoint names, also where the folder has been moved
    since; without a note, the checkpoint that has come furthest. None where there is neither,
    empty where a kill has left the note so, which
    :class:`~mmseg_cascadepsp.engine.SafeCheckpointHook` mends.
    """
    if not osp.exists(osp.join(work_dir, 'last_checkpoint')):
        names = os.listdir(work_dir) if osp.isdir(work_dir) else ()
        found = filter(None, (re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', name) for name in names))
        last = max(found, key=lambda match: int(match[1]), default=None)
        return last and osp.join(work_dir, last[0])
    named = find_latest_checkpoint(work_dir)
    if named and not osp.exists(named):
        named = osp.join(work_dir, osp.basename(named))
    return named


def check_data(cfg: Config) -> None:
    """See that the sets of a training and its validation are there, and name all that are not.

    Folders of own photos are left to :class:`~mmseg_cascadepsp.datasets.ClassAgnosticDataset`,
    which has its own sentence.

    Raises:
        FileNotFoundError: Sets are missing; the list says what to download and where to put it.
    """
    missing, data_root = [], None
    for dataloader in ('train_dataloader', 'val_dataloader'):
        for dataset in inner_datasets((cfg.get(dataloader) or {}).get('dataset') or {}):
            root = dataset.get('data_root')
            if dataset.get('type') == 'PaperTrainingSet' and dataset.folder in TRAINING_SETS:
                wanted = TRAINING_SETS[dataset.folder]
                folder = osp.join(root, wanted.folder)
                if not isdir(folder):
                    data_root = root
                    missing.append(
                        f'{folder}: {wanted.title}, {wanted.count:,} pairs; download '
                        f'{wanted.how_to_get}'
                    )
            elif dataset.get('type') != 'ClassAgnosticDataset' and root and not isdir(root):
                missing.append(f'{root}: {cfg.get("data_help", DATA_HELP)}')
    if not missing:
        return
    text = '\n  '.join(['data of this training is missing:', *missing])
    if data_root is not None:
        text += (
            '\nPut the archives into one folder, packed, and run: python tools/dataset_converters/'
            f'prepare_training_data.py FOLDER --data-root {data_root}'
        )
        if isdir(osp.join(data_root, 'train')):
            text += (
                f'\nFor own photos, as {osp.join(data_root, "train")} seems to hold, take '
                'configs/cascadepsp_r50_photos.py.'
            )
    raise MissingFileError(text)


def check_start(cfg: Config) -> None:
    """See that the checkpoint from which a training starts or goes on is there.

    Raises:
        FileNotFoundError: ``load_from`` names a file that does not exist.
    """
    start = cfg.get('load_from')
    if start and '://' not in start and not osp.isfile(start):
        if cfg.get('resume'):
            raise MissingFileError(f'--resume: there is no file {start}')
        raise MissingFileError(
            f'load_from: there is no file {start}, from which this training starts; where another '
            'config makes it, train that first (docs/training.md), or name one by --cfg-options '
            'load_from=FILE'
        )


def inner_datasets(cfg: Mapping) -> Iterator[Mapping]:
    """The data sets inside wrappers."""
    inner = [*cfg.get('datasets', ()), *([cfg['dataset']] if 'dataset' in cfg else ())]
    for dataset in inner:
        yield from inner_datasets(dataset)
    if not inner:
        yield cfg
