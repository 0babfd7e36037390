"""The command `mbseg check-data` as a script."""

from mbseg.cli import run_tool

run_tool("check-data")
