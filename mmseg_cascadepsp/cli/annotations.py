"""Refine an annotation set: COCO, YOLO, LabelMe, CVAT, PASCAL VOC, Cityscapes or label maps in,
the same set with better outlines out; a GeoTIFF of classes in, GeoJSON or GeoPackage out.
"""

import argparse
import os
import sys
from pathlib import Path

from mmseg_cascadepsp.kernels import FEW_KERNELS

from .options import add_keep_option, add_ray_option, add_refiner_options
from .running import command_digest, import_package, parser_of

EPILOG = """\
examples:
  a COCO file, with a page that shows every object before and after:
    python tools/refine_annotations.py instances.json --images photos -o refined.json \\
      --report report.html

  YOLO (data.yaml, or a folder of labels), LabelMe, CVAT for images 1.1:
    python tools/refine_annotations.py data.yaml -o refined
    python tools/refine_annotations.py labelme -o refined
    python tools/refine_annotations.py annotations.xml --images photos -o refined.xml

  PASCAL VOC, Cityscapes, a folder of label maps:
    python tools/refine_annotations.py VOC2012 -o refined
    python tools/refine_annotations.py gtFine --images leftImg8bit -o refined
    python tools/refine_annotations.py labels --images photos -o refined

  a GeoTIFF of classes, as polygons:
    python tools/refine_annotations.py classes.tif --images orthophoto.tif -o classes.geojson
    python tools/refine_annotations.py classes.tif --images orthophoto.tif -o classes.gpkg

  read everything, name what is broken, and write the set as it is:
    python tools/refine_annotations.py instances.json --images photos -o same.json --dry-run

  several processes, or GPUs:
    torchrun --nproc-per-node 2 tools/refine_annotations.py instances.json --images photos \\
      -o refined.json
    python tools/refine_annotations.py instances.json --images photos -o refined.json --ray 16

  scores before and after, where true outlines are known:
    python tools/refine_annotations.py instances.json --images photos -o refined.json \\
      --truth true.json

only outlines change, and what follows. After an interruption the same command goes on."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument('annotations', help='file or folder; its format is recognised')
    parser.add_argument(
        '--images',
        metavar='PATH',
        help='folder of the photos, or photo of a GeoTIFF (default: where the format has them)',
    )
    parser.add_argument('-o', '--out', required=True, help='a file for a file, else a folder')
    parser.add_argument('--report', metavar='HTML', help='page with every object before and after')
    parser.add_argument('--truth', metavar='SET', help='true annotations, for scores')
    how = parser.add_argument_group('what becomes of objects')
    how.add_argument(
        '--simplify',
        type=float,
        metavar='PIXELS',
        help='polygons get as few points as keep them so near to the refined outline; 0: every '
        'corner (default: 0.5)',
    )
    how.add_argument(
        '--overlap',
        choices=('resolve', 'keep'),
        help='a pixel that two refined objects claim and neither had: the surer one takes it, or '
        'both have it (default: resolve)',
    )
    how.add_argument(
        '--max-change',
        type=float,
        metavar='SHARE',
        help='objects that would change more (1 - IoU of old and new) keep their outline and are '
        'listed; 1: none (default: 0.5)',
    )
    how.add_argument(
        '--min-sureness',
        type=float,
        metavar='SHARE',
        help='objects of whose change the refiner is less sure, 0 to 1, keep their outline and '
        'are listed; 0: none (default: 0.35)',
    )
    how.add_argument(
        '--min-gain',
        type=float,
        metavar='SHARE',
        help='objects of which the refiner expects less gain (change times sureness) keep their '
        'outline; 0: none (default: 0.02, of label maps and GeoTIFF 0)',
    )
    how.add_argument(
        '--min-side',
        type=int,
        metavar='PIXELS',
        help='objects with a shorter longer side stay (default: 8)',
    )
    add_keep_option(how)
    how.add_argument('--dry-run', action='store_true', help='read everything, refine nothing')
    refiner = parser.add_argument_group('the refiner')
    add_refiner_options(refiner)
    refiner.add_argument(
        '--region',
        default='auto',
        choices=('auto', 'object', 'photo'),
        help='what the network sees: auto: a region around the object in photos larger than L, '
        'else the whole photo; object: a region always, several times quicker where photos are '
        'small and have many objects, but it mends less of what an outline lacks (default: auto)',
    )
    refiner.add_argument('--L', type=int, default=900, metavar='N', help='see refine.py')
    add_ray_option(parser)
    parser.add_argument('--overwrite', action='store_true', help='write over a result')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = build_parser().parse_args(argv)
    from mmseg_cascadepsp.files.finished import FinishedRun
    from mmseg_cascadepsp.files.paths import hidden_beside

    places = ('annotations', 'images', 'out', 'report', 'truth')
    asked = command_digest(
        args,
        (*places, 'ray', 'overwrite'),
        [os.path.abspath(place) if (place := getattr(args, name)) else None for name in places],
    )
    done = FinishedRun(Path(args.out)).told(asked=asked)
    if done and not args.overwrite and not hidden_beside(args.out, 'partial').exists():
        return _tell(args, done['said'], done['failed'], True)
    for name, value in FEW_KERNELS.items():
        os.environ.setdefault(name, value)
    import_package()
    from rich.console import Console

    from mmseg_cascadepsp import apis
    from mmseg_cascadepsp.annotations import open_annotations, refine_annotations

    open_annotations(args.annotations, args.images)  # before a model is loaded or fetched
    names = ('simplify', 'overlap', 'max_change', 'min_sureness', 'min_gain', 'min_side')
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options |= {
        name: getattr(args, name)
        for name in ('out', 'images', 'report', 'truth', 'dry_run', 'overwrite')
    }
    options |= {'asked': asked, 'console': Console(stderr=True, soft_wrap=True)}
    names = ('model', 'checkpoint', 'device', 'precision', 'L', 'region', 'keep_accurate')
    refiner = {name: value for name in names if (value := getattr(args, name)) is not None}
    try:
        if args.ray is not None:
            gpus = int((args.device or '').startswith('cuda'))
            from mmseg_cascadepsp.apis.ray_annotations import refine_annotations_with_ray

            report = refine_annotations_with_ray(
                refiner, args.annotations, workers=args.ray, gpus=gpus, **options
            )
        else:
            apis.join_processes()
            made = None
            if not args.dry_run:
                apis.keep_freed_memory()
                made = apis.Refiner(**refiner)
            report = refine_annotations(made, args.annotations, **options)
    except KeyboardInterrupt:
        print('interrupted; the same command goes on where it stopped.', file=sys.stderr)
        return 130
    return _tell(args, report.told(), report.failed, report.was_there)


def _tell(args: argparse.Namespace, said: list[str], failed: bool, was_there: bool) -> int:
    """Print what a run did; returns the exit status."""
    if os.environ.get('RANK', '0') != '0':  # the first process of torchrun tells
        return 0
    note = ' was there already, and nothing is left to do' if was_there else ''
    print('\n'.join([*said[:-1], f'{said[-1]}: {args.out}{note}']))
    return 1 if failed else 0
