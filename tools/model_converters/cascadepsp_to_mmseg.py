"""Convert the authors' weights: see mmseg_cascadepsp/cli/convert.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.convert import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'cascadepsp_to_mmseg.py'))
