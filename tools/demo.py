"""Refine the sample photos: see mmseg_cascadepsp/cli/demo.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.demo import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'demo.py'))
