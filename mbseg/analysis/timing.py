"""Runs timed so that what is compared meets the same load of the machine."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

WARM_UP_ROUNDS = 3
FEWEST_ROUNDS = 5  # and of fewer runs no percentile is given
TRIALS = 2  # of networks of very different speed: the first may compile something
SLOW_MS = 1000.0
SLOW_RUNS = 3

Result = TypeVar("Result")
Laps = Mapping[str, float]  # what each step of one run took, in milliseconds
Report = Callable[[str, int, int | None], None]  # what is done, how many times, of how many


@dataclass(frozen=True)
class Timing:
    """What `runs` runs of one kind took, in milliseconds a batch."""

    median_ms: float
    p95_ms: float | None  # None of fewer than five runs, and of a sum of medians
    runs: int


def take_turns(
    columns: Mapping[str, Callable[[], object]], device: torch.device, seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of every run, column by column; one run of each makes a round."""
    for _ in range(WARM_UP_ROUNDS):
        for run in columns.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in columns}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        for name, run in columns.items():
            times[name].append(time_ms(run, device))
        rounds += 1
    return times


def share_time(runs: Sequence[Callable[[], Laps]], seconds: float, on_run: Report) -> list[list[Laps]]:
    """The laps of all runs of each, about `seconds` in all and the same for each, however much they differ in speed.

    All run twice, one after the other, which tells how often each should run. What takes over a second even then runs
    a third time, and all three count; of the others the two trials were the warm-up. The turns that are left are spread
    evenly over the rest of the time, see `timetable`.
    """
    trials = run_in_order(runs, [*range(len(runs))] * TRIALS, partial(on_run, "trying"))
    order = timetable([runs_due(laps, seconds / len(runs)) for laps in trials])
    later = run_in_order(runs, order, partial(on_run, "timing"))
    return [[*first, *rest] if is_slow(first) else rest for first, rest in zip(trials, later, strict=True)]


def run_in_order(
    runs: Sequence[Callable[[], Laps]], order: Sequence[int], on_run: Callable[[int, int], None]
) -> list[list[Laps]]:
    """The laps of each, whose places in `runs` are given in the order in which they run."""
    laps: list[list[Laps]] = [[] for _ in runs]
    for done, place in enumerate(order, start=1):
        laps[place].append(runs[place]())
        on_run(done, len(order))
    return laps


def runs_due(trials: Sequence[Laps], seconds: float) -> int:
    """How many runs there should be behind the trials: at least five, or the third of a slow one."""
    if is_slow(trials):
        return SLOW_RUNS - TRIALS
    return max(FEWEST_ROUNDS, round(1000 * seconds / quickest_ms(trials)))


def is_slow(trials: Sequence[Laps]) -> bool:
    return quickest_ms(trials) > SLOW_MS


def quickest_ms(trials: Sequence[Laps]) -> float:
    return min(sum(laps.values()) for laps in trials)


def timetable(counts: Sequence[int]) -> list[int]:
    """Whose turn it is when each has as many as `counts` says, evenly spread: 1 and 3 turns are taken as 1, 0, 1, 1.

    Between two turns of one, everyone with as many turns or more has had one.
    """
    due = [((turn + 0.5) / count, place) for place, count in enumerate(counts) for turn in range(count)]
    return [place for _, place in sorted(due)]


def timed(step: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """What `step` gives, and the milliseconds until it was there."""
    synchronize(device)
    start = time.perf_counter()
    result = step()
    synchronize(device)
    return result, 1000 * (time.perf_counter() - start)


def time_ms(run: Callable[[], object], device: torch.device) -> float:
    return timed(run, device)[1]


def synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def summarize(times: Sequence[float]) -> Timing:
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) >= FEWEST_ROUNDS else None
    return Timing(median_ms=statistics.median(times), p95_ms=p95, runs=len(times))


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Lets torch use `threads` threads for a while; gives the number in use."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
