"""The command ``mmseg-cascadepsp``: one sub-command for each thing to do."""

import argparse
import gc
import importlib
import importlib.metadata
import os
import platform
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from mmseg_cascadepsp.version import __version__

from .running import EXIT_CODES, Patient, run

#: Sub-command -> module of this room, and what it does.
COMMANDS = {
    'refine': ('refine', 'sharpen the mask of a photo, or the masks of a folder of photos'),
    'annotations': ('annotations', 'refine a set of COCO, YOLO, LabelMe, CVAT, VOC or Cityscapes'),
    'measure': ('measure', 'IoU and boundary accuracy before and after, on your own masks'),
    'test': ('test', 'put a refiner behind an MMSegmentation model and test it on a data set'),
    'train': ('train', 'train a refiner on your own photos'),
    'export': ('export', 'write a refiner as an ONNX file'),
    'models': ('models', 'list the refiners that have a name'),
    'serve': ('serve', 'open a page to refine masks on, and an address for programs'),
    'demo': ('demo', 'refine sample photos and write pictures'),
}
#: Commands in which refiners run, and no network of a user's own MMSegmentation.
REFINING = ('refine', 'refine_annotations', 'annotations', 'serve', 'demo')
#: What results depend on.
STACK = ('torch', 'mmsegmentation', 'mmcv', 'mmcv-lite', 'mmengine', 'numpy', 'opencv-python')


def versions() -> str:
    """Versions of the package and of what it runs on, one a line.

    Example:
        >>> versions().splitlines()[0].split()[0]
        'mmseg_cascadepsp'
    """
    lines = [f'mmseg_cascadepsp {__version__}', f'python {platform.python_version()}']
    for name in STACK:
        try:
            lines.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            pass
    return '\n'.join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The command line, up to the sub-command."""
    commands = '\n'.join(f'  {name:11} {text}' for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='mmseg-cascadepsp',
        usage='mmseg-cascadepsp COMMAND ...',
        description='Masks whose boundaries follow the photo.',
        epilog=f'commands:\n{commands}\n\n`mmseg-cascadepsp COMMAND --help` has the arguments of '
        f'one and examples.\n{EXIT_CODES}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=versions())
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help='see below')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``mmseg-cascadepsp`` and return the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    name = build_parser().parse_args(argv[:1]).command
    module = importlib.import_module(f'.{COMMANDS[name][0]}', __package__)
    sys.argv[0] = f'mmseg-cascadepsp {name}'  # what argparse calls the program
    return run_as_program(module.main, sys.argv[0], argv[1:])


def run_as_program(main, name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command line as a process of its own.

    SIGTERM, which batch systems send first, ends it as Ctrl-C does, and removes half-written
    files. What cannot be printed does not end the work.

    Args:
        main, name, argv: See :func:`~mmseg_cascadepsp.cli.running.run`.

    Returns:
        The exit status.
    """
    # Imports make a million objects that stay: to search them again and again costs a second.
    # :func:`~.running.import_package` enables it.
    gc.disable()
    if Path(name.split()[-1]).stem in REFINING:
        # TorchScript, which no refiner uses: PyTorch and mmcv compile for it while they are
        # imported, which takes half a second. PyTorch reads the variable at its own import.
        os.environ.setdefault('PYTORCH_JIT', '0')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out, told = Patient(sys.stdout), Patient(sys.stderr)
    with redirect_stdout(out), redirect_stderr(told):
        try:
            return run(main, name, argv)
        finally:
            out.flush()
            told.flush()
