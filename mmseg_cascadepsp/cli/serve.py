"""Open a page to refine masks on, and an address for programs, on this machine alone unless asked
otherwise.
"""

import argparse
from pathlib import Path

from .options import add_refiner_options
from .running import import_package, parser_of

EPILOG = """\
examples:
  the shipped refiner at http://127.0.0.1:8000, for programs on this machine alone:
    mmseg-cascadepsp serve

  another program asks for a mask:
    curl -F image=@photo.jpg -F mask=@mask.png http://127.0.0.1:8000/v1/refine -o refined.png

  a refiner of your own beside it, which requests name (-F model=my_config):
    mmseg-cascadepsp serve --model lite my_config.py

  for other machines, too, with smaller photos and fewer that wait:
    mmseg-cascadepsp serve --host 0.0.0.0 --port 80 --max-megapixels 12 --max-waiting 4

/docs at that address describes all requests, /healthz says whether it works. There are neither
accounts nor encryption: put it behind a proxy that has them before strangers reach it."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__, EPILOG)
    where = parser.add_argument_group('where it listens')
    where.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at; 0.0.0.0: all of this machine, so that others reach it '
        '(default: 127.0.0.1, which they do not)',
    )
    where.add_argument(
        '--port', type=int, default=8000, help='0: any that is free (default: 8000)'
    )
    where.add_argument(
        '--root-path',
        default='',
        metavar='PATH',
        help='path below which a proxy shows it, such as /refiner',
    )
    limits = parser.add_argument_group('what requests may bring')
    limits.add_argument(
        '--max-megabytes', type=float, default=64, metavar='N', help='of a request (default: 64)'
    )
    limits.add_argument(
        '--max-megapixels',
        type=float,
        default=50,
        metavar='N',
        help='of a picture, told by its header before it is unpacked (default: 50)',
    )
    limits.add_argument(
        '--max-waiting',
        type=int,
        default=16,
        metavar='N',
        help='requests that wait while one runs; more are asked to come back (default: 16)',
    )
    limits.add_argument(
        '--time-limit',
        type=float,
        metavar='SECONDS',
        help='that a refinement may run, without the time that it waits (default: none)',
    )
    how = parser.add_argument_group('how masks are refined')
    add_refiner_options(
        how,
        nargs='+',
        default=['lite'],
        help="lite (shipped), r50 (the paper's), config files or exported refiners (.onnx); the "
        'first is the default of requests (default: lite)',
    )
    how.add_argument(
        '--threads', type=int, metavar='N', help='cores that a refinement uses (default: all)'
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.checkpoint is not None and len(args.model) > 1:
        parser.error('--checkpoint goes with a single --model')
    for name in ('max_megabytes', 'max_megapixels', 'max_waiting', 'time_limit', 'threads'):
        if getattr(args, name) is not None and not getattr(args, name) > 0:
            parser.error(f'--{name.replace("_", "-")} must be positive')
    names = [Path(model).stem for model in args.model]  # requests do not see where files lie
    if len(set(names)) < len(names):
        parser.error(f'--model: requests could not tell {", ".join(names)} apart')
    import_package()
    from mmseg_cascadepsp.apis import Refiner, keep_freed_memory
    from mmseg_cascadepsp.app.jobs import JobQueue
    from mmseg_cascadepsp.app.limits import Limits
    from mmseg_cascadepsp.app.listening import listen, serve
    from mmseg_cascadepsp.app.page import mount_page
    from mmseg_cascadepsp.app.server import create_app

    # Both before a model is loaded or fetched.
    limits = Limits(int(args.max_megabytes * 1e6), int(args.max_megapixels * 1e6))
    socket = listen(args.host, args.port)
    keep_freed_memory()
    models = {
        name: Refiner(model, args.checkpoint, args.device, args.precision)
        for name, model in zip(names, args.model, strict=True)
    }
    queue = JobQueue(args.max_waiting, args.threads, args.time_limit)
    app = create_app(models, queue, limits)
    mount_page(app, models, queue, limits)
    serve(app, socket, args.root_path)
    return 0
