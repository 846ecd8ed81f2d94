"""Test (and evaluate) a segmentor with MMEngine, refined or not."""

import argparse
import os
import os.path as osp

from mmseg_cascadepsp.errors import InvalidValueError

from .options import PRECISIONS, add_reading_options
from .running import add_cfg_options, cfg_options, import_package, parser_of

EPILOG = """examples:
  python tools/test.py configs/deeplabv3plus_refined_ade20k.py
      a chained model with its public checkpoint on ADE20K, before and after
  python tools/test.py MY_CONFIG.py MY_CHECKPOINT.pth --refiner lite
      the shipped refiner behind a model of your own, whose config stays as it is
  python tools/test.py MY_CONFIG.py --refiner lite --pred-dir PREDICTIONS
      label maps that some other program wrote for the photos of MY_CONFIG's test set
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument(
        'config', help="config file, of this package, MMSeg's (mmseg::...) or yours"
    )
    parser.add_argument(
        'checkpoint', nargs='?', help="weights of the segmentor (the config's load_from)"
    )
    refinement = parser.add_argument_group('refinement')
    refinement.add_argument(
        '--refiner', metavar='lite|r50|CONFIG', help='put this refiner behind the model'
    )
    refinement.add_argument('--refiner-checkpoint', metavar='FILE', help='weights of the refiner')
    refinement.add_argument(
        '--strategy', help='how label maps are refined: auto (default), scene, semantic, binary'
    )
    add_cfg_options(
        refinement, '--strategy-options', 'arguments of the strategy, e.g. steps=both padding=0.5'
    )
    refinement.add_argument('--precision', choices=PRECISIONS, help='of the refiner (auto)')
    refinement.add_argument(
        '--pred-dir',
        metavar='DIR',
        help="refine label maps or masks in DIR instead of the model's own",
    )
    refinement.add_argument(
        '--pred-ids',
        choices=['dataset', 'index'],
        default='dataset',
        help="how those number the classes: as the set's annotations, or from 0",
    )
    add_reading_options(refinement, 'the files of --pred-dir', exif=False)
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help="folder of the test set, or the one above all sets (the config's)",
    )
    parser.add_argument('--work-dir', help='logs and metrics (work_dirs/<config name>)')
    parser.add_argument(
        '--out', metavar='DIR', help='write the label maps, numbered as the annotations'
    )
    parser.add_argument('--show', action='store_true', help='show prediction results in a window')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='write pictures: before, after, what changed'
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds between pictures of --show'
    )
    add_cfg_options(
        parser,
        '--cfg-options',
        'change settings of the config, before the refiner is put behind the model',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation; refined once')
    # torchrun of older PyTorch passes this.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.strategy_options and args.strategy in (None, 'auto'):
        parser.error('--strategy-options needs a --strategy other than auto')
    if args.tta and args.pred_dir:
        parser.error('--tta augments a model, and --pred-dir takes its place')
    reading = {'mask_values': args.mask_values, 'ignore': args.ignore}
    if not args.pred_dir and reading != dict.fromkeys(reading):
        parser.error('--mask-values and --ignore say how the files of --pred-dir are read')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    import_package()
    from mmseg_cascadepsp.compat.memory import keep_freed_memory

    from . import chaining
    from .configs import read_config

    cfg = read_config(args.config, cfg_options(args.cfg_options))
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    if any(
        (args.refiner, args.refiner_checkpoint, args.strategy, args.pred_dir)
    ) or chaining.is_chained(cfg):
        strategy = args.strategy
        if args.strategy_options:
            strategy = dict(type=strategy, **cfg_options(args.strategy_options))
        chaining.chain(cfg, args.refiner, args.refiner_checkpoint, strategy, args.precision)
    elif args.precision is not None:
        raise InvalidValueError(
            f'--precision is that of a refiner, and {args.config} has none: give --refiner, too.'
        )
    if args.out or args.show_dir:
        chaining.write_results(cfg, args.out, args.show_dir)
    if args.show:
        chaining.draw_pictures(cfg, show=True, wait_time=args.wait_time)
    chaining.check_data(cfg, args.data_root)
    if args.pred_dir:
        chaining.use_stored_predictions(cfg, args.pred_dir, args.pred_ids, **reading)
    else:
        cfg.load_from = chaining.find_checkpoint(cfg, args.checkpoint)
    if args.tta:
        chaining.use_tta(cfg)
    keep_freed_memory()
    chaining.run_test(cfg)
    return 0
