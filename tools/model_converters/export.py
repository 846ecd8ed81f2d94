"""Write a refiner as ONNX, or as an exported program of PyTorch, for runtimes without this
package.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / 'demo.py'
EPILOG = """\
examples:
  python tools/model_converters/export.py lite -o lite.onnx
  python tools/model_converters/export.py my_config.py --checkpoint iter_3000.pth -o refiner.pt2
  python tools/model_converters/export.py lite -o lite_int8.onnx --int8 --calibrate photos masks

.onnx needs pip install onnx onnxruntime onnxscript; python tools/refine.py ... --model lite.onnx
and Refiner('lite.onnx') run it; docs/export.md has more."""


def demo_photos():
    """The photos of the demo with their coarse masks."""
    try:
        spec = importlib.util.spec_from_file_location('demo', DEMO)
        demo = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(demo)
        samples = [demo.load(name) for name in demo.PHOTOS]
    except (ImportError, OSError, ValueError) as error:
        raise ValueError(
            f'int8 without --calibrate takes the photos of the demo. {error} Or give photos of '
            'your own: --calibrate PHOTOS MASKS.'
        ) from error
    return [(sample.image, sample.coarse) for sample in samples]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help="lite (shipped), r50 (the paper's) or a config file")
    parser.add_argument('--checkpoint', metavar='FILE', help="weights, ours or the authors' own")
    parser.add_argument(
        '-o', '--out', required=True, help='file to write: .onnx, or .pt2 (torch.export)'
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='.onnx with the 3x3 convolutions of the upsampling blocks in int8, checked against '
        'float32',
    )
    parser.add_argument(
        '--calibrate',
        nargs='+',
        metavar='FOLDER',
        help='photos for int8: a folder of photos and one of masks with the same names, or one '
        'that holds [val/]<set>/{images,masks,coarse_*} (the photos of the demo)',
    )
    parser.add_argument(
        '--photos',
        type=int,
        default=20,
        metavar='N',
        help='how many of them at most, evenly spread (%(default)s)',
    )
    args = parser.parse_args(argv)
    if args.calibrate and not args.int8:
        parser.error('--calibrate is for --int8')
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = parse_args(argv)

    from mmseg_cascadepsp.apis import Refiner, calibration_photos, export_int8, export_refiner

    try:
        refiner = Refiner(args.model, args.checkpoint, device='cpu', precision='fp32')
        if args.int8:
            folders = args.calibrate
            photos = calibration_photos(folders, args.photos) if folders else demo_photos()
            print(f'int8: {export_int8(refiner, args.out, photos)}')
        else:
            export_refiner(refiner, args.out)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f'export.py: {error}', file=sys.stderr)
        return 1
    print(f'{args.out} written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
