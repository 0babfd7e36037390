"""The command `mbseg train` as a script; `torchrun tools/train.py` starts it on several processes."""

from mbseg.cli import run_tool

if __name__ == "__main__":
    run_tool("train")
