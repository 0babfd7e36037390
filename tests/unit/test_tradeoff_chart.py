"""The table's lines as points of its charts."""

import pytest

from mbseg.analysis.pareto import Point
from mbseg.tradeoff.chart import AXES, COSTS, MADDS, MEMORY, PARAMS, TIME, chart_page, chart_png, points_of
from mbseg.tradeoff.lines import Line
from tests.tradeoff_lines import DETECTOR, line, measured, paper, result, row

PNG_MAGIC = b"\x89PNG"


def point(of: Line) -> Point:
    (only,) = points_of([of])
    return only


def test_a_line_with_a_score_of_its_own_is_a_filled_point() -> None:
    ours = point(line(row("mine"), result(miou=0.7, boundary_iou=0.5), published=paper()))
    assert not ours.published
    assert (ours.label, ours.group) == ("mine", "group of mine")
    assert ours.scores == {"mIoU": 0.7, "Boundary IoU": 0.5}


def test_the_papers_point_is_hollow_and_stands_only_where_there_is_none_of_our_own() -> None:
    printed = point(line(row("theirs"), published=paper()))
    assert printed.published
    assert printed.scores == {"mIoU": pytest.approx(0.7532)}
    assert (printed.label, printed.group) == ("theirs", "group of theirs")
    assert printed.details["score from"] == "arXiv:1801.04381, Table 7, VOC 2012 val"


def test_a_line_without_any_score_is_no_point() -> None:
    assert points_of([line(), line(published=paper(score_percent=None))]) == []


def test_a_point_is_the_mean_of_its_seeds_and_shows_their_range() -> None:
    ours = point(line(None, result(0, miou=0.7), result(1, miou=0.74), result(2, miou=0.66)))
    assert ours.scores["mIoU"] == pytest.approx(0.7)
    assert ours.spread == {"mIoU": (0.66, 0.74)}


def test_one_seed_has_no_range() -> None:
    assert point(line(None, result(miou=0.7))).spread == {}


def test_the_time_is_that_of_the_whole_way() -> None:
    segmenter = point(line(None, result(miou=0.7), measured=measured()))
    assert segmenter.costs[TIME] == 66.0  # class_map
    boxes = measured({"net": 20.0, "boxes": 25.0})
    assert point(line(row(experiment=DETECTOR), result(ap=0.2), measured=boxes)).costs[TIME] == 25.0


def test_costs_stand_in_the_units_of_their_axes() -> None:
    costs = point(line(None, result(miou=0.7), measured=measured())).costs
    assert set(costs) == set(COSTS)
    assert (costs[MADDS], costs[PARAMS], costs[MEMORY]) == pytest.approx((2.746728132, 2.113557, 50.0))


def test_a_row_that_was_not_measured_is_left_out_of_the_times_alone() -> None:
    assert set(point(line(None, result(miou=0.7))).costs) == {MADDS, PARAMS, MEMORY}


def test_every_cost_of_the_command_line_is_an_axis_of_the_page() -> None:
    assert sorted(AXES.values()) == sorted(COSTS)


def test_details_tell_what_no_axis_shows() -> None:
    details = point(line(row(columns={"stride": "16"}), result(miou=0.7), published=paper())).details
    assert details["stride"] == "16" and details["seeds"] == "0"
    assert details["paper: params, madds, score"] == "2.11 M, 2.75 B, 75.32 %"
    assert not {"params M", "madds B", "mIoU %", "measured MB", "net ms"} & set(details)  # axes, and blanks


@pytest.mark.parametrize("lines", [[line()], [line(row("a")), line(row("b"), measured=measured())]])
def test_without_any_score_there_are_charts_all_the_same(lines: list[Line]) -> None:
    assert chart_png(lines, cost=MADDS, title="title", caption="caption").startswith(PNG_MAGIC)
    assert b"mIoU" in chart_page(lines, title="title", caption="caption")
