"""The command `mbseg prepare-dataset` as a script."""

from mbseg.cli import run_tool

run_tool("prepare-dataset")
