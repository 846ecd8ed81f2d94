"""``python -m mmseg_cascadepsp`` is the command ``mmseg-cascadepsp``."""

import sys

from mmseg_cascadepsp.cli.command import main

if __name__ == '__main__':
    sys.exit(main())
