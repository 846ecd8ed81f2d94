"""Lay out the paper's data: see mmseg_cascadepsp/cli/prepare.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.prepare import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'prepare_training_data.py'))
