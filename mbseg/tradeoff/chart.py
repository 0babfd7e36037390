"""The lines as points of a chart."""

from collections.abc import Iterator, Sequence

from mbseg.analysis.pareto import Point, pareto_png
from mbseg.analysis.pareto_page import pareto_page
from mbseg.tradeoff.lines import SCORE_NAMES, Line
from mbseg.tradeoff.table import LATENCY, PAPER, columns_of

MADDS, TIME, PARAMS, MEMORY = "multiply-adds [B]", "latency [ms]", "params [M]", "peak memory [MB]"
COSTS = (MADDS, TIME, PARAMS, MEMORY)
OFF_THE_AXES = (*LATENCY.values(), "p95 of net", "bound ms", "net / bound", "measured MB", "seeds", *PAPER)
AXES = {"madds": MADDS, "latency": TIME, "params": PARAMS, "memory": MEMORY}  # what --cost may say


def points_of(lines: Sequence[Line]) -> list[Point]:
    """A point for each line with a score of its own; where there is none, the paper's."""
    return [point for line in lines for point in (measured_point(line), published_point(line)) if point]


def measured_point(line: Line) -> Point | None:
    scores = {SCORE_NAMES[score]: mean for score in line.score_names if (mean := line.mean(score)) is not None}
    if not scores:
        return None
    spread = {
        SCORE_NAMES[score]: (min(values), max(values))
        for score in line.score_names
        if len(values := line.values(score)) > 1
    }
    return Point(line.row.name, costs_of(line), scores, line.row.group, spread=spread, details=dict(details(line)))


def published_point(line: Line) -> Point | None:
    printed = line.published
    if printed is None or printed.score_percent is None or line.mean(line.score_names[0]) is not None:
        return None
    score = SCORE_NAMES[line.score_names[0]]
    told = {**dict(details(line)), "score from": f"{printed.source}, {printed.split}"}
    scores = {score: printed.score_percent / 100}
    return Point(line.row.name, costs_of(line), scores, line.row.group, published=True, details=told)


def costs_of(line: Line) -> dict[str, float]:
    """The last column of the latencies: from the picture to its class map or boxes."""
    cost, measured = line.cost, line.measured
    counted = {MADDS: cost.madds / 1e9, PARAMS: cost.params / 1e6, MEMORY: cost.peak_activation_bytes / 1e6}
    return {**counted, TIME: list(measured.latency_ms.values())[-1]} if measured else counted


def details(line: Line) -> Iterator[tuple[str, str]]:
    """What the table says of it and no axis shows."""
    yield from line.row.columns.items()
    columns = columns_of([line])
    for heading in OFF_THE_AXES:
        if text := columns[heading](line):
            yield heading, text


def score_names(lines: Sequence[Line]) -> list[str]:
    return [SCORE_NAMES[score] for score in dict.fromkeys(score for line in lines for score in line.score_names)]


def chart_png(lines: Sequence[Line], *, cost: str, title: str, caption: str) -> bytes:
    return pareto_png(points_of(lines), cost=cost, score=score_names(lines)[0], title=title, caption=caption)


def chart_page(lines: Sequence[Line], *, title: str, caption: str) -> bytes:
    return pareto_page(points_of(lines), costs=COSTS, scores=score_names(lines), title=title, caption=caption)
