"""Frames on their way through threads: all of a file, the newest of a camera, and every way to end."""

import mmap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import perf_counter, sleep

import numpy as np
import pytest

from mbseg.runtime.answers import Answer, UInt8Array
from mbseg.video.frames import Frame
from mbseg.video.live import as_live
from mbseg.video.pipeline import Pipeline, Steps, one_by_one
from mbseg.video.play import Run, bound_fps, play, summary
from mbseg.video.sinks import Nowhere, Shown
from tests.streams import Memory, Reader, numbered, recording, until

HANG = 10.0  # seconds


def paint(frame: UInt8Array, answer: Answer) -> UInt8Array:
    """A picture of what was found: wrong wherever answers and frames are mixed up."""
    assert answer.mask is not None
    return np.stack([frame[..., 0], answer.mask, answer.mask], axis=2)


STEPS = Steps(Reader(), paint)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def within(seconds: float, work: Callable[[], None]) -> None:
    """Fails instead of hanging."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()


def test_every_frame_of_a_file_comes_once_in_order_with_its_own_answer() -> None:
    source, sink, run = recording(numbered(300)), Memory(), Run()
    with Pipeline(source, source.frames, STEPS) as pipeline:
        play(pipeline, sink, run)
    assert sink.names == [frame.name for frame in numbered(300)]
    for number, shown in enumerate(sink.shown):
        assert shown.drawn is not None
        assert (shown.drawn == number % 256).all()
    assert run.frames == 300


def test_threads_give_what_one_after_the_other_gives() -> None:
    overlapped, plain, source = Memory(), Memory(), recording(numbered(20))
    with Pipeline(source, source.frames, STEPS) as pipeline:
        play(pipeline, overlapped, Run())
    play(one_by_one(numbered(20), STEPS), plain, Run())
    for one, other in zip(overlapped.shown, plain.shown, strict=True):
        assert one.frame.name == other.frame.name
        np.testing.assert_array_equal(one.picture, other.picture)


def test_stages_overlap() -> None:
    """The network sees a frame while the one before it is written: either waits for the other."""
    meeting = threading.Barrier(2, timeout=HANG)

    class MeetingReader(Reader):
        def __call__(self, image: UInt8Array) -> Answer:
            if image[0, 0, 0] > 0:
                meeting.wait()
            return super().__call__(image)

    class MeetingSink(Memory):
        def write(self, shown: Shown) -> None:
            if shown.frame.pixels[0, 0, 0] < 9:
                meeting.wait()
            super().write(shown)

    source, sink = recording(numbered(10)), MeetingSink()
    with Pipeline(source, source.frames, Steps(MeetingReader(), paint)) as pipeline:
        play(pipeline, sink, Run())
    assert len(sink.shown) == 10


def test_a_file_is_decoded_a_few_frames_ahead_and_no_more() -> None:
    taken: list[int] = []
    source = recording(frame for number, frame in enumerate(numbered(100)) if taken.append(number) is None)
    at_the_network, go_on = Event(), Event()

    class Waiting(Reader):
        def __call__(self, image: UInt8Array) -> Answer:
            at_the_network.set()
            assert go_on.wait(HANG)
            return super().__call__(image)

    with Pipeline(source, source.frames, Steps(Waiting(), None)):
        assert at_the_network.wait(HANG)
        sleep(0.2)
        assert len(taken) == 1 + 4  # the one at the network, and those that wait for it
        go_on.set()


def test_what_nobody_draws_is_not_drawn() -> None:
    source, sink = recording(numbered(2)), Memory()
    with Pipeline(source, source.frames, Steps(Reader(), None)) as pipeline:
        play(pipeline, sink, Run())
    assert [shown.drawn for shown in sink.shown] == [None, None]


def test_answers_are_steadied_before_they_are_drawn() -> None:
    def steady(frame: UInt8Array, _answer: Answer) -> Answer:
        return Answer(mask=np.full(frame.shape[:2], 77, np.uint8))

    source, sink = recording(numbered(1)), Memory()
    with Pipeline(source, source.frames, STEPS._replace(smooth=steady)) as pipeline:
        play(pipeline, sink, Run())
    (shown,) = sink.shown
    assert shown.answer.mask is not None
    assert (shown.answer.mask == 77).all() and (shown.picture[..., 1] == 77).all()


def test_frames_may_change_their_size() -> None:
    frames = [Frame("", np.zeros((height, 9, 3), np.uint8)) for height in (5, 7, 5)]
    source, sink = recording(iter(frames)), Memory()
    with Pipeline(source, source.frames, STEPS) as pipeline:
        play(pipeline, sink, Run())
    assert [shown.picture.shape for shown in sink.shown] == [frame.pixels.shape for frame in frames]


class StageError(Exception):
    """Of a stage."""


def fail_at(stage: str, number: int) -> tuple[Iterator[Frame], Steps, Memory]:
    def broken(frames: Iterator[Frame]) -> Iterator[Frame]:
        for index, frame in enumerate(frames):
            if index == number:
                raise StageError(stage)
            yield frame

    class BrokenReader(Reader):
        def __call__(self, image: UInt8Array) -> Answer:
            if image[0, 0, 0] == number:
                raise StageError(stage)
            return super().__call__(image)

    class BrokenSink(Memory):
        def write(self, shown: Shown) -> None:
            if shown.frame.pixels[0, 0, 0] == number:
                raise StageError(stage)
            super().write(shown)

    def broken_paint(frame: UInt8Array, answer: Answer) -> UInt8Array:
        if frame[0, 0, 0] == number:
            raise StageError(stage)
        return paint(frame, answer)

    return (
        broken(numbered(200)) if stage == "decode" else numbered(200),
        Steps(BrokenReader() if stage == "infer" else Reader(), broken_paint if stage == "draw" else paint),
        BrokenSink() if stage == "write" else Memory(),
    )


@pytest.mark.parametrize("stage", ["decode", "infer", "draw", "write"])
@pytest.mark.parametrize("number", [0, 9])
def test_an_error_of_any_stage_ends_all_behind_the_frames_before_it(stage: str, number: int) -> None:
    frames, steps, sink = fail_at(stage, number)
    closed: list[bool] = []
    source = recording(frames, end=lambda: closed.append(True))

    def run() -> None:
        with (
            pytest.raises(StageError, match=stage),
            Pipeline(source, source.frames, steps) as pipeline,
        ):
            play(pipeline, sink, Run())

    within(HANG, run)
    assert sink.names == [frame.name for frame in numbered(number)]
    assert closed == [True]


def test_of_two_errors_the_one_of_the_earlier_frame_is_raised() -> None:
    frames, _, sink = fail_at("write", 3)
    _, steps, _ = fail_at("infer", 5)
    source = recording(frames)
    with pytest.raises(StageError, match="write"), Pipeline(source, source.frames, steps) as pipeline:
        play(pipeline, sink, Run())


def test_a_viewer_who_has_had_enough_ends_it() -> None:
    source, sink = recording(numbered(10**9)), Memory(limit=5)
    with Pipeline(source, source.frames, STEPS) as pipeline:
        play(pipeline, sink, Run())
    assert sink.names == [frame.name for frame in numbered(5)]


def test_stopped_by_another_thread_it_gives_what_is_drawn_and_ends() -> None:
    source, sink, run = recording(numbered(10**9)), Memory(), Run()
    with Pipeline(source, source.frames, STEPS) as pipeline:
        threading.Timer(0.1, pipeline.stop).start()
        play(pipeline, sink, run)
    assert 0 < run.frames == len(sink.shown)


def test_it_can_be_stopped_while_the_source_gives_nothing() -> None:
    over = Event()
    source, sink = recording(until(over, numbered(3)), end=over.set), Memory()

    def run() -> None:
        with Pipeline(source, source.frames, STEPS) as pipeline:
            threading.Timer(0.2, pipeline.stop).start()
            play(pipeline, sink, Run())

    within(HANG, run)
    assert sink.names == [frame.name for frame in numbered(3)]


def test_of_a_live_source_only_new_frames_are_shown_and_the_others_counted() -> None:
    """At twice the speed of the network, a frame is written less than two frames' time after its capture."""
    seconds = 0.08
    source, sink, run = as_live(recording(numbered(60)), fps=2 / seconds), Memory(), Run()
    with Pipeline(source, source.frames, Steps(Reader(seconds), paint)) as pipeline:
        play(pipeline, sink, run)
    assert run.latency_ms()["p95"] < 2 * 1000 * seconds
    assert source.dropped > 15
    assert run.frames + source.dropped >= 59  # the very first may be gone before anyone asks
    assert sink.names == sorted(sink.names)


