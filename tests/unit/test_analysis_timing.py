from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbseg.analysis.timing import Laps, share_time, summarize, take_turns, timetable, torch_threads

CPU = torch.device("cpu")


def ignore(_what: str, _done: int, _total: int | None) -> None:
    pass


def steady(milliseconds: float) -> Callable[[], Laps]:
    """A run of two steps that takes no time, and says that it did."""
    return lambda: {"net": 0.75 * milliseconds, "class_map": 0.25 * milliseconds}


def lasting(milliseconds: Iterable[float]) -> Callable[[], Laps]:
    """Every run takes what comes next."""
    left = iter(milliseconds)
    return lambda: {"net": next(left)}


def runs_of(*milliseconds: float, seconds: float) -> list[int]:
    return [len(laps) for laps in share_time([steady(one) for one in milliseconds], seconds, ignore)]


def test_columns_take_turns():
    calls = []
    times = take_turns({name: lambda name=name: calls.append(name) for name in "abc"}, CPU, seconds=0)
    assert "".join(calls) == "abc" * (len(calls) // 3)
    assert {name: len(column) for name, column in times.items()} == {"a": 5, "b": 5, "c": 5}


def test_all_get_the_same_time():
    assert runs_of(10, 20, 100, seconds=6) == [200, 100, 20]


def test_nothing_is_judged_by_less_than_five_runs_unless_it_takes_over_a_second():
    assert runs_of(10, 1000, 1001, 60_000, seconds=0) == [5, 5, 3, 3]


def test_all_three_runs_of_a_slow_one_count():
    (laps,) = share_time([lasting([3000, 1500, 2000])], 60, ignore)
    assert laps == [{"net": 3000}, {"net": 1500}, {"net": 2000}]


def test_what_compiles_in_its_first_run_is_not_slow():
    (laps,) = share_time([lasting([60_000, 100, *[90] * 10])], 1, ignore)
    assert laps == [{"net": 90}] * 10


def test_runs_of_a_slow_one_are_spread_over_the_time():
    calls: list[str] = []

    def run(name: str, milliseconds: float) -> Laps:
        calls.append(name)
        return {"net": milliseconds}

    share_time([lambda: run("f", 10), lambda: run("s", 5000)], 0.2, ignore)
    assert "".join(calls) == "fsfs" + "fffff" + "s" + "fffff"


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_between_two_turns_of_one_come_all_that_have_as_many(counts):
    order = timetable(counts)
    assert [order.count(place) for place in range(len(counts))] == counts
    for place, count in enumerate(counts):
        turns = [at for at, whose in enumerate(order) if whose == place]
        for start, end in pairwise(turns):
            between = order[start:end]
            assert {other for other, its_count in enumerate(counts) if its_count >= count} <= set(between)


def test_every_run_is_reported():
    reports = []
    share_time([steady(100), steady(5000)], 1, lambda *report: reports.append(report))
    assert reports[:4] == [("trying", done, 4) for done in (1, 2, 3, 4)]
    assert reports[4:] == [("timing", done, 6) for done in (1, 2, 3, 4, 5, 6)]


def test_median_and_p95_of_known_times():
    timing = summarize([float(number) for number in range(101)])
    assert (timing.median_ms, timing.p95_ms, timing.runs) == (50, 95, 101)


@pytest.mark.parametrize(("runs", "given_there"), [(4, False), (5, True)])
def test_few_runs_have_no_percentile(runs, given_there):
    assert (summarize([1.0] * runs).p95_ms is not None) == given_there


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1) as used:
        assert used == before + 1
    assert torch.get_num_threads() == before
