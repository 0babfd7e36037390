"""The files of a table: for people, for spreadsheets, for programs; and its charts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mbseg.files import write_atomically
from mbseg.tradeoff.chart import AXES, chart_page, chart_png
from mbseg.tradeoff.lines import SCORE_NAMES, Line
from mbseg.tradeoff.published import Published
from mbseg.tradeoff.table import as_csv, as_json, as_markdown

MARKDOWN, CSV, JSON, PNG, PAGE = "table.md", "table.csv", "table.json", "pareto.png", "pareto.html"


def write_report(lines: Sequence[Line], title: str, output: Path, *, cost: str, command: str) -> None:
    """All five files; each is the old one or the new one, whatever happens."""
    told = caption(lines)
    write_atomically(output / MARKDOWN, markdown(lines, title, told, command).encode())
    write_atomically(output / CSV, as_csv(lines))
    write_atomically(output / JSON, as_json(lines, {"title": title, "conditions": told}))
    write_atomically(output / PNG, chart_png(lines, cost=AXES[cost], title=title, caption=told))
    write_atomically(output / PAGE, chart_page(lines, title=title, caption=told))


def markdown(lines: Sequence[Line], title: str, told: str, command: str) -> str:
    parts = [f"# {title}", f"`{command}`", told, as_markdown(lines), *notes(lines), f"![{title}]({PNG})"]
    return "\n\n".join(parts) + "\n"


def caption(lines: Sequence[Line]) -> str:
    """What all figures hold for, in one sentence."""
    first = lines[0]
    data = first.row.experiment.data
    sizes = dict.fromkeys(line.row.image_size for line in lines)
    score = SCORE_NAMES[first.score_names[0]]
    pictures = dict.fromkeys(result.scores["images"] for line in lines for result in line.results)
    scored = f", {' or '.join(map(str, pictures))} pictures" if pictures else ""
    size = ", ".join(f"{height} x {width}" for height, width in sizes)
    said = [f"{score} on {data.kind}, {data.val}{scored}", f"costs at {size} ({first.cost.accounting} accounting)"]
    if first.measured:
        conditions = dict.fromkeys(line.measured.backend for line in lines if line.measured)
        threads = first.measured.threads
        said.append(f"times of one picture on {first.measured.device}, {threads} threads, {', '.join(conditions)}, ")
        said[-1] += "what follows the network has noise to deal with, its worst case"
    return "; ".join(said)


def notes(lines: Sequence[Line]) -> Iterator[str]:
    """What stands in the paper's columns, what the bounds were reckoned with, and why a cell is blank."""
    yield from dict.fromkeys(paper_note(line.published) for line in lines if line.published)
    yield from (f"{line.row.name}: {line.published.note}." for line in lines if line.published and line.published.note)
    every = [line.measured.peaks for line in lines if line.measured and line.measured.peaks]
    for peaks in {peaks["precision"]: peaks for peaks in every}.values():
        yield f"Bound: this machine's best, {peaks_text(peaks)}."
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if line.why_no_score:
            reasons.setdefault(line.why_no_score, []).append(line.row.name)
        elif missing := [str(seed) for seed in line.row.trainings if line.lacks(seed)]:
            yield f"{line.row.name}: not scored with seed {', '.join(missing)}."
    for reason, names in reasons.items():
        yield f"No score of {'any row' if len(names) == len(lines) else '; '.join(names)}: {reason}."


def paper_note(printed: Published) -> str:
    from_elsewhere = f", pretrained on {printed.pretraining}" if printed.pretraining else ""
    score = f"scores on {printed.split}{from_elsewhere}"
    return f"Paper: {printed.source}; {score}; costs in {printed.accounting} accounting, as ours beside them."


def peaks_text(peaks: Mapping[str, Any]) -> str:
    """For example "fp32, 2 threads: 235 G madds/s, 48 GB/s, of what fits the last-level cache (32 MiB) 198 GB/s"."""
    memory, cache = (peaks[f"{part}_bytes_per_second"] / 1e9 for part in ("memory", "cache"))
    held = peaks["cache_bytes"] / 2**20
    computing = f"{peaks['precision']}, {peaks['threads']} threads: {peaks['madds_per_second'] / 1e9:.0f} G madds/s"
    return f"{computing}, {memory:.0f} GB/s, of what fits the last-level cache ({held:.0f} MiB) {cache:.0f} GB/s"
