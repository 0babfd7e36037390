"""What a score costs: points, the front of those that none beats, and a chart of both."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle, pairwise
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import IdentityTransform, offset_copy

from mbseg.analysis.label_placement import Box, Label, place_labels

# Okabe and Ito's, told apart by everybody, without the yellow that white paper swallows. Seven colours beside eight
# markers: their pairs repeat after 56 groups.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, FAINT, PAPER = "#1f2328", "#6a737d", "#ffffff"
STYLE: dict[Any, Any] = {
    "font.size": 13,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "text.parse_math": False,
}  # a label may hold $

WIDTH, HEIGHT, KEY_LINE = 10.0, 6.25, 0.17  # inches
DPI, PIXELS = 160, 160 / 72  # pixels an inch, and a point of 1/72 inch
MARK_SIZE, GAP = 11, 9  # points: across a mark, from its middle to its label
CAPTION_LENGTH, KEY_LENGTH = 115, 100  # characters a line
LEGEND_COLUMNS = 6
MOST_NAMES = 18  # above it the points are numbered
LOG_FROM = 5  # times the smallest cost


@dataclass(frozen=True)
class Point:
    """A row of a table as a chart draws it."""

    label: str  # short and unique
    costs: Mapping[str, float]  # under the name of the axis, say "latency [ms]"; what is not known is left out
    scores: Mapping[str, float]  # fractions, say of "mIoU"
    group: str  # has one colour and marker
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of a score: lowest and highest over seeds
    published: bool = False  # a paper's figures: drawn hollow
    details: Mapping[str, str] = field(default_factory=dict)  # shown on request, in this order


def pareto_front(points: Sequence[Point], cost: str, score: str) -> list[Point]:
    """The measured points that no other measured point equals in both figures and beats in one, the cheapest first.

    Published points neither belong to it nor push others off. Points without the cost or the score are left out.
    """
    front: list[Point] = []
    measured = (point for point in with_figures(points, cost, score) if not point.published)
    for point in sorted(measured, key=lambda point: (point.costs[cost], -point.scores[score])):
        best = front[-1] if front else None
        if best is None or point.scores[score] > best.scores[score] or are_twins(point, best, cost, score):
            front.append(point)
    return front


def with_figures(points: Sequence[Point], cost: str, score: str) -> list[Point]:
    return [point for point in points if cost in point.costs and score in point.scores]


def are_twins(one: Point, other: Point, cost: str, score: str) -> bool:
    return (one.costs[cost], one.scores[score]) == (other.costs[cost], other.scores[score])


def needs_log(costs: Sequence[float]) -> bool:
    """Whether the costs lie so far apart that the small ones would crowd on a linear axis."""
    return min(costs, default=0) > 0 and max(costs) > LOG_FROM * min(costs)


def pareto_png(points: Sequence[Point], *, cost: str, score: str, title: str, caption: str = "") -> bytes:
    """A PNG, 1600 pixels wide, of the points that have the cost and the score, and of their front.

    Each point carries its label or, where there are too many or one finds no room, a number that a list below explains.
    """
    with rc_context(STYLE):
        chart = ParetoChart(points, cost, score)
        if len(chart.shown) > MOST_NAMES or not chart.draw(title, caption, numbered=False):
            chart.draw(title, caption, numbered=True)
        data = BytesIO()
        chart.figure.savefig(data, format="png", dpi=DPI)
    return data.getvalue()


class ParetoChart:
    """One score over one cost."""

    def __init__(self, points: Sequence[Point], cost: str, score: str):
        self.cost, self.score = cost, score
        self.shown = sorted(with_figures(points, cost, score), key=lambda point: point.costs[cost])
        self.front = pareto_front(points, cost, score)
        groups = dict.fromkeys(point.group for point in points)  # of all: the same style in every chart of a table
        self.styles = dict(zip(groups, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))

    def draw(self, title: str, caption: str, *, numbered: bool) -> bool:
        """Draws it anew; says whether every label found a clear place."""
        names = [point.label for point in self.shown]
        key = key_lines(names) if numbered else []
        self.figure = Figure(figsize=(WIDTH, HEIGHT + KEY_LINE * len(key)), dpi=DPI, layout="constrained")
        self.axes = self.figure.add_subplot(xlabel=self.cost, ylabel=f"{self.score} [%]")
        self.write_round_the_axes(title, caption, key)
        if not self.shown:
            self.say_that_nothing_is_there()
            return True
        self.draw_points()
        self.scale_axes()
        self.draw_front()
        self.draw_legend()
        return self.draw_labels([str(number) for number in range(1, len(names) + 1)] if numbered else names)

    def write_round_the_axes(self, title: str, caption: str, key: Sequence[str]) -> None:
        self.figure.suptitle(title, x=0.01, ha="left", weight="bold", size=16)
        self.axes.set_title(textwrap.fill(caption, CAPTION_LENGTH), loc="left", size=11, color=FAINT)
        self.axes.spines[["top", "right"]].set_visible(False)
        self.axes.grid(alpha=0.25)
        if key:
            below = offset_copy(self.axes.transAxes, self.figure, y=-48, units="points")
            self.axes.text(0, 0, "\n".join(key), transform=below, va="top", family="monospace", size=10)

    def say_that_nothing_is_there(self) -> None:
        text = f"no row has {self.score} and {self.cost} yet"
        self.axes.text(0.5, 0.5, text, transform=self.axes.transAxes, ha="center", color=FAINT)
        self.axes.set(xticks=[], yticks=[])

    def draw_points(self) -> None:
        for point in self.shown:
            colour, marker = self.styles[point.group]
            face, edge = (PAPER, colour) if point.published else (colour, PAPER)
            (x, y), spread = self.place(point), self.spread(point)
            self.axes.plot([x, x], spread, color=colour, marker="_", linewidth=1.5, zorder=2)
            self.axes.plot(x, y, marker, ms=MARK_SIZE, mfc=face, mec=edge, mew=1.6, zorder=3)

    def place(self, point: Point) -> tuple[float, float]:
        """In the units of the axes."""
        return point.costs[self.cost], 100 * point.scores[self.score]

    def spread(self, point: Point) -> tuple[float, float]:
        """The lowest and the highest score, in the unit of the axis."""
        score = point.scores[self.score]
        lowest, highest = point.spread.get(self.score, (score, score))
        return 100 * lowest, 100 * highest

    def scale_axes(self) -> None:
        """Room for labels at the edges; a cost that spans much gets a logarithmic axis, with plain numbers."""
        costs = [point.costs[self.cost] for point in self.shown]
        self.axes.margins(x=0.1, y=0.12)
        if needs_log(costs):
            steps = (1, 2, 5) if max(costs) < 1000 * min(costs) else (1,)
            self.axes.set_xscale("log")
            self.axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
            self.axes.xaxis.set_minor_locator(NullLocator())
            self.axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:.10g}"))
        self.axes.set(xlim=self.axes.get_xlim(), ylim=self.axes.get_ylim())  # as they are: lines change them no more

    def draw_front(self) -> None:
        corners = list(self.corners())
        if corners:
            self.axes.plot(*zip(*corners, strict=True), color=FAINT, linewidth=1.5, zorder=1)

    def corners(self) -> Iterator[tuple[float, float]]:
        """Of the staircase of the best score that a cost buys; it ends level at the right edge."""
        level = None
        for x, y in map(self.place, self.front):
            if level is not None:
                yield x, level
            yield x, y
            level = y
        if level is not None:
            yield self.axes.get_xlim()[1], level

    def draw_legend(self) -> None:
        groups = {point.group for point in self.shown}
        styles = {group: style for group, style in self.styles.items() if group in groups}
        entries = [legend_mark(group, marker, face=colour, edge=colour) for group, (colour, marker) in styles.items()]
        if any(point.published for point in self.shown):
            entries.append(legend_mark("hollow: published", "o", face=PAPER, edge=FAINT))
        if any(self.score in point.spread for point in self.shown):
            entries.append(Line2D([], [], color=FAINT, marker="|", ms=16, mew=1.5, ls="none", label="range over seeds"))
        if self.front:
            entries.append(Line2D([], [], color=FAINT, linewidth=1.5, label="Pareto front"))
        columns = math.ceil(len(entries) / math.ceil(len(entries) / LEGEND_COLUMNS))
        style = {"frameon": False, "fontsize": 11, "handlelength": 1.5, "columnspacing": 1.5}
        self.figure.legend(handles=entries, loc="outside lower center", ncols=columns, **style)

    def draw_labels(self, names: Sequence[str]) -> bool:
        """Each beside its mark, those of the front first; says whether all found a clear place."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # nothing moves any more: pixels are known
        order = sorted(range(len(names)), key=lambda index: self.shown[index] not in self.front)
        texts = [self.label_text(names[index], self.shown[index]) for index in order]
        anchors = [self.pixels(*self.place(self.shown[index])) for index in order]
        labels = place_labels(
            anchors,
            [(extent.width, extent.height) for extent in (text.get_window_extent() for text in texts)],
            marks=[Box(x, y, x, y).grown(MARK_SIZE / 2 * PIXELS) for x, y in anchors],
            lines=list(self.line_boxes()),
            frame=Box(*self.axes.bbox.extents),
            gap=GAP * PIXELS,
        )
        for text, anchor, label in zip(texts, anchors, labels, strict=True):
            self.set_label(text, anchor, label)
        return all(label.is_clear for label in labels)

    def label_text(self, name: str, point: Point) -> Text:
        text = self.figure.text(0, 0, name, ha="center", va="center", size=11, transform=IdentityTransform(), zorder=5)
        text.set(color=INK if point in self.front else FAINT, style="italic" if point.published else "normal")
        text.set_path_effects([withStroke(linewidth=3, foreground=PAPER)])
        return text

    def set_label(self, text: Text, anchor: tuple[float, float], label: Label) -> None:
        text.set_position(label.box.centre)
        if not label.is_near:
            xs, ys = zip(anchor, label.box.nearest(anchor), strict=True)
            self.figure.add_artist(Line2D(xs, ys, color=FAINT, linewidth=0.8, transform=IdentityTransform()))

    def line_boxes(self) -> Iterator[Box]:
        """What the front and the ranges over seeds cover."""
        corners = [self.pixels(*corner) for corner in self.corners()]
        for (left, bottom), (right, top) in pairwise(corners):
            yield Box(left, bottom, right, top).grown(PIXELS)
        for point in self.shown:
            x, _ = self.place(point)
            lowest, highest = self.spread(point)
            yield Box(*self.pixels(x, lowest), *self.pixels(x, highest)).grown(PIXELS)

    def pixels(self, x: float, y: float) -> tuple[float, float]:
        column, row = self.axes.transData.transform((x, y))
        return float(column), float(row)


def legend_mark(label: str, marker: str, *, face: str, edge: str) -> Line2D:
    return Line2D([], [], ls="none", marker=marker, ms=MARK_SIZE, mfc=face, mec=edge, mew=1.6, label=label)


def key_lines(labels: Sequence[str]) -> list[str]:
    """The labels with their numbers, in columns, from the top down; for a typeface of one width."""
    entries = [f"{number:>2} {label}" for number, label in enumerate(labels, start=1)]
    width = max(map(len, entries), default=0) + 3
    lines = math.ceil(len(entries) / max(1, KEY_LENGTH // width))
    return ["".join(entry.ljust(width) for entry in entries[line::lines]).rstrip() for line in range(lines)]
