"""Test a segmentor and a refiner: see mmseg_cascadepsp/cli/test.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.test import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'test.py'))
