"""What a training has come to beside its weights."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Scores = dict[str, Any]
Losses = dict[str, Tensor]


@dataclass
class Progress:
    """All that the next step, the next line of the log and the result depend on, but weights and optimizer."""

    step: int = 0  # steps done
    best: Scores | None = None  # of the evaluation that is best so far
    last: Scores | None = None  # of the last evaluation
    skipped: int = 0  # steps whose loss or gradient was not finite
    skipped_in_a_row: int = 0
    losses: list[Losses] = field(default_factory=list)  # of the steps since the last line of the log
    earlier_seconds: float = 0.0  # of training, evaluation included, before it was resumed
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started

    @property
    def evaluated(self) -> int:
        """The step of the last evaluation; 0 before the first."""
        return self.last["step"] if self.last else 0

    def has_done(self, losses: Losses | None) -> None:
        """One more step; None was skipped."""
        self.step += 1
        if losses is None:
            self.skipped += 1
            self.skipped_in_a_row += 1
        else:
            self.skipped_in_a_row = 0
            self.losses.append(losses)

    def mean_losses(self) -> dict[str, float]:
        """Of the steps since the last call; nothing if all were skipped."""
        means = {name: value.item() for name, value in mean_tensors(self.losses).items()}
        self.losses.clear()
        return means

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain types and tensors."""
        kept = {name: getattr(self, name) for name in KEPT}
        return {**kept, "seconds": self.seconds}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> "Progress":
        losses = [{name: value.to(device) for name, value in one.items()} for one in state["losses"]]
        kept = {name: state[name] for name in KEPT}
        return cls(**{**kept, "losses": losses}, earlier_seconds=state["seconds"])


KEPT = ("step", "best", "last", "skipped", "skipped_in_a_row", "losses")


def mean_tensors(parts: list[Losses]) -> Losses:
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]} if parts else {}
