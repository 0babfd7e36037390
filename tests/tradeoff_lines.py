"""Lines of a table built by hand: no network is built, run or measured."""

from collections.abc import Mapping
from typing import Any

from mbseg.analysis.profile import Cost
from mbseg.config.load import load_experiment
from mbseg.config.schema import Experiment
from mbseg.tradeoff.lines import Line, Measured
from mbseg.tradeoff.published import Published
from mbseg.tradeoff.results import Result
from mbseg.tradeoff.rows import Row, with_seed

SEGMENTER = load_experiment("voc/deeplabv3_mobilenet_v2_os16_none")
DETECTOR = load_experiment("coco/ssdlite_mobilenet_v2")
SIZE = (513, 513)


def row(
    name: str = "OS 16",
    experiment: Experiment = SEGMENTER,
    *,
    columns: Mapping[str, str] | None = None,
    seeds: tuple[int, ...] = (0, 1),
) -> Row:
    trainings = {seed: with_seed(experiment, seed) for seed in seeds}
    return Row(name, f"group of {name}", columns or {}, experiment, trainings, SIZE)


def cost(params: int = 2_113_557, madds: int = 2_746_728_132) -> Cost:
    return Cost(params, madds, 50_000_000, (), SIZE, "native", (1.0,), False)


def measured(latency_ms: Mapping[str, float] | None = None, **changed: Any) -> Measured:
    latency_ms = latency_ms or {"net": 60.0, "upsampling_argmax": 80.0, "class_map": 66.0}
    facts: dict[str, Any] = {
        "p95_ms": {name: value + 5 for name, value in latency_ms.items()},
        "runs": dict.fromkeys(latency_ms, 40),
        "bound_ms": 30.0,
        "peak_activation_bytes": 61_000_000,
        "threads": 2,
        "device": "cpu",
        "backend": "torch eager, fp32",
        "peaks": {
            "madds_per_second": 100e9,
            "memory_bytes_per_second": 10e9,
            "cache_bytes_per_second": 50e9,
            "cache_bytes": 32 * 2**20,
            "threads": 2,
            "precision": "fp32",
        },
    }
    return Measured(latency_ms, **{**facts, **changed})


def result(seed: int | None = 0, **scores: float | None) -> Result:
    training = {} if seed is None else {"steps": 540, "seconds": 61.5, "threads": 1}
    return Result("address", "OS 16", seed, {"images": 1449, **scores}, "every pixel", "weights", training)


def paper(**changed: Any) -> Published:
    facts: dict[str, Any] = {
        "source": "arXiv:1801.04381, Table 7",
        "split": "VOC 2012 val",
        "params_millions": 2.11,
        "madds_billions": 2.75,
        "score_percent": 75.32,
        "accounting": "tf",
        "counted": cost(),
        "pretraining": "ImageNet, COCO",
    }
    return Published(**{**facts, **changed})


def line(
    of: Row | None = None,
    *results: Result,
    published: Published | None = None,
    measured: Measured | None = None,
    why_no_score: str = "",
) -> Line:
    return Line(of or row(), cost(), published, results, measured, why_no_score)
