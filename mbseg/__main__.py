"""`mbseg` and `python -m mbseg`."""

from mbseg.cli import run

if __name__ == "__main__":
    run()
