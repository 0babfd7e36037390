"""The lines as Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mbseg.tradeoff.lines import SCORE_NAMES, Line, record

Cell = Callable[[Line], str]
BLANK = ""
LATENCY = {
    "net": "net ms",
    "upsampling_argmax": "+ upsampling, arg-max",
    "class_map": "+ class map",
    "boxes": "+ boxes",
}


def as_json(lines: Sequence[Line], facts: Mapping[str, Any]) -> bytes:
    return (json.dumps({**facts, "rows": [record(line) for line in lines]}, indent=2, allow_nan=False) + "\n").encode()


def as_csv(lines: Sequence[Line]) -> bytes:
    """One flat line a row: what is nested in the JSON has its keys joined by dots."""
    records = [flat(record(line)) for line in lines]
    keys = list(dict.fromkeys(key for each in records for key in each))
    keys = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]  # blank where others nest
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, keys, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            found |= {f"{prefix}{key}.{name}": spaced([one.get(name) for one in value]) for name in value[0]}
        else:
            found[f"{prefix}{key}"] = spaced(value) if isinstance(value, list) else value
    return found


def spaced(values: list[Any]) -> str:
    return " ".join(map(str, values))


def as_markdown(lines: Sequence[Line]) -> str:
    """The table for readers: params in millions, multiply-adds in billions, memory in megabytes, scores in per cent."""
    columns = columns_of(lines)
    rows = [[cell(line) for cell in columns.values()] for line in lines]
    shown = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    headings = [list(columns)[index] for index in shown]
    body = [[row[index] for index in shown] for row in rows]
    return "\n".join(markdown_row(cells) for cells in (headings, ["---"] * len(headings), *body))


def columns_of(lines: Sequence[Line]) -> dict[str, Cell]:
    scores = dict.fromkeys(score for line in lines for score in line.score_names)
    own = dict.fromkeys(heading for line in lines for heading in line.row.columns)
    return {
        "row": lambda line: line.row.name,
        **{heading: own_cell(heading) for heading in own},
        "params M": lambda line: f"{line.cost.params / 1e6:.3f}",
        "madds B": lambda line: f"{line.cost.madds / 1e9:.3f}",
        "memory MB": lambda line: f"{line.cost.peak_activation_bytes / 1e6:.1f}",
        "measured MB": memory_cell,
        **{heading: latency_cell(key) for key, heading in LATENCY.items()},
        "p95 of net": p95_cell,
        "bound ms": bound_cell,
        "net / bound": distance_cell,
        **{f"{SCORE_NAMES[score]} %": score_cell(score) for score in scores},
        "seeds": lambda line: " ".join(str(result.seed) for result in line.results if result.seed is not None),
        **PAPER,
    }


def own_cell(heading: str) -> Cell:
    """A column that the grid itself defines."""
    return lambda line: line.row.columns.get(heading, BLANK)


def latency_cell(column: str) -> Cell:
    def cell(line: Line) -> str:
        value = line.measured.latency_ms.get(column) if line.measured else None
        return BLANK if value is None else f"{value:.1f}"

    return cell


def p95_cell(line: Line) -> str:
    value = line.measured.p95_ms.get("net") if line.measured else None
    return BLANK if value is None else f"{value:.1f}"


def memory_cell(line: Line) -> str:
    peak = line.measured.peak_activation_bytes if line.measured else None
    return BLANK if peak is None else f"{peak / 1e6:.1f}"


def bound_cell(line: Line) -> str:
    bound = line.measured.bound_ms if line.measured else None
    return BLANK if bound is None else f"{bound:.1f}"


def distance_cell(line: Line) -> str:
    if line.measured is None or line.measured.bound_ms is None:
        return BLANK
    return f"{line.measured.latency_ms['net'] / line.measured.bound_ms:.1f}"


def score_cell(score: str) -> Cell:
    """The mean over the seeds, and each of them where there are several."""

    def cell(line: Line) -> str:
        values, mean = line.values(score), line.mean(score)
        if mean is None:
            return BLANK
        each = f" ({', '.join(f'{100 * value:.1f}' for value in values)})" if len(values) > 1 else ""
        return f"{100 * mean:.1f}{each}"

    return cell


def paper_cell(line: Line) -> str:
    printed = line.published
    if printed is None:
        return BLANK
    params = "" if printed.params_millions is None else f"{printed.params_millions:g} M, "
    score = "" if printed.score_percent is None else f", {printed.score_percent:g} %"
    return f"{params}{printed.madds_billions:g} B{score}"


def ours_cell(line: Line) -> str:
    if line.published is None:
        return BLANK
    counted = line.published.counted
    return f"{counted.params / 1e6:.3f} M, {counted.madds / 1e9:.3f} B"


def difference_cell(line: Line) -> str:
    """Of params and multiply-adds in per cent, of the score in points."""
    printed, points = line.published, line.points_above_paper
    if printed is None:
        return BLANK
    params = printed.counted.params / 1e6 / printed.params_millions - 1 if printed.params_millions else None
    madds = printed.counted.madds / 1e9 / printed.madds_billions - 1
    parts = [f"params {100 * params:+.1f} %"] if params is not None else []
    parts += [f"madds {100 * madds:+.1f} %"] + ([f"score {points:+.1f}"] if points is not None else [])
    return ", ".join(parts)


PAPER: dict[str, Cell] = {
    "paper: params, madds, score": paper_cell,
    "ours counted so": ours_cell,
    "difference": difference_cell,
}


def markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
