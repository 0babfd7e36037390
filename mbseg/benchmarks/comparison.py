"""Things measured in one run, taking turns: their medians and the ratios of these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mbseg.analysis.timing import summarize, take_turns

CPU = torch.device("cpu")
VOC_CLASSES = 21


@dataclass(frozen=True)
class Comparison:
    """Medians of things that took turns; the first is ours."""

    title: str
    milliseconds: dict[str, float]
    rounds: int
    pictures: int  # a turn

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long as the first the others take."""
        names = list(self.milliseconds)
        return {name: self.milliseconds[name] / self.milliseconds[names[0]] for name in names[1:]}


def compare(title: str, turns: dict[str, Callable[[], object]], *, seconds: float, pictures: int = 1) -> Comparison:
    """Runs every entry in turn for about `seconds`, and keeps the medians."""
    times = take_turns(turns, CPU, seconds)
    timings = {name: summarize(values) for name, values in times.items()}
    rounds = min(timing.runs for timing in timings.values())
    return Comparison(title, {name: timing.median_ms for name, timing in timings.items()}, rounds, pictures)


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor) -> None:
    """Gives batch norm the statistics of `images`; in a network without them the maps fade to nothing."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    model.train()(images)


def comparisons_text(comparisons: Sequence[Comparison]) -> str:
    """One block a comparison: medians, pictures a second, and how many times as long as ours the others take."""
    return "\n\n".join(comparison_text(comparison) for comparison in comparisons)


def comparison_text(comparison: Comparison) -> str:
    width = max(len(name) for name in comparison.milliseconds)
    lines = [f"{comparison.title} (medians of {comparison.rounds} turns)"]
    for name, milliseconds in comparison.milliseconds.items():
        ratio = f"  {comparison.ratios[name]:.2f} x" if name in comparison.ratios else ""
        speed = 1000 * comparison.pictures / milliseconds
        lines.append(f"  {name:<{width}}  {milliseconds:9.2f} ms  {speed:8.2f} pictures/s{ratio}")
    return "\n".join(lines)
