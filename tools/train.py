"""Train a refiner: python tools/train.py CONFIG --data-root DATA"""

import argparse
import os
import os.path as osp
import sys

import torch
from mmengine.config import DictAction
from mmengine.runner import Runner

import mmseg_cascadepsp  # noqa: F401 (registers everything)
from mmseg_cascadepsp.apis import keep_freed_memory
from mmseg_cascadepsp.cli.testing import sentence_of
from mmseg_cascadepsp.cli.training import check_data, check_start, last_checkpoint, read_config
from mmseg_cascadepsp.engine import TrainingCollapsedError, prepare_processes

EPILOG = """examples:
  python tools/train.py configs/cascadepsp_lite.py --data-root my_photos
      my_photos/{train,val}/{images,masks}: photos and masks of the same names
  python tools/train.py configs/cascadepsp_lite.py --data-root my_photos --resume
      go on where the last run stopped
  python tools/train.py configs/cascadepsp_r50.py
      the paper's network on the paper's data (docs/training.md)
  python tools/train.py configs/cascadepsp_r50_photos.py --data-root my_photos --amp \\
      --cfg-options train_dataloader.batch_size=4 model.backbone.init_cfg=None
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a refiner with MMEngine.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file, e.g. configs/cascadepsp_lite.py')
    parser.add_argument(
        '--data-root', help='folder of the pairs (else MMSEG_CASCADEPSP_DATA, else data)'
    )
    parser.add_argument('--work-dir', help='logs and checkpoints (work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from the last checkpoint of the work dir, or from CKPT',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision on a GPU')
    parser.add_argument('--seed', type=int, help='seed of all randomness')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. train_cfg.max_iters=1000',
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
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.data_root, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    )
    if args.amp:
        if cfg.optim_wrapper.get('type') == 'BFloat16OptimWrapper':
            sys.exit(f'error: --amp: {args.config} trains in bfloat16 already; leave it out')
        if not torch.cuda.is_available():
            sys.exit(
                'error: --amp needs a GPU, and there is none; on a CPU give '
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
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    try:
        main()
    except Exception as error:
        sentence = str(error) if isinstance(error, TrainingCollapsedError) else sentence_of(error)
        if sentence is None:
            raise
        sys.exit(f'error: {sentence}')
