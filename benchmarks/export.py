"""A refiner run by onnxruntime beside PyTorch, turn about, on the CPU.

    python benchmarks/export.py --sides 448 896
    python benchmarks/export.py --model r50 --onnx r50.onnx --sides 448

Prints for each side the median seconds of the passes of a cascade (by the outputs that they are
asked for) and of a photo from beginning to end, how many times as fast onnxruntime is, and how far
the masks agree. The file is written when it is not there.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from measuring import agreement, ratios, turn_about, waves

from mmseg_cascadepsp.apis import Refiner, export_refiner

RUNTIME = 'onnxruntime'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='lite')
    parser.add_argument('--checkpoint')
    parser.add_argument('--onnx', help='file of that model; by default a temporary one')
    parser.add_argument('--sides', type=int, nargs='+', default=[448, 896],
                        help='multiples of 8')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--threads', type=int, help='by default as many as PyTorch takes')
    return parser.parse_args()


def show(task: str, functions: dict, runs: int) -> dict:
    seen = turn_about(functions, runs)
    ours = seen[RUNTIME]
    for name, other in seen.items():
        ratio = '' if name == RUNTIME else f'{RUNTIME} {ratios(other, ours)} times as fast'
        print(f'  {task:16} {name:12} {other.median:8.3f} s   {ratio}', flush=True)
    return seen


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    refiners = {
        precision: Refiner(args.model, args.checkpoint, 'cpu', precision)
        for precision in ('fp32', 'auto')
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.onnx or f'{folder}/refiner.onnx')
        if not path.exists():
            export_refiner(refiners['fp32'], path)
        print(f'{path.name}: {path.stat().st_size / 2**20:.1f} MB; '
              f'{torch.get_num_threads()} threads')
        refiners[RUNTIME] = Refiner(path)
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

            show('outputs ' + '+'.join(map(str, wanted)),
                 {name: lambda one=one, run=run: run(one) for name, one in passes.items()},
                 args.runs)
        seen = show(
            'photo',
            {name: lambda refiner=refiner, photo=photo, mask=mask, side=side:
             refiner.refine(photo, mask, fast=False, L=side)
             for name, refiner in refiners.items()},
            args.runs,
        )
        for name in ('fp32', 'auto'):
            print(f'  {RUNTIME} and {name}: '
                  f'{agreement(seen[RUNTIME].result, seen[name].result)}')


if __name__ == '__main__':
    main()
