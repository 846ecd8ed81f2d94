"""Train a refiner with MMEngine."""

import argparse
import os
import os.path as osp
import re
from collections.abc import Mapping

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .running import add_cfg_options, cfg_options, import_package, parser_of

DATA_HELP = 'docs/training.md shows what belongs there'
EPILOG = """examples:
  python tools/train.py configs/cascadepsp_lite.py --data-root my_photos
      my_photos/{train,val}/{images,masks}: photos and masks of the same names
  python tools/train.py configs/cascadepsp_lite.py --data-root my_photos --resume
      go on where the last run stopped
  python tools/train.py configs/cascadepsp_lite.py --data-root my_photos --iters 300 --no-val
      a short training without a validation set
  python tools/train.py configs/cascadepsp_r50.py
      the paper's network on the paper's data (docs/training.md)
  python tools/train.py configs/cascadepsp_r50_photos.py --data-root my_photos --amp \\
      --cfg-options train_dataloader.batch_size=4 model.backbone.init_cfg=None
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument('config', help='config file, e.g. configs/cascadepsp_lite.py')
    parser.add_argument(
        '--data-root',
        help='folder of the pairs or of the set, or the one above all sets (else '
        'MMSEG_CASCADEPSP_DATA, else data)',
    )
    parser.add_argument('--work-dir', help='logs and checkpoints (work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from the last checkpoint of the work dir, or from CKPT',
    )
    parser.add_argument(
        '--iters',
        type=int,
        metavar='N',
        help='train for N iterations: the schedule of the config, with warm-up, milestones, '
        'validations and checkpoints, is fitted to them',
    )
    parser.add_argument(
        '--no-val',
        action='store_true',
        help='train without validation: no val/ is needed; the last checkpoint is the result',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision on a GPU')
    parser.add_argument('--seed', type=int, help='seed of all randomness')
    add_cfg_options(
        parser, '--cfg-options', 'change settings of the config, e.g. train_cfg.max_iters=1000'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='for several GPUs',
    )
    # torchrun of older PyTorch passes this.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = build_parser().parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    import_package()
    import torch

    from mmseg_cascadepsp.compat.memory import keep_freed_memory
    from mmseg_cascadepsp.engine import prepare_processes

    from .configs import QuietRunner, read_config
    from .data import use_own_folders
    from .first_loss import FirstLossHook
    from .schedule import set_iterations, without_validation

    options = cfg_options(args.cfg_options)
    if args.iters is not None and 'train_cfg.max_iters' in options:
        raise InvalidValueError('--iters and train_cfg.max_iters say the same: give one of them.')
    cfg = read_config(args.config, options, args.data_root)
    if args.iters is not None:
        set_iterations(cfg, args.iters)
    if args.no_val:
        without_validation(cfg)
    if args.data_root is not None:
        use_own_folders(cfg, args.data_root)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    if args.amp:
        if cfg.optim_wrapper.get('type') == 'BFloat16OptimWrapper':
            raise InvalidValueError(
                f'--amp: {args.config} trains in bfloat16 already; leave it out'
            )
        if not torch.cuda.is_available():
            raise InvalidValueError(
                '--amp needs a GPU, and there is none; on a CPU give '
                '--cfg-options optim_wrapper.type=BFloat16OptimWrapper'
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    last = last_checkpoint(cfg.work_dir) if args.resume == 'auto' else args.resume
    if last is not None:  # or the run begins, from the config's load_from if it has one
        cfg.resume, cfg.load_from = True, last or None
    check_start(cfg)
    check_data(cfg)
    prepare_processes(cfg)
    keep_freed_memory()
    runner = QuietRunner.from_cfg(cfg)
    runner.register_hook(FirstLossHook())
    runner.train()
    return 0


def last_checkpoint(work_dir: str) -> str | None:
    """Find the checkpoint that a training goes on from.

    Args:
        work_dir: Folder of the training.

    Returns:
        What MMEngine's note of the last checkpoint names, even if the folder has been moved since.
        Without a note it is the checkpoint of the most iterations. None if there is neither. Empty
        if a kill left the note empty, which
        :class:`~mmseg_cascadepsp.engine.SafeCheckpointHook` mends.
    """
    if not osp.exists(osp.join(work_dir, 'last_checkpoint')):
        names = os.listdir(work_dir) if osp.isdir(work_dir) else ()
        found = filter(None, (re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', name) for name in names))
        last = max(found, key=lambda match: int(match[1]), default=None)
        return last and osp.join(work_dir, last[0])
    from mmengine.runner import find_latest_checkpoint

    named = find_latest_checkpoint(work_dir)
    if named and not osp.exists(named):
        named = osp.join(work_dir, osp.basename(named))
    return named


def check_data(cfg: Mapping) -> None:
    """See that the sets of a training and its validation are there, and name all that are not.

    Folders of own photos are left to :class:`~mmseg_cascadepsp.datasets.ClassAgnosticDataset`,
    which has its own sentence.

    Raises:
        MissingFileError: Sets are missing. The list says what to download and where to put it.
    """
    from mmengine.fileio import isdir

    from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS

    from .configs import inner_datasets

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


def check_start(cfg: Mapping) -> None:
    """See that the checkpoint from which a training starts or goes on is there.

    Raises:
        MissingFileError: ``load_from`` names a file that does not exist.
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
