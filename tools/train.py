"""Train a refiner: see mmseg_cascadepsp/cli/train.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.train import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'train.py'))
