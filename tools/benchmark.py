"""The command `mbseg benchmark` as a script."""

from mbseg.cli import run_tool

run_tool("benchmark")
