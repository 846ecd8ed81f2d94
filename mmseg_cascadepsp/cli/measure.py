"""Measure a refiner on photos, true masks and coarse masks: IoU and mBA before and after.

python tools/measure.py --images DIR --masks DIR --coarse DIR
python tools/measure.py --root DATA_ROOT --baselines grabcut,guided
python tools/measure.py --images DIR --masks DIR --simulate promptable,true
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from mmseg_cascadepsp.errors import InvalidValueError, one_line

from .options import (
    add_cascade_options,
    add_reading_options,
    add_where_options,
    cascade_settings,
    mask_values,
)
from .running import import_package, parser_of


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__)
    parser.add_argument('--images', help='folder of photos')
    parser.add_argument('--masks', help='folder of true masks, same stems as the photos')
    parser.add_argument(
        '--coarse',
        action='append',
        default=[],
        help='folder of coarse masks, same stems; may be given several times',
    )
    parser.add_argument(
        '--name',
        help='of the set in the tables (default: the folder of photos, or the one around it where '
        'it is called images)',
    )
    parser.add_argument(
        '--root',
        help='folder that holds [val/]<set>/{images,masks,coarse_*}, in '
        'place of the three; default: MMSEG_CASCADEPSP_DATA',
    )
    parser.add_argument(
        '--simulate',
        default='',
        metavar='KINDS',
        help='of promptable, true, perturbed, separated by commas: coarse masks made from the '
        'true ones in place of those on disk, of each photo always the same. promptable: as '
        'networks of the SAM kind give them; true: the true masks themselves, which should stay '
        "as they are; perturbed: as in the paper's training",
    )
    parser.add_argument(
        '--refiner',
        default='lite',
        help="name or config of the refiner, or 'none' (default: lite)",
    )
    add_where_options(parser)
    add_cascade_options(parser.add_argument_group('how masks are refined'))
    what = parser.add_argument_group('how files are read where they do not say it themselves')
    add_reading_options(what, 'true and coarse masks', 'void, which does not count,')
    what.add_argument(
        '--coarse-values',
        type=mask_values,
        metavar='V',
        help='value of the object in coarse masks where it is not that of --mask-values; soft: '
        'they are plain masks',
    )
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
    parser.add_argument(
        '--per-photo',
        action='store_true',
        help='also a row for each photo, the largest loss first, in all outputs',
    )
    parser.add_argument('--json', help='also write all rows to this file')
    parser.add_argument('--markdown', help='also write the tables to this file')
    return parser


def load_methods(args: argparse.Namespace) -> dict:
    """What is measured, by its name: functions (RGB uint8, mask bool) -> mask bool."""
    from mmseg_cascadepsp.apis import Refiner
    from mmseg_cascadepsp.compat.memory import keep_freed_memory
    from mmseg_cascadepsp.evaluation import folders
    from mmseg_cascadepsp.evaluation.baselines import BASELINES

    methods = {}
    if args.refiner != 'none':
        keep_freed_memory()
        own = cascade_settings(args)
        refiner = Refiner(args.refiner, args.checkpoint, args.device, args.precision, **own)
        methods[Path(args.refiner).stem] = lambda image, mask: (
            refiner.refine(image, mask) > folders.THRESHOLD
        )
    for name in filter(None, args.baselines.split(',')):
        if name not in BASELINES:
            raise InvalidValueError(f'--baselines knows {", ".join(BASELINES)}, got {name!r}.')
        methods[name] = BASELINES[name]
    if not methods:
        raise InvalidValueError('Nothing to measure: give a --refiner or some --baselines.')
    return methods


def load_simulations(names: str) -> dict:
    """How coarse masks of each kind are made: functions (true mask bool, name) -> mask bool."""
    if not names:
        return {}
    from mmseg_cascadepsp.datasets import CopyTrueMask, PerturbMask, SimulatePromptable

    transforms = {
        'promptable': SimulatePromptable(seed=0),
        'true': CopyTrueMask(),
        'perturbed': PerturbMask(seed=0),
    }
    kinds = names.split(',')
    for name in kinds:
        if name not in transforms:
            raise InvalidValueError(f'--simulate knows {", ".join(transforms)}, got {name!r}.')

    def simulate(transform, truth, name):
        results = dict(img_path=name, gt_seg_map=truth.astype('uint8') * 255)
        return transform(results)['coarse_mask'] > 127

    return {kind: partial(simulate, transforms[kind]) for kind in kinds}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = build_parser().parse_args(argv)
    import_package()
    from rich.console import Console
    from rich.progress import Progress

    from mmseg_cascadepsp.cascade import check_crop_size
    from mmseg_cascadepsp.evaluation import boundary_radii, folders, tables
    from mmseg_cascadepsp.files import Reading, atomic_open

    if args.every < 1:
        raise InvalidValueError(f'--every must be 1 (all masks) or more, got {args.every}.')
    boundary_radii(1, 1, args.r0)  # its error, before the work and not once for each mask
    check_crop_size(args.L)
    simulations = load_simulations(args.simulate)
    kinds = list(simulations)
    if kinds and args.coarse:
        raise InvalidValueError('--simulate makes coarse masks: leave --coarse out.')
    if args.images or args.masks or args.coarse:
        coarse, kinds = [args.masks] * len(kinds) or args.coarse, kinds or None
        if not (args.images and args.masks and coarse) or args.root is not None:
            raise InvalidValueError(
                'Give --images, --masks and --coarse (or --simulate) together, or --root alone.'
            )
        examples = folders.find_examples(args.images, args.masks, coarse, args.name, kinds)
    else:
        if args.name:
            raise InvalidValueError('--name is for --images; sets of a root have their own.')
        examples = folders.find_sets(args.root, kinds)
    examples = examples[:: args.every]
    reading = Reading(args.mask_values, args.ignore, args.exif)
    coarse = args.coarse_values and Reading(args.coarse_values)
    methods = load_methods(args)
    records, failures = [], []
    with Progress(console=Console(stderr=True)) as progress:
        for example in progress.track(examples, description='measuring'):
            try:
                records += folders.measure(example, methods, args.r0, reading, coarse, simulations)
            except Exception as error:  # decoders and methods raise whatever they like
                failures.append(error)
                said = f'skipped {example.coarse}: {one_line(error)}'
                progress.console.print(said, style='red', markup=False)
    rows = folders.summarise(records)
    photos = folders.per_photo(records) if args.per_photo else []
    text = tables.to_markdown(rows, args.min_masks)
    text += f'\n{tables.photos_to_markdown(photos)}\n' * bool(photos)
    print(text)
    for path, content in ((args.json, tables.to_json([*rows, *photos])), (args.markdown, text)):
        if path:
            with atomic_open(path) as file:
                file.write(content.encode())
    if failures:
        print(f'{len(failures)} of {len(examples)} masks could not be measured.', file=sys.stderr)
    return 1 if failures else 0
