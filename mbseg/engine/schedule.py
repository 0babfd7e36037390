"""The learning rate's factor at a step: warm-up, then poly or cosine decay to zero."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """A pure function of the step: nothing to save, nothing to resume."""

    steps: int
    name: Literal["poly", "cosine"] = "poly"
    power: float = 0.9  # poly: (1 - progress) ** power, as in DeepLab (arXiv:1706.05587, section 4)
    warmup_steps: int = 0

    def factor(self, step: int) -> float:
        """For step 0 .. steps - 1; in (0, 1]."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        if self.name == "poly":
            return float((1 - progress) ** self.power)
        return (1 + math.cos(math.pi * progress)) / 2
