"""Write a refiner as ONNX: see mmseg_cascadepsp/cli/export.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.export import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'export.py'))
