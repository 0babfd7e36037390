"""The command `mbseg train` as a script; `torchrun tools/train.py` starts it on several processes."""

from mbseg.cli import run_tool

run_tool("train")
