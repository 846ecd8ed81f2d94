"""A refiner run by onnxruntime beside PyTorch, turn about, on the CPU.

    python benchmarks/export.py --sides 448 896
    python benchmarks/export.py --model r50 --onnx r50.onnx --sides 448
    python benchmarks/export.py --int8 DATA --sides 448 896

Prints for each side the median seconds of the passes of a cascade (by the outputs that they are
asked for) and of a photo from beginning to end, how many times as fast onnxruntime is, and how far
the masks agree. The file is written when it is not there. With --int8 an int8 file runs too; it is
calibrated on half of the photos in DATA, and photos of the other half say how far all agree with
float32, refined as the paper does at L=900.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import agreement, ratios, turn_about, waves

from mmseg_cascadepsp.apis import Refiner, export_int8, export_refiner, keep_freed_memory
from mmseg_cascadepsp.evaluation.folders import Example, find_sets, load_example

RUNTIME, INT8 = 'onnxruntime', 'int8'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='lite')
    parser.add_argument('--checkpoint')
    parser.add_argument('--onnx', help='file of that model; by default a temporary one')
    parser.add_argument(
        '--int8',
        metavar='DATA',
        help='[val/]<set>/{images,masks,coarse_*}: add a contender in int8',
    )
    parser.add_argument(
        '--photos',
        type=int,
        default=20,
        help='at most so many of DATA calibrate, and as many others are compared',
    )
    parser.add_argument('--sides', type=int, nargs='+', default=[448, 896], help='multiples of 8')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--threads', type=int, help='by default as many as PyTorch takes')
    return parser.parse_args()


def show(task: str, functions: dict, runs: int) -> dict:
    seen = turn_about(functions, runs)
    for name, other in seen.items():
        told = [
            f'{quick} {ratios(other, seen[quick])} times as fast'
            for quick in (RUNTIME, INT8)
            if quick in seen and quick != name
        ]
        print(f'  {task:16} {name:12} {other.median:8.3f} s   {", ".join(told)}', flush=True)
    return seen


def halves(root: str, number: int) -> tuple[list[Example], list[Example]]:
    """Two times ``number`` examples of different photos, evenly spread."""
    examples = list({example.image: example for example in find_sets(root)}.values())
    return tuple(half[:: -(-len(half) // number)] for half in (examples[::2], examples[1::2]))


def compare(refiners: dict, examples: list[Example]) -> None:
    """How far the others agree with fp32 on photos."""
    counts = {name: np.zeros(4) for name in refiners if name != 'fp32'}
    for example in examples:
        image, _, coarse = load_example(example)
        results = {
            name: refiner.refine(image, coarse, fast=None).astype(np.int16)
            for name, refiner in refiners.items()
        }
        for name, count in counts.items():
            found, expected = results[name], results['fp32']
            near = np.abs(found - expected) <= 0.02 * 255
            masks = found > 127, expected > 127
            count += (
                near.sum(),
                near.size,
                (masks[0] & masks[1]).sum(),
                (masks[0] | masks[1]).sum(),
            )
    print(f'{len(examples)} photos, against fp32')
    for name, (near, pixels, both, either) in counts.items():
        print(
            f'  {name:12} {near / pixels:.4%} of the probabilities within 0.02, '
            f'mask IoU {both / either:.5f}'
        )


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the tools do
    if args.int8:
        calibrating, others = halves(args.int8, args.photos)
    refiners = {
        precision: Refiner(args.model, args.checkpoint, 'cpu', precision)
        for precision in ('fp32', 'auto')
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.onnx or f'{folder}/refiner.onnx')
        if not path.exists():
            export_refiner(refiners['fp32'], path)
        print(
            f'{path.name}: {path.stat().st_size / 2**20:.1f} MB; {torch.get_num_threads()} threads'
        )
        refiners[RUNTIME] = Refiner(path)
        if args.int8:
            small = Path(folder, 'int8.onnx')
            photos = ((image, coarse) for image, _, coarse in map(load_example, calibrating))
            print(
                f'{INT8}: {export_int8(refiners["fp32"], small, photos)}; '
                f'{small.stat().st_size / 2**20:.1f} MB'
            )
            refiners[INT8] = Refiner(small)
    strides = refiners['fp32'].strides
    passes = {name: refiner._refine_pass for name, refiner in refiners.items()}
    for side in args.sides:
        print(f'side {side}')
        photo, mask = waves(side, side)
        image = refiners['fp32'].model.normalize(torch.from_numpy(photo).permute(2, 0, 1)[None])
        masks = torch.from_numpy(mask * 2.0 - 1).float().expand(1, 3, -1, -1)
        for wanted in (*(strides[:end] for end in range(1, len(strides))), strides[-1:]):

            def run(refine_pass, wanted=wanted, image=image, masks=masks):
                with torch.inference_mode():
                    refine_pass(image, masks, wanted)

            show(
                'outputs ' + '+'.join(map(str, wanted)),
                {name: lambda one=one, run=run: run(one) for name, one in passes.items()},
                args.runs,
            )
        seen = show(
            'photo',
            {
                name: lambda refiner=refiner, photo=photo, mask=mask, side=side: refiner.refine(
                    photo, mask, fast=False, L=side
                )
                for name, refiner in refiners.items()
            },
            args.runs,
        )
        for name in ('fp32', 'auto'):
            print(f'  {RUNTIME} and {name}: {agreement(seen[RUNTIME].result, seen[name].result)}')
    if args.int8:
        compare(refiners, others)


if __name__ == '__main__':
    try:
        main()
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        sys.exit(f'export.py: {error}')
