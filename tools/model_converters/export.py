"""Write a refiner as ONNX, or as an exported program of PyTorch, for runtimes without this
package.
"""

import argparse
import sys

EPILOG = """\
examples:
  python tools/model_converters/export.py lite -o lite.onnx
  python tools/model_converters/export.py my_config.py --checkpoint iter_3000.pth -o refiner.pt2

.onnx needs pip install "mmseg_cascadepsp[export]"; python tools/refine.py ... --model lite.onnx
and Refiner('lite.onnx') run it; docs/export.md has more."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help="lite (shipped), r50 (the paper's) or a config file")
    parser.add_argument('--checkpoint', metavar='FILE', help="weights, ours or the authors' own")
    parser.add_argument(
        '-o', '--out', required=True, help='file to write: .onnx, or .pt2 (torch.export)'
    )
    args = parser.parse_args(argv)

    from mmseg_cascadepsp.apis import Refiner, export_refiner

    try:
        refiner = Refiner(args.model, args.checkpoint, device='cpu', precision='fp32')
        export_refiner(refiner, args.out)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f'export.py: {error}', file=sys.stderr)
        return 1
    print(f'{args.out} written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
