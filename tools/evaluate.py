"""The command `mbseg evaluate` as a script."""

from mbseg.cli import run_tool

run_tool("evaluate")
