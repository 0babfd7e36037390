"""The command `mbseg predict-on-ray` as a script."""

from mbseg.cli import run_tool

if __name__ == "__main__":
    run_tool("predict-on-ray")
