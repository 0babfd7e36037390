"""`mbseg profile`."""

from typing import TYPE_CHECKING, Any, Literal

from mbseg.output import AsJson, Overrides, print_json

if TYPE_CHECKING:
    from mbseg.analysis.latency import Latency
    from mbseg.analysis.profile import Cost


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
        Height and width of the picture; data.crop_size if not given, of detection model.image_size.
    accounting
        native: what is computed; tf: what TensorFlow's profiler charged, and so what the papers print.
    latency
        Time one pass on this machine too.
    """
    import torch

    from mbseg.analysis import profile as analysis
    from mbseg.analysis import report
    from mbseg.analysis.latency import measure_latency
    from mbseg.build import builder
    from mbseg.build_common import labels
    from mbseg.engine.device import pick_device
    from mbseg.targets import experiment_of

    experiment = experiment_of(target, overrides)
    own_size = experiment.model.image_size if experiment.task == "detection" else experiment.data.crop_size
    size, passes = image_size or own_size, experiment.evaluate
    with torch.device("cpu" if latency else "meta"):
        model = builder(experiment.task).model(experiment.model, len(labels(experiment).classes), weights=False)
    cost = analysis.profile(model, image_size=size, accounting=accounting, scales=passes.scales, flip=passes.flip)
    timed = None
    if latency:
        device = pick_device(experiment.device)
        timed = measure_latency(model, size, device=device, threads=experiment.threads)
    if json:
        print_json(facts(cost, timed))
        return
    print(report.layer_table(cost), report.cost_summary(cost), sep="\n\n")
    if timed:
        print("", report.latency_table(timed), sep="\n")


def facts(cost: "Cost", timed: "Latency | None") -> dict[str, Any]:
    """What `--json` prints; latency_ms holds medians of one pass at scale 1."""
    counted = {
        "params": cost.params,
        "madds": cost.madds,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "image_size": list(cost.image_size),
        "accounting": cost.accounting,
        "scales": list(cost.scales),
        "flip": cost.flip,
    }
    if timed is None:
        return counted
    medians = {name: round(timing.median_ms, 3) for name, timing in timed.columns.items()}
    conditions = {"batch": timed.batch, "threads": timed.threads, "device": timed.device, "backend": timed.backend}
    return {**counted, "latency_ms": medians, "latency_conditions": conditions}
