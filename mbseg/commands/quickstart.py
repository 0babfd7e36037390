"""`mbseg quickstart`."""

from pathlib import Path
from typing import Literal

from mbseg.output import Overrides

CONFIGS = {"segmentation": "quickstart", "detection": "quickstart_detection", "joint": "quickstart_joint"}


def quickstart(
    *overrides: Overrides,
    task: Literal["segmentation", "detection", "joint"] = "segmentation",
    output: Path | None = None,
) -> None:
    """Draw a small data set, train on it, evaluate, profile, and write a report; minutes on two cores.

    Parameters
    ----------
    task
        What to learn of the drawn shapes: a class for every pixel, a box for every shape, or both at once.
    output
        The run folder; runs/quickstart, runs/quickstart_detection or runs/quickstart_joint if not given. Call it again
        to go on where it stopped, or to see the finished result.
    """
    from mbseg.quickstart import quickstart as run

    config = CONFIGS[task]
    print(run(config, output or Path("runs", config), overrides))
