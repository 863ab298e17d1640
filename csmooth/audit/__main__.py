"""``python -m csmooth.audit``: the command line without its first word."""

import sys

from csmooth.audit.cli import main

if __name__ == "__main__":
    sys.exit(main(["audit", *sys.argv[1:]]))
