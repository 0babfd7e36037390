"""`mbseg tradeoff`."""

import shlex
from collections.abc import Sequence
from json import loads
from pathlib import Path
from typing import Literal

from mbseg.errors import ConfigError
from mbseg.output import AsJson, Overrides, print_json

Axis = Literal["madds", "latency", "params", "memory"]


def tradeoff(
    grid: str,
    /,
    *overrides: Overrides,
    output: Path | None = None,
    train: bool = False,
    jobs: int = 1,
    runs: tuple[Path, ...] = (),
    weights: tuple[Path, ...] = (),
    cost: Axis = "madds",
    counts_only: bool = False,
    measure_again: bool = False,
    json: AsJson = False,
) -> None:
    """Fill the table of a grid: what every row costs, how long it takes here, what it scores, and what papers print.

    Writes table.md, table.csv, table.json, pareto.png and pareto.html. Rows that are finished are not done again.

    Parameters
    ----------
    grid
        A grid file, or the name of a shipped one such as tradeoff/voc_table7.
    output
        The folder of the table; runs/tradeoff/NAME if not given.
    train
        Train the rows that have no score yet.
    jobs
        Trainings side by side; threads=1 for each lets them share the cores.
    runs
        Folders that hold finished trainings.
    weights
        Files of weights with their config, as import-weights and train write them; each serves the rows of its network.
    cost
        The axis of pareto.png; pareto.html has all.
    counts_only
        Leave out what has to be measured on this machine: latency, measured memory, roofline.
    measure_again
        Do not use what was measured before.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs is {jobs}; it must be 1 or more")
    if missing := [folder for folder in runs if not folder.is_dir()]:
        raise ConfigError(f"--runs {missing[0]} is no folder; name one that holds run folders")
    from mbseg.tradeoff.report import JSON, MARKDOWN, PAGE, PNG
    from mbseg.tradeoff.sweep import Request
    from mbseg.tradeoff.sweep import tradeoff as run

    folder = output or default_folder(grid)
    request = Request(
        overrides=overrides,
        train=train,
        jobs=jobs,
        runs=runs,
        weights=weights,
        measure=not counts_only,
        measure_again=measure_again,
        cost=cost,
        command=typed(grid, overrides, train=train, runs=runs, weights=weights, cost=cost, counts_only=counts_only),
    )
    run(grid, folder, request)
    if json:
        print_json(loads((folder / JSON).read_text()))
    else:
        print((folder / MARKDOWN).read_text())
        print(f"charts          {folder / PNG}, {folder / PAGE}")


def typed(
    grid: str,
    overrides: Sequence[str],
    *,
    train: bool,
    runs: Sequence[Path],
    weights: Sequence[Path],
    cost: Axis,
    counts_only: bool,
) -> str:
    """The command again, as far as it decides what stands in the table and the charts."""
    options = [*(["--train"] if train else []), *(["--counts-only"] if counts_only else [])]
    options += [word for run in runs for word in ("--runs", str(run))]
    options += [word for file in weights for word in ("--weights", str(file))]
    options += ["--cost", cost] if cost != "madds" else []
    return shlex.join(["mbseg", "tradeoff", grid, *overrides, *options])


def default_folder(grid: str) -> Path:
    return Path("runs", "tradeoff", Path(grid).stem)
