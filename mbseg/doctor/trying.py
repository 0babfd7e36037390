"""Starts the trials in a process of their own, and judges what came of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any, NamedTuple

from mbseg.doctor.findings import Finding, fault, ok
from mbseg.doctor.machine import Machine
from mbseg.doctor.machine_checks import TorchFacts, check_torch
from mbseg.doctor.trials import IMPORT, TORCH, UNFINISHED
from mbseg.processes import ending_with_this

LONGEST = 300.0  # seconds: numba's first compilations on a slow machine are a part of it
OUT_OF_TIME = signal.SIGALRM  # which Python leaves to end the process, whatever it waits for
SAID = "stderr"
REMEDIES = {
    "cv2": "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless",
    "torch": "pip install --force-reinstall torch torchvision",
    "torchvision": "pip install --force-reinstall torch torchvision: each is made for one version of the other",
}


class Outcome(NamedTuple):
    """What came of one trial."""

    trial: str
    seconds: float = 0.0
    result: Any = None
    error: str = ""  # empty: it went well


def try_all(on_trial: Callable[[str], None] = lambda _trial: None, longest: float = LONGEST) -> list[Outcome]:
    """Every trial that was begun; one that takes its process down, or does not end, is the last."""
    try:
        with TemporaryDirectory(prefix="mbseg-doctor-", ignore_cleanup_errors=True) as scratch:
            return listen(Path(scratch), on_trial, longest)
    except OSError as error:
        return [Outcome("start", error=error.strerror or str(error))]


def listen(scratch: Path, on_trial: Callable[[str], None], longest: float) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    with started(scratch, longest) as process:
        for line in process.stdout or ():
            told = Outcome(**json.loads(line))
            on_trial(told.trial)
            outcomes[told.trial] = told  # its last word counts
        process.wait()
    if process.returncode:
        last = next(reversed(outcomes.values()), Outcome("start", error=UNFINISHED))
        trial = last.trial if last.error == UNFINISHED else "end"
        outcomes[trial] = Outcome(trial, error=reason(process.returncode, scratch / SAID))
    return list(outcomes.values())


@contextmanager
def started(scratch: Path, longest: float) -> Iterator[subprocess.Popen[bytes]]:
    """The trials, which get so many seconds and no longer than the block; without network, leaving nothing behind."""
    command = [sys.executable, "-P", "-m", "mbseg.doctor.trials", str(scratch)]
    with (
        (scratch / SAID).open("wb") as said,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "TORCHINDUCTOR_CACHE_DIR": str(scratch)},
            preexec_fn=ending_with_this(),
        ) as process,
    ):
        timer = Timer(longest, process.send_signal, [OUT_OF_TIME])
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


def reason(code: int, said: Path) -> str:
    """Why a process ended that should not have, with the last it said."""
    if code == -OUT_OF_TIME:
        return "did not end in time"
    if code == -signal.SIGKILL:
        return "was killed, perhaps for want of memory"
    last = "".join(said.read_text(errors="replace").splitlines()[-1:])
    ended = f"ended with {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{ended}{f' ({last})' if last else ''}"


def check_trials(outcomes: Sequence[Outcome], machine: Machine) -> Iterator[Finding]:
    imports = [outcome for outcome in outcomes if outcome.trial.startswith(IMPORT)]
    yield from check_imports(imports)
    for outcome in outcomes[len(imports) :]:
        if outcome.trial == TORCH and not outcome.error:
            yield from check_torch(TorchFacts(**outcome.result), machine)
        else:
            yield check_step(outcome)


def check_imports(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    """What fails with the words of one before it only needs that one."""
    broken: dict[str, str] = {}  # error -> the first that met it
    for outcome in outcomes:
        if outcome.error:
            broken.setdefault(outcome.error, outcome.trial)
    for error, trial in broken.items():
        module = trial.removeprefix(IMPORT)
        yield fault(trial, error, REMEDIES.get(module, f"pip install --force-reinstall {module.partition('.')[0]}"))
    if not broken:
        yield ok("imports", f"{len(outcomes)} libraries in {sum(outcome.seconds for outcome in outcomes):.1f} s")


def check_step(outcome: Outcome) -> Finding:
    name = f"self-test: {outcome.trial}"
    if outcome.error:
        return fault(name, outcome.error, "mend what is named above first; else report it with what --json prints")
    return ok(name, f"{outcome.result} ({outcome.seconds:.1f} s)")
