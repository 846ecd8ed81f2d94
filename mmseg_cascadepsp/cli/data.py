"""Where the data sets of a config are, and what of them is missing."""

import os.path as osp
from collections.abc import Mapping

from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets import ClassAgnosticDataset
from mmseg_cascadepsp.errors import InvalidValueError

from .configs import inner_datasets, is_remote


def missing_of(dataset: Mapping, root: str | None) -> list[str]:
    """Folders and files of a set that are not there. Addresses are left to MMEngine.

    Args:
        dataset: Config of the set.
        root: Where it is looked for.

    Returns:
        Their paths.

    Raises:
        InvalidValueError: The type of the set is not registered.

    Example:
        >>> dataset = {'type': 'BIGDataset', 'data_prefix': {'img_path': 'photos'}}
        >>> missing_of(dataset, 'nowhere'), missing_of(dataset, 's3://bucket/big')
        (['nowhere', 'nowhere/photos'], [])
    """
    if root and is_remote(root):
        return []
    folders = []
    # Their own dataset looks for sets side by side in sub-folders, and tells what is missing.
    if not _is_class_agnostic(dataset):
        folders = [
            osp.join(root or '', folder)
            for folder in dataset.get('data_prefix', {}).values()
            if folder is not None
        ]
    wanted = ([root] if root else []) + folders
    missing = [folder for folder in wanted if not is_remote(folder) and not osp.isdir(folder)]
    if dataset.get('ann_file') and not missing:
        files = [osp.join(root or '', dataset['ann_file'])]
        missing = [file for file in files if not osp.exists(file)]
    return missing


def choose_root(dataset: Mapping, root: str, below: str) -> str:
    """Tell by what is there whether ``--data-root`` is the folder of a set or the one above all
    sets.

    Args:
        dataset: Config of the set.
        root: What was given.
        below: The folder of the set if ``root`` is the one above.

    Returns:
        ``root`` or ``below``.

    Raises:
        InvalidValueError: Both hold the set.

    Example:
        >>> choose_root({'type': 'BIGDataset'}, 's3://bucket/big', 's3://bucket/big/big')
        's3://bucket/big'
    """
    if is_remote(root) or osp.normpath(root) == osp.normpath(below) or not osp.isdir(below):
        return root
    whole = [folder for folder in (root, below) if not missing_of(dataset, folder)]
    if len(whole) == 2 and not _is_class_agnostic(dataset):
        raise InvalidValueError(
            f'--data-root: both {root} and {below} hold what looks like the set; name the one '
            'that is meant by its whole path, and move the other'
        )
    return below if whole == [below] else root


def use_own_folders(cfg: Mapping, root: str) -> None:
    """Let a training's ``--data-root`` be the folder of a set, where a config made for the folder
    above all sets finds none.

    Sets of photos and masks, and those of the paper, are left to their own classes.

    Args:
        cfg: The config, read with ``root`` as the folder above all sets, changed in place.
        root: What was given.

    Raises:
        InvalidValueError: Both folders hold the set.
    """
    for loader in ('train_dataloader', 'val_dataloader'):
        for dataset in inner_datasets((cfg.get(loader) or {}).get('dataset') or {}):
            below = dataset.get('data_root')
            if not below or is_remote(root) or _is_class_agnostic(dataset):
                continue
            if not missing_of(dataset, root):
                dataset['data_root'] = choose_root(dataset, root, below)


def _is_class_agnostic(dataset: Mapping) -> bool:
    kind = dataset['type']
    kind = kind if isinstance(kind, type) else DATASETS.get(kind)
    if kind is None:
        raise InvalidValueError(
            f'dataset {dataset["type"]} is not registered; name its module in custom_imports'
        )
    return issubclass(kind, ClassAgnosticDataset)
