"""What the rows take on this machine: all of them in turns, so that a change of load meets all alike."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from mbseg.analysis.latency import Latency, TimedNetwork, measure_latencies
from mbseg.analysis.measured_memory import measure_peak_memory
from mbseg.analysis.peaks import Peaks, measure_peaks
from mbseg.analysis.roofline import roofline
from mbseg.build import untrained
from mbseg.build_common import labels
from mbseg.engine.device import pick_device
from mbseg.files import write_atomically
from mbseg.models.framing import scaled
from mbseg.output import progress_bar
from mbseg.runtime.backends import check_backend, describe, prepare
from mbseg.tradeoff.addresses import ORIGIN, address, chosen, without
from mbseg.tradeoff.lines import Measured
from mbseg.tradeoff.rows import Row

SECONDS_PER_ROW = 4.0

Found = dict[str, Measured]  # by the row's name


def measured_once(rows: Sequence[Row], file: Path, *, again: bool) -> Found:
    """The measures in `file` if they are of these rows on this machine, else new ones, which are then kept there."""
    key = measures_address(rows)
    if not again and (kept := read_measures(file, key)) is not None:
        return kept
    found = measure(rows)
    content = {"address": key, "rows": {name: asdict(one) for name, one in found.items()}}
    write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())
    return found


def measures_address(rows: Sequence[Row]) -> str:
    """Of the machine, as far as it can be told, and of all that its times depend on."""
    first = rows[0].experiment
    threads = first.threads or torch.get_num_threads()
    machine = [platform.node(), platform.machine(), processor(), torch.__version__, threads, first.device]
    return address([machine, [(row.name, asks(row)) for row in rows]])


def processor() -> str:
    """Its name; on Linux Python does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def asks(row: Row) -> dict[str, object]:
    tree, classes = without(chosen(row.experiment), ORIGIN), len(labels(row.experiment).classes)
    parts = {part: tree.get(part) for part in ("task", "model", "evaluate")}
    return {"size": row.image_size, "classes": classes, **parts}


def read_measures(file: Path, key: str) -> Found | None:
    try:
        content = json.loads(file.read_text())
        if content["address"] == key:
            return {name: Measured(**one) for name, one in content["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # another version's, or damaged
        pass
    return None


def measure(rows: Sequence[Row]) -> Found:
    first = rows[0].experiment
    device = pick_device(first.device)
    for row in rows:
        check_backend(row.experiment.evaluate.backend, row.experiment.evaluate.precision, device)
    with progress_bar() as report:
        latencies = measure_latencies(
            [timed(row, device) for row in rows],
            device=device,
            threads=first.threads,
            seconds=SECONDS_PER_ROW * len(rows),
            on_run=report,
        )
    peaks = peaks_of(rows) if device.type == "cpu" else {}
    return {
        row.name: measured(row, latency, peaks.get(row.experiment.evaluate.precision))
        for row, latency in zip(rows, latencies, strict=True)
    }


def peaks_of(rows: Sequence[Row]) -> dict[str, Peaks]:
    """By precision."""
    threads = rows[0].experiment.threads
    precisions = dict.fromkeys(row.experiment.evaluate.precision for row in rows)
    return {precision: measure_peaks(threads=threads, precision=precision) for precision in precisions}


def timed(row: Row, device: torch.device) -> TimedNetwork:
    """All rows alike, trained or not: what follows the network has noise to deal with."""
    passes = row.experiment.evaluate
    return TimedNetwork(
        model=prepare(untrained(row.experiment, device=device), backend=passes.backend, precision=passes.precision),
        image_size=row.image_size,
        scales=passes.scales,
        flip=passes.flip,
        backend=describe(passes.backend, passes.precision),
    )


def measured(row: Row, latency: Latency, peaks: Peaks | None) -> Measured:
    return Measured(
        latency_ms={name: timing.median_ms for name, timing in latency.columns.items()},
        p95_ms={name: timing.p95_ms for name, timing in latency.columns.items()},
        runs={name: timing.runs for name, timing in latency.columns.items()},
        bound_ms=bound_ms(row, peaks) if peaks else None,
        peak_activation_bytes=peak_bytes(row, latency.device),
        threads=latency.threads,
        device=latency.device,
        backend=latency.backend,
        peaks=asdict(peaks) if peaks else None,
    )


def bound_ms(row: Row, peaks: Peaks) -> float:
    passes, model = row.experiment.evaluate, untrained(row.experiment, device="meta")
    return roofline(model, peaks, image_size=row.image_size, scales=passes.scales, flip=passes.flip).ms


def peak_bytes(row: Row, device: str) -> int | None:
    """Of the largest pass; of the plain network alone, which is also what is counted."""
    passes = row.experiment.evaluate
    if (passes.backend, passes.precision) != ("eager", "fp32"):
        return None
    largest = scaled(row.image_size, max(passes.scales))
    model = untrained(row.experiment, device=device)
    return measure_peak_memory(model, largest, threads=row.experiment.threads)
