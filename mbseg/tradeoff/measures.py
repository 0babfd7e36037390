"""What the rows take on this machine: all of them in turns, so that a change of load meets all alike."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from mbseg.analysis.latency import Latency, TimedNetwork, measure_latencies
from mbseg.analysis.measured_memory import measure_peak_memory
from mbseg.analysis.peaks import Peaks, measure_peaks
from mbseg.analysis.profile import scale_size
from mbseg.analysis.roofline import roofline
from mbseg.build import Model, builder
from mbseg.build_common import labels
from mbseg.config.schema import Experiment
from mbseg.engine.device import pick_device
from mbseg.files import write_atomically
from mbseg.output import progress_bar
from mbseg.runtime.torch_backend import describe, prepare
from mbseg.tradeoff.addresses import address, chosen
from mbseg.tradeoff.lines import Measured
from mbseg.tradeoff.rows import Row
from mbseg.weights.report import load_state
from mbseg.weights.store import read_weights

SECONDS_PER_ROW = 4.0

Found = dict[str, Measured]  # by the row's name


def measured_once(rows: Sequence[Row], weights: Mapping[str, Path], file: Path, *, again: bool) -> Found:
    """The measures in `file` if they are of these rows on this machine, else new ones, which are then kept there."""
    key = address([conditions_of(rows), [(row.name, asks(row), row.name in weights) for row in rows]])
    if not again and (kept := read_measures(file, key)) is not None:
        return kept
    found = measure(rows, weights)
    content = {"address": key, "rows": {name: asdict(one) for name, one in found.items()}}
    write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())
    return found


def conditions_of(rows: Sequence[Row]) -> list[object]:
    """The machine, as far as it can be told, and the threads."""
    return [platform.node(), platform.processor(), torch.__version__, torch.get_num_threads(), device_of(rows).type]


def asks(row: Row) -> dict[str, object]:
    tree = chosen(row.experiment)
    return {"size": row.image_size, **{part: tree.get(part) for part in ("task", "model", "evaluate")}}


def device_of(rows: Sequence[Row]) -> torch.device:
    return pick_device(rows[0].experiment.device)


def read_measures(file: Path, key: str) -> Found | None:
    try:
        content = json.loads(file.read_text())
        if content["address"] == key:
            return {name: Measured(**one) for name, one in content["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError):  # another version's, or torn: it is measured again
        pass
    return None


def measure(rows: Sequence[Row], weights: Mapping[str, Path]) -> Found:
    models = {row.name: build(row.experiment, weights.get(row.name)) for row in rows}
    networks = [timed(row, models[row.name], trained=row.name in weights) for row in rows]
    threads = rows[0].experiment.threads
    with progress_bar() as report:
        latencies = measure_latencies(
            networks,
            device=device_of(rows),
            threads=threads,
            seconds=SECONDS_PER_ROW * len(networks),
            on_run=report,
        )
    peaks = peaks_of(rows)
    return {
        row.name: measured(row, models[row.name], latency, peaks.get(row.experiment.evaluate.precision))
        for row, latency in zip(rows, latencies, strict=True)
    }


def peaks_of(rows: Sequence[Row]) -> dict[str, Peaks]:
    """By precision; those of a CPU alone are known."""
    if device_of(rows).type != "cpu":
        return {}
    threads = rows[0].experiment.threads
    precisions = dict.fromkeys(row.experiment.evaluate.precision for row in rows)
    return {precision: measure_peaks(threads=threads, precision=precision) for precision in precisions}


def build(experiment: Experiment, weights: Path | None) -> Model:
    """With the weights that were scored, where they are at hand."""
    model: Model = builder(experiment.task).model(experiment.model, len(labels(experiment).classes), weights=False)
    if weights:
        load_state(model, read_weights(weights)[0], origin=str(weights))
    return model.eval()


def timed(row: Row, model: Model, *, trained: bool) -> TimedNetwork:
    passes = row.experiment.evaluate
    return TimedNetwork(
        model=prepare(model, backend=passes.backend, precision=passes.precision),
        image_size=row.image_size,
        scales=passes.scales,
        flip=passes.flip,
        backend=describe(passes.backend, passes.precision),
        trained=trained,
    )


def measured(row: Row, model: Model, latency: Latency, peaks: Peaks | None) -> Measured:
    """The peak memory is that of the largest pass."""
    largest = scale_size(row.image_size, max(row.experiment.evaluate.scales))
    return Measured(
        latency_ms={name: timing.median_ms for name, timing in latency.columns.items()},
        p95_ms={name: timing.p95_ms for name, timing in latency.columns.items()},
        runs={name: timing.runs for name, timing in latency.columns.items()},
        bound_ms=bound_ms(row, model, peaks) if peaks else None,
        peak_activation_bytes=measure_peak_memory(model, largest, threads=row.experiment.threads),
        threads=latency.threads,
        device=latency.device,
        backend=latency.backend,
        peaks=asdict(peaks) if peaks else None,
    )


def bound_ms(row: Row, model: Model, peaks: Peaks) -> float:
    passes = row.experiment.evaluate
    return roofline(model, peaks, image_size=row.image_size, scales=passes.scales, flip=passes.flip).ms
