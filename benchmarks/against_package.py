"""Time this package against ``segmentation-refinement`` 0.6: same weights, photo and machine.

    pip install --no-deps segmentation-refinement
    python benchmarks/against_package.py --height 448 --width 448

Both run the paper's network, with random weights unless --checkpoint gives the authors', turn
about, in fp32. Ratios are what to look at: seconds change from machine to machine.
"""

import argparse
import importlib
import importlib.machinery
import statistics
import sys
import time
import types

import numpy as np
import torch

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.apis.model_zoo import build_model

PACKAGE = 'segmentation_refinement'


def authors_module(name: str) -> types.ModuleType:
    """A module of the package; its ``__init__``, which needs torchvision, is not run."""
    spec = importlib.machinery.PathFinder.find_spec(PACKAGE)
    if spec is None:
        sys.exit('against_package.py: needs `pip install --no-deps segmentation-refinement`')
    package = types.ModuleType(PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault(PACKAGE, package)
    return importlib.import_module(f'{PACKAGE}.{name}')


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo of waves, RGB uint8 (H, W, 3), and a mask with a boundary, bool (H, W)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    photo = np.stack([np.sin(x / 9 + y / 31), np.sin(x / 23), np.cos(y / 17 - x / 50)], axis=-1)
    mask = np.hypot(x - 0.5 * width, y - 0.5 * height) < 0.3 * min(height, width)
    return (127.5 + 127 * photo).astype(np.uint8), mask


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--height', type=int, default=448)
    parser.add_argument('--width', type=int, default=448)
    parser.add_argument('--L', type=int, default=448)
    parser.add_argument('--full', action='store_true', help='Local step too')
    parser.add_argument('--runs', type=int, default=3, help='counted runs of each, after one more')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    steps = authors_module('eval_helper')
    theirs = authors_module('models.psp.pspnet').RefinementModule().eval()
    ours, _ = build_model('r50')
    from mmseg_cascadepsp.models.convert import convert_release_state_dict

    ours.load_state_dict(convert_release_state_dict(theirs.state_dict()))
    refiner = Refiner(ours, precision='fp32', crop_filter='release', device='cpu')
    photo, mask = scene(args.height, args.width)
    image = refiner.model.normalize(torch.from_numpy(photo).permute(2, 0, 1)[None])
    signed = torch.from_numpy(mask)[None, None].float() * 2 - 1

    def run_theirs() -> np.ndarray:
        step = steps.process_high_res_im if args.full else steps.process_im_single_pass
        with torch.no_grad():
            return (step(theirs, image, signed, args.L)[0, 0].numpy() * 255).astype(np.uint8)

    def run_ours() -> np.ndarray:
        return refiner.refine(photo, mask, fast=not args.full, L=args.L)

    seconds: dict[str, list[float]] = {'package': [], 'here': []}
    for run in range(args.runs + 1):
        for name, function in (('package', run_theirs), ('here', run_ours)):
            start = time.perf_counter()
            result = function()
            if run:
                seconds[name].append(time.perf_counter() - start)
            if name == 'package':
                expected = result
    ratios = [a / b for a, b in zip(seconds['package'], seconds['here'], strict=True)]
    difference = np.abs(result.astype(int) - expected)
    print(f'{args.width}x{args.height}, L={args.L}, {"full" if args.full else "fast"}, fp32, '
          f'{args.threads} threads, {args.runs} runs each, turn about')
    for name, values in seconds.items():
        print(f'{name:8} median {statistics.median(values):7.2f} s  '
              f'({min(values):.2f} to {max(values):.2f})')
    print(f'ratio    median {statistics.median(ratios):7.2f}    '
          f'({min(ratios):.2f} to {max(ratios):.2f})')
    share, most = np.mean(difference > 0), difference.max()
    print(f'pixels that differ: {share:.2%}, by at most {most} of 255')


if __name__ == '__main__':
    main()