@pytest.mark.parametrize("live", [True, False])
def test_latency_counts_from_the_capture_of_a_live_frame_and_the_decoding_of_another(live: bool) -> None:
    long_ago = perf_counter() - 60
    source = recording(frame._replace(captured=long_ago) for frame in numbered(3))
    run = Run()
    with Pipeline(replace(source, live=live), source.frames, STEPS) as pipeline:
        play(pipeline, Memory(), run)
    assert (run.latency_ms()["p50"] > 60_000) is live


def test_a_slow_sink_makes_a_live_stream_no_older_than_a_few_of_its_frames() -> None:
    seconds = 0.04
    source, run = as_live(recording(numbered(100)), fps=100), Run()
    with Pipeline(source, source.frames, STEPS) as pipeline:
        play(pipeline, Memory(seconds=seconds), run)
    assert run.latency_ms()["p50"] < 4 * 1000 * seconds


def test_figures_of_a_run_are_finite_and_add_up() -> None:
    run = Run()
    play(one_by_one(numbered(30), Steps(Reader(0.004), paint)), Memory(seconds=0.002), run)
    figures = summary(run)
    stages, latency = figures["stages_ms"], figures["latency_ms"]
    assert list(stages) == ["decode", "infer", "draw", "write"]
    assert stages["infer"] >= 4 and stages["write"] >= 2
    assert sum(stages.values()) * 0.9 < latency["p50"] <= latency["p95"]
    assert figures["fps"] == pytest.approx(30 / run.seconds)
    assert bound_fps(run, cores=1000) == 1000 / stages["infer"]
    assert bound_fps(run, cores=1) <= 1000 / run.cpu_ms


def test_memory_stays_flat_over_thousands_of_frames() -> None:
    if not (status := Path("/proc/self/statm")).exists():
        pytest.skip("memory is read from /proc")
    pages = []

    class Counting(Nowhere):
        def write(self, shown: Shown) -> None:
            if shown.frame.name in ("000500.jpg", "004999.jpg"):
                pages.append(int(status.read_text().split()[1]))

    source = recording(numbered(5000, (96, 128)))
    with Pipeline(source, source.frames, STEPS) as pipeline:
        play(pipeline, Counting(), Run())
    before, after = pages
    assert (after - before) * mmap.PAGESIZE < 4 * 2**20  # one frame in a hundred kept would take twice as much


def test_a_run_without_frames_has_no_figures() -> None:
    assert summary(Run())["latency_ms"] is None
