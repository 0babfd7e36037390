"""Trainings that are interrupted at random moments and resumed until they are done."""

import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mbseg.data.shapes import draw_shapes
from mbseg.files import TEMPORARY_SUFFIX
from tests.stress.processes import Command, orphans, start
from tests.stress.training_runs import TREE, VARIANTS, faults, fingerprint, names, phase, saved_step

FINISHED = 0
OBEYED_WITHIN = 20.0  # seconds from SIGTERM to the end, with the cores shared


@dataclass(frozen=True)
class Reference:
    """A training that nobody interrupted."""

    config: Path
    fingerprint: str
    seconds: float


@dataclass
class Stitched:
    """What became of one training that was interrupted."""

    interruptions: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # files that cannot be read after a kill
    refused: list[str] = field(default_factory=list)  # attempts that ended otherwise: by a lock, an error, not at all
    orphans: int = 0  # workers that outlived their training
    left_behind: list[str] = field(default_factory=list)  # temporary files, at the end
    at_once: int = 0  # SIGTERM before the training was there to hear it
    slowest_end: float = 0.0  # seconds from SIGTERM to the end
    is_equal: bool = False

    @property
    def is_right(self) -> bool:
        return self.is_equal and not (self.faults or self.refused or self.orphans or self.left_behind)


def references(folder: Path, variants: int = len(VARIANTS)) -> list[Reference]:
    """One for each of the first variants, and the pictures that all are trained on."""
    draw_shapes(folder / "shapes", train=24, val=6, size=(64, 64))
    assert start(["--version"], folder / "server.log").exit_code == FINISHED  # the server has imported everything
    return [reference(folder, number) for number in range(variants)]


def reference(folder: Path, number: int) -> Reference:
    tree = {**TREE, "data": {**TREE["data"], "root": str(folder / "shapes")}}
    config = folder / f"variant{number}.yaml"
    config.write_text(yaml.safe_dump(tree))
    whole = folder / f"whole{number}"
    command = attempt(config, number, whole)
    assert command.exit_code == FINISHED, command.last_words
    return Reference(config, fingerprint(whole), command.seconds)


def attempt(config: Path, variant: int, run: Path) -> Command:
    arguments = ["train", str(config), *VARIANTS[variant], "--output", str(run), "--resume"]
    return start(arguments, run.with_suffix(".log"))


def stitched(folder: Path, whole: list[Reference], seed: int, how: signal.Signals, number: int) -> Stitched:
    """Training `number`: interrupted at a random moment of the whole one's time, and resumed, until one ends first."""
    rng = random.Random(f"{seed} {how.name} {number}")
    variant, run, found = number % len(VARIANTS), folder / f"{how.name}{number}", Stitched()
    expected = whole[variant]
    code = 128 + how
    while code == 128 + how and not found.faults:
        code = interrupted(expected, variant, run, how, rng, found)
    if code == FINISHED:
        found.left_behind = [name for name in names(run) if name.endswith(TEMPORARY_SUFFIX)]
        found.is_equal = fingerprint(run) == expected.fingerprint
        shutil.rmtree(run)
    return found


def interrupted(
    expected: Reference, variant: int, run: Path, how: signal.Signals, rng: random.Random, found: Stitched
) -> int:
    """One attempt, and what it leaves; its exit code."""
    began_at, moment = saved_step(run), rng.uniform(0, expected.seconds)
    command = attempt(expected.config, variant, run)
    if not command.ended_within(moment):
        end(command, how, found)
        found.faults += faults(run)
    if command.exit_code == 128 + how:
        found.interruptions += 1
        found.phases["a torn file" if found.faults else phase(run, began_at)] += 1
    if command.exit_code not in (FINISHED, 128 + how):
        found.refused.append(f"{run.name}: exit code {command.exit_code}: {command.last_words}")
    return command.exit_code


def end(command: Command, how: signal.Signals, found: Stitched) -> None:
    """Sends the signal, waits for the end, and looks who is left."""
    asked = time.monotonic()
    command.send(how)
    if not command.ended_within(OBEYED_WITHIN):
        found.refused.append(f"{how.name} was not obeyed within {OBEYED_WITHIN:g} s")
        command.send(signal.SIGKILL)
        command.ended_within(OBEYED_WITHIN)
    found.slowest_end = max(found.slowest_end, time.monotonic() - asked)
    found.at_once += command.process.exitcode == -signal.SIGTERM
    found.orphans += len(orphans(command.group))
