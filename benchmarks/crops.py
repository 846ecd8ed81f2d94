"""Uniform and adaptive crops of the Local step: how many, how long, and what it costs.

    python benchmarks/crops.py --root DATA --side 2048 --photos 8

Photos and masks of DATA/[val/]<set>/{images,masks,coarse_*} are enlarged where their longer side
is below --side. The policies run turn about. The seconds include the Global step, which both have.
"""

import argparse
import sys
import time

import cv2
import numpy as np
import torch

from mmseg_cascadepsp import Refiner, cascade
from mmseg_cascadepsp.cascade.settings import CROPS
from mmseg_cascadepsp.evaluation import mask_scores_compute, mask_scores_update
from mmseg_cascadepsp.evaluation.folders import THRESHOLD, find_sets, load_example


def enlarged(side: int, image: np.ndarray, *masks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Photo and masks with a longer side of at least ``side``."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor <= 1:
        return image, *masks
    size = round(width * factor), round(height * factor)
    resized = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
        for mask in masks
    )
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), *resized


def refine(refiner: Refiner, image: np.ndarray, mask: np.ndarray) -> tuple:
    """(refined mask, crops, seconds)."""
    counts = [(0, 0)]
    photo, coarse = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)[None]
    start = time.perf_counter()
    with torch.inference_mode():
        probability = cascade.refine(
            refiner.network, photo, coarse, progress=lambda *count: counts.append(count)
        )
    seconds = time.perf_counter() - start
    return (probability * 255 > THRESHOLD + 1).numpy(), counts[-1][1], seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--root', help='data root (default: MMSEG_CASCADEPSP_DATA)')
    parser.add_argument('--set', dest='sets', action='append', help='only this set; repeatable')
    parser.add_argument('--photos', type=int, default=8, help='of each set, spread over it')
    parser.add_argument('--side', type=int, default=2048, help='smaller photos are enlarged to it')
    parser.add_argument('--L', type=int, default=900)
    parser.add_argument('--refiner', default='lite')
    parser.add_argument('--checkpoint')
    parser.add_argument('--precision', default='bf16')
    parser.add_argument('--device')
    args = parser.parse_args()
    refiner = Refiner(
        args.refiner, args.checkpoint, args.device, args.precision, L=args.L, steps='both'
    )
    refiners = {crops: refiner.with_settings(crops=crops) for crops in CROPS}
    groups: dict[str, dict] = {}
    for example in find_sets(args.root):
        if not args.sets or example.set in args.sets:
            groups.setdefault(example.set, {}).setdefault(example.image, example)  # one per photo
    rows: dict[str, list[tuple]] = {name: [] for name in ('coarse', *CROPS)}
    print(f'{args.refiner}, {args.precision}, L={args.L}, longer side {args.side} or more\n')
    print('| set | photo | crops, uniform / adaptive | s | mBA coarse / uniform / adaptive |')
    print('|---|---|---:|---:|---:|')
    for name, photos in groups.items():
        examples = list(photos.values())
        for index in np.linspace(0, len(examples) - 1, min(args.photos, len(examples))).round():
            example = examples[int(index)]
            image, truth, coarse = enlarged(args.side, *load_example(example))
            rows['coarse'].append((mask_scores_update(coarse, truth), 0, 0))
            order = CROPS if len(rows['coarse']) % 2 else CROPS[::-1]
            for crops in order:
                mask, number, seconds = refine(refiners[crops], image, coarse)
                rows[crops].append((mask_scores_update(mask, truth), number, seconds))
            last = {key: values[-1] for key, values in rows.items()}
            scores = (f'{100 * mask_scores_compute(row[0])["mBA"]:.2f}' for row in last.values())
            print(
                f'| {name} | {example.image.stem} | '
                f'{" / ".join(str(last[crops][1]) for crops in CROPS)} | '
                f'{" / ".join(f"{last[crops][2]:.1f}" for crops in CROPS)} | '
                f'{" / ".join(scores)} |',
                flush=True,
            )
    print('\n| | photos | crops | s | IoU | mBA | Boundary IoU |')
    print('|---|---:|---:|---:|---:|---:|---:|')
    for key, values in rows.items():
        scores = mask_scores_compute(np.stack([value[0] for value in values]))
        crops, seconds = (sum(value[index] for value in values) for index in (1, 2))
        print(
            f'| {key} | {len(values)} | {crops} | {seconds:.1f} | '
            + ' | '.join(f'{100 * scores[name]:.2f}' for name in ('IoU', 'mBA', 'BoundaryIoU'))
            + ' |'
        )


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'crops.py: {error}')
