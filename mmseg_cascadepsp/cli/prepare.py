"""Lay out the paper's training data from the archives that its authors publish."""

import argparse
import sys

from .running import import_package, parser_of

EPILOG = """\
Put what you downloaded into one folder, whatever the names, packed. --check says what is missing
and where to download it, docs/training.md too.

examples:
  python tools/dataset_converters/prepare_training_data.py downloads --data-root data
  python tools/dataset_converters/prepare_training_data.py --check --data-root data
      read all pictures that were laid out, by this script or by the authors' own

Photos and masks are checked as they are laid out. A run that was stopped goes on when it is
started again. The status is 0 when all pairs are there and sound."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument(
        'archives', nargs='*', help='zip and tar archives, or folders that hold them'
    )
    parser.add_argument('--data-root', default='data', help='where the sets go (data)')
    parser.add_argument('--check', action='store_true', help='only read what was laid out')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if bool(args.archives) == args.check:
        parser.error('give archives to lay out, or --check')
    import_package()
    from mmseg_cascadepsp.datasets.preparation import check, prepare

    def progress(name: str, done: int, total: int) -> None:
        if sys.stderr.isatty() and (done % 100 == 0 or done == total):
            end = '\n' if done == total else ''
            print(f'\r{name}: {done:,} of {total:,}', end=end, file=sys.stderr, flush=True)

    if args.check:
        report = check(args.data_root, progress)
    else:
        report = prepare(args.archives, args.data_root, progress)
    print(report)
    return 0 if report.complete else 1
