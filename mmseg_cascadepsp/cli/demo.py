"""Refine sample photos, write pictures, print scores."""

import argparse

from .photos import LARGE, SMALL
from .running import import_package, parser_of

EPILOG = """examples:
  python tools/demo.py
      five photos of scikit-image with the masks in demo/masks; pictures go to demo_output/
  python tools/demo.py --photos coffee chelsea --large 0 --out /tmp/pictures
      two of them, without the enlarged one
  python tools/demo.py --refiner r50
      the same with the paper's network (fetched once; minutes per photo on a CPU)

what the columns say:
  IoU   of the coarse and the refined mask with the true one, in percent: how much is right at all
  mBA   mean boundary accuracy, in percent: how much is right near the true boundary, which is what
        a refiner is for
what the rows say:
  The photos as they are. Then one with a small L: its Global step sees a reduced photo, and the
  Local step, which goes over the photo in crops of L pixels, is seen at work. Then one enlarged:
  time and memory. Last the whole chain, without any mask: a small MMSeg model (DeepLabV3+ for
  persons, cats and horses) finds the object, the refiner sharpens it.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(
        'Refine the coarse masks of sample photos, write before/after pictures and '
        'print how much closer to the true masks they came.',
        EPILOG,
    )
    parser.add_argument(
        '--out', default='demo_output', help='folder of the pictures (%(default)s)'
    )
    parser.add_argument(
        '--photos',
        nargs='+',
        metavar='NAME',
        help='which of the sample photos, such as coffee (all)',
    )
    parser.add_argument(
        '--refiner', default='lite', help="'lite', 'r50' or a config (%(default)s)"
    )
    parser.add_argument('--checkpoint', help="weights (those of the refiner's name)")
    parser.add_argument('--device', help='such as cpu or cuda (a GPU where there is one)')
    parser.add_argument(
        '--small-l',
        type=int,
        default=400,
        metavar='L',
        help=f'L of the additional run on {SMALL}; 0 leaves it out (%(default)s)',
    )
    parser.add_argument(
        '--large',
        type=int,
        default=2500,
        metavar='PIXELS',
        help=f'longer side of the additional, enlarged {LARGE}; 0 leaves it out (%(default)s)',
    )
    parser.add_argument(
        '--no-chain', action='store_true', help='leave out the segmentor with the refiner behind'
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    from mmseg_cascadepsp.files.samples import PHOTOS

    args.photos = args.photos or list(PHOTOS)
    unknown = [name for name in args.photos if name not in PHOTOS]
    if unknown:
        parser.error(f'argument --photos: {unknown[0]!r} is none of {", ".join(PHOTOS)}')
    import_package()
    from .demonstration import demonstrate

    demonstrate(args)
    return 0
