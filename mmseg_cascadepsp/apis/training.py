"""What ``tools/train.py`` looks at before a training starts."""

import os.path as osp
from collections.abc import Iterator, Mapping

from mmengine.config import Config
from mmengine.fileio import isdir

from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS

DATA_HELP = 'docs/training.md shows what belongs there'


def check_data(cfg: Config) -> None:
    """See that the sets of a training and its validation are there, and name all that are not.

    Folders of own photos are left to :class:`~mmseg_cascadepsp.datasets.ClassAgnosticDataset`,
    which has its own sentence.

    Raises:
        FileNotFoundError: Sets are missing; the list says what to download and where to put it.
    """
    missing, data_root = [], None
    for dataloader in ('train_dataloader', 'val_dataloader'):
        for dataset in _datasets((cfg.get(dataloader) or {}).get('dataset') or {}):
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
    raise FileNotFoundError(text)


def _datasets(cfg: Mapping) -> Iterator[Mapping]:
    """The data sets inside wrappers."""
    inner = [*cfg.get('datasets', ()), *([cfg['dataset']] if 'dataset' in cfg else ())]
    for dataset in inner:
        yield from _datasets(dataset)
    if not inner:
        yield cfg
