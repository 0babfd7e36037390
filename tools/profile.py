"""The command `mbseg profile` as a script."""

from mbseg.cli import run_tool

run_tool("profile")
