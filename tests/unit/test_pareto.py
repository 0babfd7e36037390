from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mbseg.analysis.label_placement import Box, place_labels
from mbseg.analysis.pareto import MOST_NAMES, ParetoChart, Point, needs_log, pareto_front, pareto_png
from mbseg.analysis.pareto_page import pareto_page

COST, SCORE = "multiply-adds [B]", "mIoU"
SMALL = st.integers(0, 4)  # few values: ties are common


def point(label: str, cost: float, score: float, *, group: str = "stride 16", published: bool = False) -> Point:
    return Point(label, {COST: cost}, {SCORE: score}, group, published=published)


def chart(points: list[Point]) -> ParetoChart:
    drawn = ParetoChart(points, COST, SCORE)
    drawn.draw("title", "caption", numbered=False)
    return drawn


def size(png: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(png)) as image:
        return image.size


def beats(one: Point, other: Point) -> bool:
    """The definition, word for word."""
    at_most, at_least = one.costs[COST] <= other.costs[COST], one.scores[SCORE] >= other.scores[SCORE]
    return at_most and at_least and (one.costs[COST] < other.costs[COST] or one.scores[SCORE] > other.scores[SCORE])


@given(st.lists(st.tuples(SMALL, SMALL, st.booleans()), max_size=12))
def test_the_front_holds_exactly_the_measured_points_that_no_measured_point_beats(rows):
    points = [point(str(index), cost, score, published=bare) for index, (cost, score, bare) in enumerate(rows)]
    measured = [one for one in points if not one.published]
    expected = {one.label for one in measured if not any(beats(other, one) for other in measured)}
    front = pareto_front(points, COST, SCORE)
    assert {one.label for one in front} == expected
    assert all(one.costs[COST] <= other.costs[COST] for one, other in pairwise(front))


def test_a_point_without_the_figure_is_neither_on_the_front_nor_drawn():
    known, unknown = point("known", 2, 0.5), Point("no score yet", {COST: 1}, {}, "stride 8")
    assert pareto_front([known, unknown], COST, SCORE) == [known]
    assert ParetoChart([known, unknown], COST, SCORE).shown == [known]


@pytest.mark.parametrize(
    ("costs", "expected"), [([1, 5], False), ([1, 5.1], True), ([0, 9], False), ([3], False), ([], False)]
)
def test_a_cost_is_drawn_on_a_logarithmic_axis_when_it_spans_more_than_five_times(costs, expected):
    assert needs_log(costs) is expected


def test_a_logarithmic_axis_has_plain_numbers():
    axes = chart([point("a", 1.5, 0.5), point("b", 15, 0.7)]).axes
    low, high = axes.get_xlim()
    shown = [axes.xaxis.get_major_formatter()(tick) for tick in axes.get_xticks() if low <= tick <= high]
    assert shown == ["2", "5", "10"]


def test_labels_cover_neither_marks_nor_one_another():
    anchors = [(300.0 + 40 * index, 200.0 + 7 * (index % 3)) for index in range(8)]
    marks = [Box(x, y, x, y).grown(8) for x, y in anchors]
    frame = Box(0, 0, 900, 400)
    labels = place_labels(anchors, [(100.0, 20.0)] * 8, marks=marks, lines=[], frame=frame, gap=14)
    boxes = [label.box for label in labels]
    assert all(label.is_clear for label in labels)
    assert all(box.overlap(frame) == pytest.approx(box.area) for box in boxes)
    assert not any(box.overlap(mark) >= 1 for box in boxes for mark in marks)
    assert not any(one.overlap(other) >= 1 for one, other in pairwise(sorted(boxes)))


def test_a_label_keeps_off_a_line_where_it_can():
    line = Box(100, 98, 400, 102)
    (label,) = place_labels([(100, 100)], [(80, 20)], marks=[], lines=[line], frame=Box(0, 0, 400, 400), gap=14)
    assert label.is_near
    assert label.box.overlap(line) == 0


@pytest.mark.parametrize("count", [0, 1, 2, MOST_NAMES])
def test_any_number_of_points_makes_a_picture_even_when_all_are_equal(count):
    points = [point(f"row {index}", 2.7, 0.61) for index in range(count)]
    assert size(pareto_png(points, cost=COST, score=SCORE, title="title")) == (1600, 1000)


def test_many_points_are_numbered_and_listed_below():
    points = [point(f"<row> $x$ {index}", 1 + index, 0.5 + index / 100) for index in range(MOST_NAMES + 1)]
    width, height = size(pareto_png(points, cost=COST, score=SCORE, title="$", caption="$" * 300))
    assert width == 1600
    assert height > 1000


def test_long_labels_that_find_no_room_become_numbers():
    points = [point("a very long label " * 5 + str(index), 2 + index / 9, 0.6) for index in range(9)]
    assert size(pareto_png(points, cost=COST, score=SCORE, title="title"))[1] > 1000


def test_published_points_are_hollow_and_named_in_the_legend():
    drawn = chart([point("ours", 2.7, 0.6), point("theirs", 2.7, 0.75, published=True)])
    faces = [line.get_markerfacecolor() for line in drawn.axes.lines if line.get_marker() == "o"]
    assert faces == ["#0072b2", "#ffffff"]
    (legend,) = drawn.figure.legends
    assert "hollow: published" in [text.get_text() for text in legend.get_texts()]


def test_a_chart_without_scores_says_so():
    texts = chart([Point("row", {COST: 1}, {}, "stride 8")]).axes.texts
    assert [text.get_text() for text in texts] == ["no row has mIoU and multiply-adds [B] yet"]


def test_each_group_keeps_its_style_when_others_have_no_score():
    first, second = Point("a", {COST: 1}, {}, "stride 8"), point("b", 1, 0.5, group="stride 16")
    styles = ParetoChart([first, second], COST, SCORE).styles
    assert styles == {"stride 8": ("#0072b2", "o"), "stride 16": ("#d55e00", "s")}


def test_no_text_can_leave_the_place_it_has_in_the_page():
    evil = "</script><script>alert(1)</script><!-- \" ' & $title"
    page = pareto_page([point(evil, 1, 0.5, group=evil)], costs=[COST], scores=[SCORE], title=evil, caption=evil)
    text = page.decode()
    assert text.count("</script>") == 2  # the data's and the script's own
    assert "<script>alert" not in text
    assert "<!-- " not in text


def test_the_page_names_no_place_outside_itself():
    text = pareto_page([], costs=[COST], scores=[SCORE], title="title").decode()
    assert text.replace("http://www.w3.org/2000/svg", "").count("//") == text.count("// ")  # comments only
