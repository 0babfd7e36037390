"""The folder of one training: what lies where, and who may write into it."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg.errors import RunError
from mbseg.files import sweep_temporaries, write_atomically

Line = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The weights to use."""
        return self.path / "best.safetensors"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def curve(self) -> Path:
        """Validation score and training loss over the steps."""
        return self.path / "curve.png"

    @property
    def result(self) -> Path:
        """Written last: a run that has it is finished."""
        return self.path / "result.json"

    def is_started(self) -> bool:
        return any(path.exists() for path in (self.last, self.metrics, self.result, self.best))

    def has_lost_checkpoint(self, checkpoint_every: int) -> bool:
        """Whether one was written, and no kill before the first explains what lies here without `last.pt`."""
        steps = [line["step"] for line in self.read_metrics()]
        return max(steps) > checkpoint_every if steps else self.best.exists()

    def read_result(self) -> Line | None:
        """Raises RunError for a damaged one."""
        if not self.result.exists():
            return None
        try:
            result = json.loads(self.result.read_text())
        except (ValueError, RecursionError):
            result = None
        if not isinstance(result, dict) or "weights" not in result:
            raise RunError(f"{self.result} is damaged; remove it to have it written again")
        return result

    def write_result(self, result: Line) -> None:
        write_atomically(self.result, (json.dumps(result, indent=2) + "\n").encode())

    def refuse_if_taken(self, *, resume: bool) -> None:
        """Raises RunError where a run lies here already and `resume` was not said, or no folder can be."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; name another --output")
        for path in self.last, self.metrics, self.result, self.best:
            if path.exists() and not path.is_file():
                raise RunError(f"{path} is no regular file; name another --output")
        if self.samples.exists() and not self.samples.is_dir():
            raise RunError(f"{self.samples} is no folder; name another --output")
        if self.is_started() and not resume:
            state = "a finished run" if self.result.exists() else "a run"
            raise RunError(
                f"{self.path} holds {state} already; add --resume to go on with it, or name another --output"
            )

    def make(self) -> None:
        """Makes the folder, and sweeps what a killed run left half-written."""
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path} cannot be made: {error.strerror}; name another --output") from None
        sweep_temporaries(self.path)
        sweep_temporaries(self.samples)

    def append_metrics(self, line: Line) -> None:
        """Raises RunError if the disk refuses; a half-written line is forgotten when the run is resumed."""
        try:
            with self.metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.metrics}: {error.strerror}") from error

    def settle_metrics(self) -> None:
        """Brings them to the disk, so that no power cut loses lines that a checkpoint behind them counts on."""
        try:
            with self.metrics.open("rb") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"cannot write {self.metrics}: {error.strerror}") from None

    def read_metrics(self) -> Iterator[Line]:
        """The whole lines; a kill may have torn the last one."""
        if not self.metrics.exists():
            return
        for text in self.metrics.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                return
            if not is_metrics(line):
                return
            yield line

    def evaluations(self) -> list[Line]:
        return [line for line in self.read_metrics() if line["part"] == "val"]

    def forget_metrics_behind(self, step: int, *, evaluated: int) -> None:
        """Drops the lines of steps, and of evaluations, that a resumed training will do again."""
        last = {"train": step, "val": evaluated}
        kept = [json.dumps(line) + "\n" for line in self.read_metrics() if line["step"] <= last[line["part"]]]
        write_atomically(self.metrics, "".join(kept).encode())


def is_metrics(line: object) -> bool:
    """Whether it is a line of `metrics.jsonl`."""
    return isinstance(line, dict) and type(line.get("step")) is int and line.get("part") in ("train", "val")
