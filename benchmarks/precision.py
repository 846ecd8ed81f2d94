"""What a lower precision of the refiner's passes changes, on photos with coarse masks.

    python benchmarks/precision.py --root DATA_ROOT --limit 12

Prints for each photo, and for all pixels together, the share of probabilities within 0.02 of
fp32's, and the IoU of the two masks. At the end it says whether the bounds that
`precision='auto'` was made for are kept.
"""

import argparse
import statistics
import sys
import time

import numpy as np
import torch
from measuring import waves

from mmseg_cascadepsp import Refiner, cascade
from mmseg_cascadepsp.evaluation.folders import find_sets, load_example

WITHIN, SHARE, IOU = 0.02, 0.999, 0.999


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--root', help='folder of [val/]<set>/{images,masks,coarse_*}')
    parser.add_argument('--limit', type=int, help='so many masks, spread over all sets')
    parser.add_argument('--refiner', default='lite')
    parser.add_argument('--checkpoint')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--precisions', nargs='+', default=['auto', 'bf16'], choices=['auto', 'bf16', 'fp16']
    )
    parser.add_argument('--L', type=int, default=900)
    parser.add_argument('--fast', action='store_true', help='Global step alone')
    return parser.parse_args()


def compare(low: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Counts of two probability maps: pixels, those within 0.02, mask intersection and union."""
    a, b = low > 0.5, full > 0.5
    near = np.abs(low - full) <= WITHIN
    return np.array([near.size, near.sum(), (a & b).sum(), (a | b).sum()])


def main() -> None:
    args = parse_args()
    settings = dict(L=args.L, steps='global' if args.fast else 'both')
    runs = {
        precision: Refiner(args.refiner, args.checkpoint, args.device, precision, **settings)
        for precision in ('fp32', *args.precisions)
    }
    for precision, refiner in runs.items():
        refiner.refine(*waves(96, 96))  # what is made once is not timed
        print(f'{precision}: runs in {refiner.settings()["precision"]}')
    examples = find_sets(args.root)
    if args.limit:  # evenly spread
        examples = examples[:: -(-len(examples) // args.limit)]
    counts = {name: [] for name in runs}
    seconds = {name: [] for name in runs}
    for example in examples:
        photo, _, coarse = load_example(example)
        image, mask = torch.tensor(photo).permute(2, 0, 1), torch.tensor(coarse)[None]
        print(
            f'{example.set}/{example.coarse.stem} ({example.kind}, {mask.shape[2]}x'
            f'{mask.shape[1]})'
        )
        for name, refiner in runs.items():
            start = time.perf_counter()
            with torch.inference_mode():
                result = cascade.refine(refiner.network, image, mask)
            seconds[name].append(time.perf_counter() - start)
            if name == 'fp32':
                full = result.numpy()
                continue
            counts[name].append(compare(result.numpy(), full))
            pixels, near, both, either = counts[name][-1]
            print(
                f'  {name:6} within {WITHIN}: {near / pixels:8.3%}   '
                f'IoU {both / max(either, 1):.4f}   {seconds[name][-1]:6.2f} s '
                f'(fp32 {seconds["fp32"][-1]:.2f} s)',
                flush=True,
            )
    print(f'\nall {len(examples)} masks; bounds: {SHARE:.1%} within {WITHIN}, IoU {IOU}')
    for name in list(runs)[1:]:
        pixels, near, both, either = np.sum(counts[name], axis=0)
        alone = [row[2] / max(row[3], 1) for row in counts[name]]
        kept = near / pixels >= SHARE and both / either >= IOU
        ratio = statistics.median(
            a / b for a, b in zip(seconds['fp32'], seconds[name], strict=True)
        )
        print(
            f'{name:8} within {near / pixels:8.3%}   IoU {both / either:.4f} '
            f'(least of a photo {min(alone):.4f})   {ratio:.2f} times as fast   '
            f'{"kept" if kept else "missed"}'
        )


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'precision.py: {error}')
