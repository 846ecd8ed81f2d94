"""Measure a refiner on photos, true masks and coarse masks: IoU and mBA before and after.

python tools/measure.py --images DIR --masks DIR --coarse DIR
python tools/measure.py --root DATA_ROOT --baselines grabcut,guided
"""

import argparse
import importlib.util
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mmseg_cascadepsp.cascade import check_crop_size
from mmseg_cascadepsp.evaluation import boundary_radii, folders
from mmseg_cascadepsp.files.paths import atomic_open

BASELINES = Path(__file__).resolve().parents[1] / 'benchmarks' / 'baselines.py'


def parse_args(args=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', help='folder of photos')
    parser.add_argument('--masks', help='folder of true masks, same stems as the photos')
    parser.add_argument(
        '--coarse',
        action='append',
        default=[],
        help='folder of coarse masks, same stems; may be given several times',
    )
    parser.add_argument(
        '--root',
        help='folder that holds [val/]<set>/{images,masks,coarse_*}, in '
        f'place of the three; default: {folders.ROOT_VARIABLE}',
    )
    parser.add_argument(
        '--refiner',
        default='lite',
        help="name or config of the refiner, or 'none' (default: lite)",
    )
    parser.add_argument('--checkpoint', help='its weights')
    parser.add_argument('--device', help='where it runs, such as cpu or cuda:0')
    parser.add_argument(
        '--precision', default='auto', help='fp32, bf16, fp16 (GPUs alone) or auto'
    )
    parser.add_argument(
        '--guided-filter',
        action=argparse.BooleanOptionalAction,
        help="at the refiner's end (default: as its config says)",
    )
    parser.add_argument(
        '--overview',
        type=float,
        help='share of L of a first look; 0: none (default: as its config says)',
    )
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument(
        '--fast', action='store_const', const=True, help='Global step alone, for large photos too'
    )
    steps.add_argument(
        '--full',
        dest='fast',
        action='store_const',
        const=False,
        help='Local step for photos smaller than L too',
    )
    parser.add_argument('--L', type=int, default=900, help='longer side of the Global step')
    parser.add_argument(
        '--baselines',
        default='',
        help='of grabcut, guided, densecrf, separated by commas: measured beside it',
    )
    parser.add_argument('--r0', type=int, default=1, help='smallest radius of mBA')
    parser.add_argument(
        '--min-masks',
        type=int,
        default=10,
        help='sets of fewer masks are not named as the one with the least gain',
    )
    parser.add_argument(
        '--every',
        type=int,
        default=1,
        metavar='N',
        help='every Nth coarse mask alone, from the first: quicker, less sure',
    )
    parser.add_argument('--json', help='also write all rows to this file')
    parser.add_argument('--markdown', help='also write the tables to this file')
    return parser.parse_args(args)


def load_baselines(names: str) -> dict[str, folders.Method]:
    """The functions of ``benchmarks/baselines.py`` that are named."""
    names = [name for name in names.split(',') if name]
    if not names:
        return {}
    if not BASELINES.exists():
        raise OSError(f'{BASELINES} does not exist; --baselines needs a checkout of the project.')
    spec = importlib.util.spec_from_file_location('baselines', BASELINES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    unknown = [name for name in names if name not in module.BASELINES]
    if unknown:
        raise ValueError(f'--baselines knows {", ".join(module.BASELINES)}, got {unknown[0]!r}.')
    return {name: module.BASELINES[name] for name in names}


def load_refiner(args: argparse.Namespace) -> dict[str, folders.Method]:
    """The refiner as a method, under its name."""
    if args.refiner == 'none':
        return {}
    from mmseg_cascadepsp import Refiner, apis

    apis.keep_freed_memory()
    refiner = Refiner(
        args.refiner,
        checkpoint=args.checkpoint,
        device=args.device,
        precision=args.precision,
        guided_filter=args.guided_filter,
        overview=args.overview,
    )
    return {
        Path(args.refiner).stem: lambda image, mask: (
            refiner.refine(image, mask, fast=args.fast, L=args.L) > folders.THRESHOLD
        )
    }


def main(args=None) -> int:
    args = parse_args(args)
    records, failures = [], []
    try:
        if args.every < 1:
            raise ValueError(f'--every must be 1 (all masks) or more, got {args.every}.')
        boundary_radii(1, 1, args.r0)  # its error, before the work and not once for each mask
        check_crop_size(args.L)
        if args.images or args.masks or args.coarse:
            if not (args.images and args.masks and args.coarse) or args.root:
                raise ValueError('Give --images, --masks and --coarse together, or --root alone.')
            examples = folders.find_examples(args.images, args.masks, args.coarse)
        else:
            examples = folders.find_sets(args.root)
        examples = examples[:: args.every]
        methods = load_refiner(args) | load_baselines(args.baselines)
        if not methods:
            raise ValueError('Nothing to measure: give a --refiner or some --baselines.')
        with Progress(console=Console(stderr=True)) as progress:
            for example in progress.track(examples, description='measuring'):
                try:
                    records += folders.measure(example, methods, args.r0)
                except (OSError, ValueError, RuntimeError, MemoryError) as error:
                    failures.append(error)
                    said = (str(error).splitlines() or [type(error).__name__])[0]
                    progress.console.print(
                        f'skipped {example.coarse}: {said}', style='red', markup=False
                    )
        rows = folders.summarise(records)
        print(folders.to_markdown(rows, args.min_masks))
        for path, text in ((args.json, folders.to_json), (args.markdown, None)):
            if path:
                content = text(rows) if text else folders.to_markdown(rows, args.min_masks)
                with atomic_open(path) as file:
                    file.write(content.encode())
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f'measure.py: {error}', file=sys.stderr)
        return 2
    if failures:
        print(f'{len(failures)} of {len(examples)} masks could not be measured.', file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
