"""Refine an annotation set: see mmseg_cascadepsp/cli/annotations.py."""

import sys

from mmseg_cascadepsp.cli.annotations import main
from mmseg_cascadepsp.cli.command import run_as_program

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'refine_annotations.py'))
