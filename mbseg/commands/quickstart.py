"""`mbseg quickstart`."""

from pathlib import Path

from mbseg.output import Overrides


def quickstart(*overrides: Overrides, output: Path = Path("runs/quickstart")) -> None:
    """Draw a small data set, train on it, evaluate, profile, and write a report; minutes on two cores.

    Parameters
    ----------
    output
        The run folder. Call it again to go on where it stopped, or to see the finished result.
    """
    from mbseg.quickstart import quickstart as run

    print(run(output, overrides))
