"""Trainings that have ended, found by what was trained."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from mbseg.config.load import make_experiment, read_yaml
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import MbsegError
from mbseg.tradeoff.addresses import training_address

logger = logging.getLogger(__name__)


def finished_runs(folders: Sequence[Path]) -> dict[str, RunFolder]:
    """The finished run folders at and below `folders`, by `training_address`; of two with one, the first."""
    found: dict[str, RunFolder] = {}
    for run in (run for folder in folders for run in run_folders(folder)):
        if address := address_of(run):
            found.setdefault(address, run)
    return found


def run_folders(folder: Path) -> Iterator[RunFolder]:
    for result in sorted(folder.rglob("result.json")):
        run = RunFolder(result.parent)
        if run.best.is_file() and run.config.is_file():
            yield run


def address_of(run: RunFolder) -> str | None:
    """None for a run whose config no longer holds; it is named, and otherwise left alone."""
    try:
        return training_address(make_experiment(read_yaml(run.config), source=str(run.config)))
    except MbsegError as error:
        logger.warning("%s is not used: %s", run.path, error)
        return None
