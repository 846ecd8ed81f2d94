"""Write a refiner as an ONNX file, which Refiner('FILE.onnx') and any ONNX runtime run."""

from .running import import_package, parser_of

EPILOG = """\
examples:
  python tools/model_converters/export.py lite -o lite.onnx
  python tools/model_converters/export.py my_config.py --checkpoint iter_3000.pth -o mine.onnx

It needs pip install onnx onnxruntime onnxscript. python tools/refine.py ... --model lite.onnx and
Refiner('lite.onnx') run the file; docs/export.md has more."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument('model', help="lite (shipped), r50 (the paper's) or a config file")
    parser.add_argument('--checkpoint', metavar='FILE', help="weights, ours or the authors' own")
    parser.add_argument('-o', '--out', required=True, help='file to write, .onnx')
    args = parser.parse_args(argv)
    import_package()
    from mmseg_cascadepsp.apis import Refiner

    Refiner(args.model, args.checkpoint, device='cpu', precision='fp32').export(args.out)
    print(f'{args.out} written')
    return 0
