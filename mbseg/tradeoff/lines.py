"""A finished line of the table: what a row costs, what it scores, and what a paper prints of it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mbseg.analysis.profile import Cost
from mbseg.tradeoff.published import Published
from mbseg.tradeoff.results import Result
from mbseg.tradeoff.rows import Row

SCORES = {"segmentation": ("miou", "boundary_iou"), "detection": ("ap", "ap50")}  # the first one decides
SCORE_NAMES = {"miou": "mIoU", "boundary_iou": "Boundary IoU", "ap": "COCO AP", "ap50": "AP50"}


@dataclass(frozen=True)
class Measured:
    """One row on this machine, one picture at a time; milliseconds are medians."""

    latency_ms: Mapping[str, float]  # `Latency.columns`
    p95_ms: Mapping[str, float | None]
    runs: Mapping[str, int]
    bound_ms: float | None  # no faster than that, by the machine's measured peaks; None: not a CPU
    peak_activation_bytes: int | None  # None where the system cannot tell
    threads: int
    device: str
    backend: str
    peaks: Mapping[str, Any] | None  # of the machine: `Peaks`


@dataclass(frozen=True)
class Line:
    """A row with everything known of it; what is not known is None or empty."""

    row: Row
    cost: Cost
    published: Published | None
    results: Sequence[Result]  # one a seed
    measured: Measured | None
    why_no_score: str  # "" where there is one

    @property
    def score_names(self) -> tuple[str, str]:
        return SCORES[self.row.experiment.task]

    def values(self, score: str) -> list[float]:
        """Of every seed."""
        return [float(result.scores[score]) for result in self.results if result.scores.get(score) is not None]

    def lacks(self, seed: int) -> bool:
        """Whether that training is not among the scored ones, though others of this row are."""
        seeds = [result.seed for result in self.results]
        return None not in seeds and seed not in seeds

    def mean(self, score: str) -> float | None:
        values = self.values(score)
        return statistics.fmean(values) if values else None

    @property
    def points_above_paper(self) -> float | None:
        """None unless both have a score, and on the same split."""
        printed, ours = self.published, self.mean(self.score_names[0])
        if printed is None or printed.score_percent is None or ours is None:
            return None
        return 100 * ours - printed.score_percent if printed.is_scored_on(self.row.experiment.data.val) else None


def record(line: Line) -> dict[str, Any]:
    """For JSON: plain values, scores as fractions, sizes in bytes, times in milliseconds."""
    row, cost, measured = line.row, line.cost, line.measured
    counted = {"params": cost.params, "madds": cost.madds, "peak_activation_bytes": cost.peak_activation_bytes}
    scores = {score: line.mean(score) for score in line.score_names}
    seeds = [result.seed for result in line.results]
    return {
        "name": row.name,
        "columns": dict(row.columns),
        "group": row.group,
        "image_size": list(row.image_size),
        "accounting": cost.accounting,
        "scales": list(cost.scales),
        "flip": cost.flip,
        **counted,
        "measured_peak_activation_bytes": measured.peak_activation_bytes if measured else None,
        "latency_ms": dict(measured.latency_ms) if measured else None,
        "latency_p95_ms": dict(measured.p95_ms) if measured else None,
        "latency_runs": dict(measured.runs) if measured else None,
        "latency_conditions": conditions(measured) if measured else None,
        "bound_ms": measured.bound_ms if measured else None,
        "peaks": dict(measured.peaks) if measured and measured.peaks else None,
        **scores,
        "seeds": seeds,
        "scores_of_seeds": {score: line.values(score) for score in line.score_names},
        "protocol": line.results[0].protocol if line.results else None,
        "weights": [result.weights for result in line.results],
        "training": [result.training for result in line.results],
        "why_no_score": line.why_no_score or None,
        "published": published_record(line),
    }


def conditions(measured: Measured) -> dict[str, Any]:
    return {"batch": 1, "threads": measured.threads, "device": measured.device, "backend": measured.backend}


def published_record(line: Line) -> dict[str, Any] | None:
    """The paper's figures; ours as the paper counts; and how much ours are above."""
    printed = line.published
    if printed is None:
        return None
    params, madds = printed.counted.params / 1e6, printed.counted.madds / 1e9
    known = printed.params_millions is not None
    return {
        "source": printed.source,
        "split": printed.split,
        "params_millions": printed.params_millions,
        "madds_billions": printed.madds_billions,
        "score_percent": printed.score_percent,
        "pretraining": printed.pretraining,
        "accounting": printed.accounting,
        "note": printed.note,
        "our_params_millions": params,
        "our_madds_billions": madds,
        "params_difference_millions": params - (printed.params_millions or 0.0) if known else None,
        "madds_difference_billions": madds - printed.madds_billions,
        "score_difference_points": line.points_above_paper,
    }
