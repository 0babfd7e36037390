"""Charts of what was measured."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

NAMES = {"miou": "mIoU", "joint_score": "mean of mIoU and AP50"}
VAL_COLOUR, LOSS_COLOUR = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion: told apart by everybody


def learning_curve(lines: Sequence[Mapping[str, Any]], *, score: str, title: str) -> bytes:
    """A PNG of a run's `metrics.jsonl`: validation score and training loss over the steps."""
    name = NAMES.get(score, score)
    figure = Figure(figsize=(8, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="step", ylabel=f"validation {name}", ylim=(0, 1))
    steps, scores = series(lines, "val", score)
    axes.plot(steps, scores, color=VAL_COLOUR, marker=".", label=f"validation {name}")
    if scores:
        best = max(range(len(scores)), key=scores.__getitem__)
        axes.annotate(f"{scores[best]:.4f}", (steps[best], scores[best]), ha="right", va="bottom", color=VAL_COLOUR)
    right = axes.twinx()
    right.plot(*series(lines, "train", "loss"), color=LOSS_COLOUR, linewidth=1, label="training loss")
    right.set(ylabel="training loss", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    data = BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def series(lines: Sequence[Mapping[str, Any]], part: str, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one number."""
    chosen = [line for line in lines if line["part"] == part and name in line]
    return [line["step"] for line in chosen], [line[name] for line in chosen]
