"""Time ``perturb_mask`` against the release's, and compare what both make of the same masks.

    git clone https://github.com/hkchengrex/CascadePSP
    python benchmarks/perturbation.py --release CascadePSP --masks my_photos/train

Both perturb the same random 224x224 crops to the same targets, turn about, on one thread. The
Kolmogorov-Smirnov test asks whether the results differ in distribution: in IoU with the true mask,
in change of area, and in the mean distance from the coarse boundary to the true one. Without
--masks the crops are blobs of thresholded noise.
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import ks_2samp

import mmseg_cascadepsp  # noqa: F401 (registers everything)
from mmseg_cascadepsp.datasets.transforms import RandomZoomCrop, perturb_mask

GRADIENT_KERNEL = np.ones((3, 3), np.uint8)


def crops_of(folder: str | None, count: int, size: int) -> list[np.ndarray]:
    """``count`` masks (size, size), uint8 0 or 255, each with foreground and background."""
    paths = (
        sorted(
            p
            for p in Path(folder).rglob('*.png')
            if p.parent.name == 'masks' or p.with_suffix('.jpg').exists()
        )
        if folder
        else []
    )
    if folder and not paths:
        sys.exit(
            f'perturbation.py: --masks: {folder} holds neither masks/*.png nor name.png '
            'beside name.jpg; give such a folder, or leave the option out'
        )
    crop, crops = RandomZoomCrop(size), []
    while len(crops) < count:
        if paths:
            mask = cv2.imread(str(paths[np.random.randint(len(paths))]), cv2.IMREAD_GRAYSCALE)
            photo = np.broadcast_to(mask[..., None], (*mask.shape, 3))
            mask = crop(dict(img=photo, gt_seg_map=mask))['gt_seg_map']
        else:
            noise = np.random.normal(size=(np.random.randint(3, 9),) * 2)
            mask = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        mask = (mask > 0).astype(np.uint8) * 255
        if 0 < np.count_nonzero(mask) < mask.size:
            crops.append(mask)
    return crops


def measures(coarse: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """IoU, change of area, mean distance of the coarse boundary from the true one (pixels)."""
    union = np.count_nonzero(coarse | truth)
    area = np.count_nonzero(coarse) / np.count_nonzero(truth) - 1
    edges = [
        cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, GRADIENT_KERNEL) for mask in (coarse, truth)
    ]
    distance = cv2.distanceTransform(255 - edges[1], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    away = distance[edges[0] > 0]
    return np.count_nonzero(coarse & truth) / union, area, away.mean() if away.size else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--release', required=True, metavar='DIR', help='checkout of hkchengrex/CascadePSP'
    )
    parser.add_argument('--masks', metavar='DIR', help='folder of true masks, as for training')
    parser.add_argument('--count', type=int, default=2000)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    sys.path.insert(0, args.release)
    try:
        from util.boundary_modification import modify_boundary
    except ImportError:
        sys.exit(
            f'perturbation.py: --release: {args.release} lacks util/boundary_modification.py;'
            ' give a checkout of hkchengrex/CascadePSP'
        )
    cv2.setNumThreads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    crops = crops_of(args.masks, args.count, args.size)
    functions = {
        'release': lambda mask, target: modify_boundary(mask, iou_target=target),
        'here': perturb_mask,
    }
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    found: dict[str, list[tuple]] = {name: [] for name in functions}
    for number, mask in enumerate(crops):
        target = np.random.uniform(0.8, 1.0)
        # Who goes first alternates: the first finds a cold cache.
        for name in list(functions)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            coarse = functions[name](mask.copy(), target)
            seconds[name].append(time.process_time() - start)
            found[name].append(measures(coarse, mask))
    print(f'{len(crops)} crops of {args.size}x{args.size}, one thread, processor time, turn about')
    for name, values in seconds.items():
        print(
            f'{name:8} mean {1000 * statistics.mean(values):6.2f} ms   '
            f'median {1000 * statistics.median(values):6.2f} ms'
        )
    ratio = sum(seconds['release']) / sum(seconds['here'])
    print(f'ratio    {ratio:6.2f} of the sums')
    for index, measure in enumerate(('IoU', 'area change', 'boundary distance')):
        release, here = (np.array(found[name])[:, index] for name in functions)
        test = ks_2samp(release, here)
        print(
            f'{measure:18} release {release.mean():7.4f}  here {here.mean():7.4f}   '
            f'KS D {test.statistic:.4f}  p {test.pvalue:.3f}'
        )


if __name__ == '__main__':
    main()
