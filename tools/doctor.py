"""The command `mbseg doctor` as a script."""

from mbseg.cli import run_tool

if __name__ == "__main__":
    run_tool("doctor")
