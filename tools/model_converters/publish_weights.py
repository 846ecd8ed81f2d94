"""Keep the weights of a checkpoint: see mmseg_cascadepsp/cli/publish.py."""

import sys

from mmseg_cascadepsp.cli.command import run_as_program
from mmseg_cascadepsp.cli.publish import main

if __name__ == '__main__':
    sys.exit(run_as_program(main, 'publish_weights.py'))
