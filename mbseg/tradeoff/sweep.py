"""From a grid to its table and charts. Whatever ends it, it goes on where it was: every finished part is kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mbseg.config.grid import load_grid
from mbseg.engine.lock import locked
from mbseg.errors import ConfigError, MbsegError, RunError
from mbseg.files import sweep_temporaries
from mbseg.tradeoff.addresses import training_address
from mbseg.tradeoff.checks import check_training, counted
from mbseg.tradeoff.lines import Line
from mbseg.tradeoff.measures import measured_once
from mbseg.tradeoff.report import write_report
from mbseg.tradeoff.results import Results
from mbseg.tradeoff.rows import Row, rows_of
from mbseg.tradeoff.runs import finished_runs
from mbseg.tradeoff.scores import Given, Scorer, read_given
from mbseg.tradeoff.training import Job, jobs_of, train_all

NOT_TRAINED = "not trained: --train does it, --runs names finished runs, --weights finished weights"


@dataclass(frozen=True)
class Request:
    """What the command line asks of a sweep."""

    overrides: Sequence[str] = ()
    train: bool = False
    jobs: int = 1  # trainings side by side
    runs: Sequence[Path] = ()  # folders with finished trainings
    weights: Sequence[Path] = ()  # files that carry their config
    measure: bool = True  # latency, memory and roofline on this machine
    measure_again: bool = False
    cost: str = "madds"  # the axis of the PNG
    command: str = ""  # as it was typed, for beside the table


def tradeoff(file: str, output: Path, request: Request) -> list[Line]:
    """Fills `output` with table.md, table.csv, table.json, pareto.png and pareto.html, and gives the table's lines.

    Raises ConfigError, DataError or WeightsError for a row that cannot be, before any is run; RunError for a folder
    that another sweep is writing to, and, behind the finished table, for trainings that failed.
    """
    grid, path = load_grid(file)
    rows = rows_of(grid, path, request.overrides)
    given = read_given(request.weights)
    check_each_fits(given, rows)
    lines = [counted(row, grid.measure.accounting) for row in rows]
    kept = Results(output / "results", (path.with_suffix(""),))
    scorer = Scorer(kept, finished_runs([output / "runs", *request.runs]), given)
    missing = {row.name: scorer.missing(row) for row in rows} if request.train else {}
    check_training([row for row in rows if missing.get(row.name)])
    with only_sweep_in(output):
        failed = train_missing(rows, missing, scorer, output / "runs", jobs=request.jobs)
        lines = [with_scores(line, scorer, failed) for line in lines]
        write_report(lines, grid.title, output, cost=request.cost, command=request.command)
        if request.measure:
            found = measured_once(rows, output / "measures.json", again=request.measure_again)
            lines = [replace(line, measured=found[line.row.name]) for line in lines]
            write_report(lines, grid.title, output, cost=request.cost, command=request.command)
    if failed:
        said = f"{len(failed)} of the trainings failed, the first said: {next(iter(failed.values()))}"
        raise RunError(f"{said}; the table is in {output}, and another call tries again")
    return lines


def check_each_fits(given: Sequence[Given], rows: Sequence[Row]) -> None:
    for one in given:
        if not any(one.fits(row) for row in rows):
            raise ConfigError(
                f"{one.path} is the network of no row, or has other classes; mbseg profile shows what it is"
            )


def train_missing(
    rows: Sequence[Row], missing: Mapping[str, Sequence[int]], scorer: Scorer, folder: Path, *, jobs: int
) -> dict[str, str]:
    """Trains the missing seeds, and scores their rows as soon as one ends; gives what failed, and why."""

    def finish(job: Job) -> None:
        scorer.runs[job.address] = job.run
        for row in rows:
            if job.address in map(training_address, row.trainings.values()):
                with suppress(MbsegError):  # it is tried again, and told, when all have ended
                    scorer.scored(row)

    return train_all(jobs_of(rows, missing, folder), at_once=jobs, on_finished=finish)


def with_scores(line: Line, scorer: Scorer, failed: Mapping[str, str]) -> Line:
    """A row that cannot be scored leaves a blank, and says why; the others have theirs."""
    try:
        results = scorer.scored(line.row)
    except MbsegError as error:
        return replace(line, why_no_score=str(error))
    addresses = [training_address(training) for training in line.row.trainings.values()]
    why = next((failed[address] for address in addresses if address in failed), NOT_TRAINED)
    return replace(line, results=results, why_no_score="" if results else why)


@contextmanager
def only_sweep_in(output: Path) -> Iterator[None]:
    """Makes the folder, and holds it against other sweeps; a killed one holds it no longer. Raises RunError."""
    with locked(output):
        (output / "results").mkdir(exist_ok=True)
        for folder in (output, output / "results"):
            sweep_temporaries(folder)
        yield
