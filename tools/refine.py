"""Sharpen coarse masks: see mmseg_cascadepsp/cli/refine.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.refine import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'refine.py'))
