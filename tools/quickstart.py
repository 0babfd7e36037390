"""The command `mbseg quickstart` as a script."""

from mbseg.cli import run_tool

run_tool("quickstart")
