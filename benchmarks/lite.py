"""Seconds and peak memory of the shipped refiner: a small photo fast, a large one in full.

python benchmarks/lite.py
python benchmarks/lite.py --photo 5000x3600 --full --crops adaptive
python benchmarks/lite.py --give-back       # as in a program without keep_freed_memory()
"""

import argparse
import re

import torch
from measuring import turn_about, waves

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.apis import keep_freed_memory


def size(text: str) -> str:
    """``text``, if it is ``WIDTHxHEIGHT``."""
    if not re.fullmatch(r'[1-9]\d*x[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'expected such as 900x600, got {text!r}')
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--photo',
        type=size,
        metavar='WIDTHxHEIGHT',
        help='by default 900x600 fast, 5000x3600 in full',
    )
    parser.add_argument('--full', action='store_true', help='Local step too, with --photo')
    parser.add_argument('--model', default='lite')
    parser.add_argument('--device')
    parser.add_argument('--precision', default='auto')
    parser.add_argument('--crops', default='uniform', choices=['uniform', 'adaptive'])
    parser.add_argument('--batch-size', type=int, default=1, help='crops per pass')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument(
        '--give-back',
        action='store_true',
        help='freed memory goes back to the system, unlike in the tools',
    )
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kept = not args.give_back and keep_freed_memory()
    refiner = Refiner(
        args.model,
        device=args.device,
        precision=args.precision,
        crops=args.crops,
        batch_size=args.batch_size,
    )
    cases = [(args.photo, args.full)] if args.photo else [('900x600', False), ('5000x3600', True)]
    for photo, full in cases:
        width, height = map(int, photo.split('x'))
        image, mask = waves(height, width)
        runs = args.runs if not full else min(args.runs, 3)
        seen = turn_about({'': lambda: refiner.refine(image, mask, fast=not full)}, runs)['']  # noqa: B023
        kind = f'{"full" if full else "fast"}, {args.precision}, {args.threads} threads'
        print(
            f'{args.model}, {photo}, {kind}, freed memory {"kept" if kept else "given back"}: '
            f'median {seen.median:.2f} s ({min(seen.seconds):.2f} to {max(seen.seconds):.2f}), '
            f'peak {seen.memory} beyond weights and photo',
            flush=True,
        )


if __name__ == '__main__':
    main()
