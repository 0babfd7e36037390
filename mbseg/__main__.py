"""`mbseg` and `python -m mbseg`."""

import sys

from mbseg.cli import main


def run() -> None:
    sys.exit(main())


if __name__ == "__main__":
    run()
