"""Write the weights of a training checkpoint alone, in fp16, ready to hand on.

Of several checkpoints of one network, their mean is written.
"""

from .running import import_package, parser_of

EPILOG = """\
examples:
  python tools/model_converters/publish_weights.py work_dirs/cascadepsp_lite/iter_2200.pth lite.pth
  python tools/model_converters/publish_weights.py first.pth second.pth mean.pth
      trainings that went on from the same weights: their mean is often better than each
  python tools/model_converters/publish_weights.py lite.pth lite.safetensors
      the same weights in a format that cannot hold code

With EMA in the config, the averaged weights are kept: those that validation measured."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument('src', nargs='+', help='checkpoint of tools/train.py')
    parser.add_argument('dst', help='file to write')
    args = parser.parse_args(argv)

    import_package()
    from mmseg_cascadepsp.apis import publish_checkpoint

    publish_checkpoint(args.src, args.dst)
    print(f'{args.dst} written')
    return 0
