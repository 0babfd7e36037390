"""`mbseg profile`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mbseg.output import AsJson, Overrides, print_json

if TYPE_CHECKING:
    from mbseg.analysis.latency import Latency
    from mbseg.analysis.profile import Cost
    from mbseg.analysis.roofline import Roofline
    from mbseg.build import Model
    from mbseg.config.schema import Experiment


@dataclass(frozen=True)
class Measured:
    """What one pass takes on this machine; all but the latency is measured on the CPU alone."""

    latency: "Latency"
    peak_bytes: int | None = None
    roofline: "Roofline | None" = None
    layers_ms: Mapping[str, float] = field(default_factory=dict)


def profile(
    target: str,
    /,
    *overrides: Overrides,
    image_size: tuple[int, int] | None = None,
    accounting: Literal["native", "tf"] = "native",
    latency: bool = False,
    json: AsJson = False,
) -> None:
    """Count a network's params, multiply-adds and peak activation memory, layer by layer.

    The multiply-adds are summed over the passes of evaluate.scales and evaluate.flip, which segmentation has.

    Parameters
    ----------
    target
        A config or a weights file.
    image_size
        Height and width of the picture; data.crop_size if not given, of detection and joint model.image_size.
    accounting
        native: what is computed; tf: what TensorFlow's profiler charged, and so what the papers print.
    latency
        Time one pass on this machine too; on the CPU also every layer, beside its roofline bound, and the peak memory.
    """

    from mbseg.analysis import profile as analysis
    from mbseg.build import untrained
    from mbseg.targets import experiment_of

    experiment = experiment_of(target, overrides)
    own_size = experiment.data.crop_size if experiment.task == "segmentation" else experiment.model.image_size
    size, passes = image_size or own_size, experiment.evaluate
    model = untrained(experiment, device="cpu" if latency else "meta")
    cost = analysis.profile(model, image_size=size, accounting=accounting, scales=passes.scales, flip=passes.flip)
    measured = measure(model, size, experiment) if latency else None
    if json:
        print_json({**counts(cost), **(measurements(measured) if measured else {})})
        return
    print_tables(cost, measured)


def measure(model: "Model", size: tuple[int, int], experiment: "Experiment") -> Measured:
    from mbseg.analysis.latency import measure_latency
    from mbseg.analysis.layer_times import measure_layers
    from mbseg.analysis.measured_memory import measure_peak_memory
    from mbseg.analysis.peaks import measure_peaks
    from mbseg.analysis.roofline import roofline
    from mbseg.engine.device import pick_device

    device, threads = pick_device(experiment.device), experiment.threads
    latency = measure_latency(model, size, device=device, threads=threads)
    if device.type != "cpu":
        return Measured(latency)
    bound = roofline(model, measure_peaks(threads=threads), image_size=size)
    names = [layer.name for layer in bound.layers]
    layers_ms = measure_layers(model, size, layers=names, threads=threads)
    return Measured(latency, measure_peak_memory(model, size, threads=threads), bound, layers_ms)


def print_tables(cost: "Cost", measured: Measured | None) -> None:
    from mbseg.analysis import report

    tables = [report.layer_table(cost), report.cost_summary(cost)]
    if measured:
        tables.append(report.latency_table(measured.latency))
    if measured and measured.peak_bytes is not None:
        tables.append(report.memory_line(cost, measured.peak_bytes))
    if measured and measured.roofline:
        tables.append(report.roofline_table(measured.roofline, measured.layers_ms))
        tables.append(report.roofline_summary(measured.roofline, measured.latency))
    print("\n\n".join(tables))


def counts(cost: "Cost") -> dict[str, Any]:
    """What `--json` prints of the network."""
    return {
        "params": cost.params,
        "madds": cost.madds,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "image_size": list(cost.image_size),
        "accounting": cost.accounting,
        "scales": list(cost.scales),
        "flip": cost.flip,
    }


def measurements(measured: Measured) -> dict[str, Any]:
    """What `--json` prints of the machine; latency_ms holds medians of one pass at scale 1."""
    timed = measured.latency
    medians = {name: round(timing.median_ms, 3) for name, timing in timed.columns.items()}
    conditions = {"batch": timed.batch, "threads": timed.threads, "device": timed.device, "backend": timed.backend}
    told: dict[str, Any] = {"latency_ms": medians, "latency_conditions": conditions}
    if measured.peak_bytes is not None:
        told["measured_peak_bytes"] = measured.peak_bytes
    if measured.roofline is not None:
        told["roofline"] = roofline_facts(measured.roofline, measured.layers_ms)
    return told


def roofline_facts(roofline: "Roofline", layers_ms: Mapping[str, float]) -> dict[str, Any]:
    layers = [
        {**asdict(layer), "bound_by": layer.bound_by, "measured_ms": layers_ms.get(layer.name)}
        for layer in roofline.layers
    ]
    return {"bound_ms": roofline.ms, "peaks": asdict(roofline.peaks), "layers": layers}
