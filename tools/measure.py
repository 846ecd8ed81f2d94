"""Measure a refiner on photos and masks: see mmseg_cascadepsp/cli/measure.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.measure import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'measure.py'))
