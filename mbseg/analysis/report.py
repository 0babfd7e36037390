"""Costs and latencies as plain text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from mbseg.analysis.latency import Latency
from mbseg.analysis.peaks import Peaks
from mbseg.analysis.profile import Cost, LayerCost
from mbseg.analysis.roofline import LayerBound, Roof, Roofline
from mbseg.analysis.timing import Timing

UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "K"))
LAYER_HEADINGS = ("layer", "kind", "output", "params", "madds", "share")
LATENCY_HEADINGS = ("", "median ms", "p95 ms")
BOUND_HEADINGS = ("layer", "kind", "bound by", "bound ms", "measured ms", "times")
LATENCY_COLUMNS = {
    "net": "net",
    "upsampling_argmax": "net + upsampling + arg-max",
    "class_map": "net + class_map",
    "boxes": "net + boxes (decoding, non-maximum suppression)",
    "class_map_boxes": "net + class_map + boxes",
}


def cost_summary(cost: Cost) -> str:
    """The whole network's cost, and how its parts share it."""
    height, width = cost.image_size
    lines = [
        f"picture          {height} x {width} (height x width), {describe_passes(cost)}",
        f"params           {with_unit(cost.params)}",
        f"multiply-adds    {with_unit(cost.madds)} ({cost.accounting} accounting)",
        f"peak activations {cost.peak_activation_bytes / 1e6:.1f} MB (float32, batch 1)",
    ]
    return "\n".join([*lines, "", layout(part_rows(cost))])


def layer_table(cost: Cost) -> str:
    """A line for each layer that costs multiply-adds, one for the parameters of all others, and the sum."""
    charged = [layer for layer in cost.layers if layer.madds]
    others = [layer for layer in cost.layers if not layer.madds]
    rows = [layer_row(layer, cost) for layer in charged]
    others_row = ("others", kinds_of(others), "", with_unit(total_params(others)), "0", share(0, cost))
    return layout([LAYER_HEADINGS, *rows, others_row, total_row(cost)], text_columns=3)


def latency_table(latency: Latency) -> str:
    """The columns of a measurement, one a line, under what they hold for."""
    height, width = latency.image_size
    title = (
        f"{height} x {width} (height x width), batch {latency.batch}, {latency.threads} threads, {latency.device}, "
        f"{latency.backend}, {latency.columns['net'].runs} runs each"
    )
    rows = [timing_row(LATENCY_COLUMNS[name], timing) for name, timing in latency.columns.items()]
    return f"{title}\n{layout([LATENCY_HEADINGS, *rows])}"


def memory_line(cost: Cost, measured_bytes: int) -> str:
    counted = f"{cost.peak_activation_bytes / 1e6:.1f} MB of activations counted"
    return f"peak memory of a pass  {measured_bytes / 1e6:.1f} MB measured, {counted}"


def roofline_table(roofline: Roofline, measured: Mapping[str, float]) -> str:
    """A line for each layer: its bound, what it took with all that follows it (`measure_layers`), and their ratio."""
    return layout([BOUND_HEADINGS, *(bound_row(layer, measured) for layer in roofline.layers)], text_columns=3)


def roofline_summary(roofline: Roofline, latency: Latency) -> str:
    """The whole network's bound, what it consists of, and the distance to it."""
    net = latency.columns["net"].median_ms
    shares = ", ".join(f"{roof} {100 * roofline.share(roof):.1f} %" for roof in get_args(Roof))
    lines = [
        f"roofline bound   {roofline.ms:.2f} ms, in layers bound by: {shares}",
        f"measured (net)   {net:.2f} ms, {times(net, roofline.ms)} the bound",
        f"peaks            {describe_peaks(roofline.peaks)}",
    ]
    return "\n".join(lines)


def describe_peaks(peaks: Peaks) -> str:
    rates = (peaks.memory_bytes_per_second, peaks.cache_bytes_per_second)
    memory, cache = (f"{rate / 1e9:.1f} GB/s" for rate in rates)
    size = f"{peaks.cache_bytes / 2**20:g} MiB"
    madds = f"{with_unit(peaks.madds_per_second)} multiply-adds/s"
    return f"{madds}, memory {memory}, cache ({size}) {cache}; {peaks.precision}, {peaks.threads} threads"


def bound_row(layer: LayerBound, measured: Mapping[str, float]) -> tuple[str, ...]:
    words = (layer.name, layer.kind, layer.bound_by, f"{layer.bound_ms:.3f}")
    if layer.name not in measured:
        return (*words, "", "")
    taken = measured[layer.name]
    return (*words, f"{taken:.3f}", times(taken, layer.bound_ms))


def times(taken: float, bound: float) -> str:
    return f"{taken / bound:.1f} x"


def with_unit(number: float) -> str:
    """2113557 -> "2.114 M", in thousands (K), millions (M) or billions (B)."""
    for size, unit in UNITS:
        if number >= size:
            return f"{number / size:.3f} {unit}"
    return f"{number:g}"


def describe_passes(cost: Cost) -> str:
    count = len(cost.scales) * (2 if cost.flip else 1)
    if count == 1 and cost.scales == (1.0,):
        return "1 pass"
    mirrored = ", each with its mirror image" if cost.flip else ""
    return f"{count} passes at scales {', '.join(f'{scale:g}' for scale in cost.scales)}{mirrored}"


def part_rows(cost: Cost) -> Iterator[tuple[str, ...]]:
    """One line for each of the model's own children, for example backbone and head."""
    yield ("part", "params", "madds", "share")
    for part in dict.fromkeys(part_of(layer) for layer in cost.layers):
        layers = [layer for layer in cost.layers if part_of(layer) == part]
        madds = sum(layer.madds for layer in layers)
        yield (part or "whole picture", with_unit(total_params(layers)), with_unit(madds), share(madds, cost))


def part_of(layer: LayerCost) -> str:
    return layer.name.split(".")[0]


def layer_row(layer: LayerCost, cost: Cost) -> tuple[str, ...]:
    shape = " x ".join(str(size) for size in layer.output_shape[1:])
    return (layer.name, layer.kind, shape, with_unit(layer.params), with_unit(layer.madds), share(layer.madds, cost))


def total_row(cost: Cost) -> tuple[str, ...]:
    return ("sum", "", "", with_unit(cost.params), with_unit(cost.madds), share(cost.madds, cost))


def timing_row(name: str, timing: Timing) -> tuple[str, ...]:
    return (name, f"{timing.median_ms:.1f}", "" if timing.p95_ms is None else f"{timing.p95_ms:.1f}")


def kinds_of(layers: Iterable[LayerCost]) -> str:
    return ", ".join(dict.fromkeys(layer.kind for layer in layers))


def total_params(layers: Iterable[LayerCost]) -> int:
    return sum(layer.params for layer in layers)


def share(madds: float, cost: Cost) -> str:
    return f"{100 * madds / max(cost.madds, 1):.1f} %"


def layout(rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Columns as wide as their widest cell: `text_columns` of words to the left, then numbers to the right."""
    cells = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
