"""Turn the authors' CascadePSP checkpoint into one for configs/cascadepsp_r50.py."""

from .running import import_package, parser_of

EPILOG = """\
example:
  python tools/model_converters/cascadepsp_to_mmseg.py model cascadepsp_r50.pth

SRC is the file `model` of release v1.0 of https://github.com/hkchengrex/CascadePSP (259 MB).
Refiner('r50', checkpoint=SRC) takes it as it is, too."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument('src', help="the authors' checkpoint")
    parser.add_argument('dst', help='file to write')
    args = parser.parse_args(argv)

    import_package()
    from mmseg_cascadepsp.apis import convert_checkpoint

    convert_checkpoint(args.src, args.dst)
    print(f'{args.dst} written')
    return 0
