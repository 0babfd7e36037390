"""Frames that do not wait: the newest only, over as many connections as it takes, and no thread left behind."""

import re
import threading
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from threading import Event, Semaphore, Thread
from time import perf_counter, sleep

import numpy as np
import pytest

from mbseg.errors import DataError
from mbseg.video import streams
from mbseg.video.capture import Capture
from mbseg.video.frames import Frame, Source
from mbseg.video.live import as_live
from mbseg.video.opencv import quiet_cv2
from mbseg.video.reconnect import Patience, Reconnecting
from mbseg.video.sources import open_source

SIZE = (4, 6)
HASTE = Patience(watchdog_seconds=0.4, total_seconds=1.5, first_pause=0.01, longest_pause=0.04)
HANG = 10.0  # seconds


def numbered(number: int) -> Frame:
    return Frame(f"{number}", np.zeros((*SIZE, 3), np.uint8))


def source_of(frames: Iterator[Frame], **facts: object) -> Source:
    return Source(frames, SIZE, 25.0, None, (), **facts)


def numbers(frames: Iterator[Frame]) -> list[int]:
    return [int(frame.name) for frame in frames]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(HANG)
        assert not thread.is_alive()


@pytest.mark.parametrize(("batch", "newest"), [(1, [0, 1, 2, 3, 4]), (3, [2, 5, 8, 11, 14])])
def test_the_newest_frame_is_given_and_those_it_replaced_are_counted(batch: int, newest: list[int]) -> None:
    there, taken = Semaphore(0), Semaphore(0)

    def in_batches() -> Iterator[Frame]:
        for number in range(5 * batch):
            yield numbered(number)
            if number % batch == batch - 1:
                there.release()
                taken.acquire(timeout=HANG)

    seen = []
    with as_live(source_of(in_batches()), fps=1000) as source:
        for _ in range(5):
            assert there.acquire(timeout=HANG)
            seen += numbers(islice(source.frames, 1))
            taken.release()
        assert (seen, list(source.frames)) == (newest, [])
        assert source.dropped == 4 * (batch - 1)  # before the first was asked for, nobody missed any


def test_a_frame_played_as_live_is_captured_when_its_time_has_come() -> None:
    start = perf_counter()
    with as_live(source_of(map(numbered, range(5))), fps=50) as source:
        assert all(frame.captured >= start + int(frame.name) / 50 for frame in source.frames)


def test_closing_ends_the_frames_and_the_source_even_for_one_who_waits() -> None:
    closed = Event()
    source = as_live(source_of(map(numbered, count()), end=closed.set), fps=0.01)  # the second in 100 seconds
    assert next(source.frames).name == "0"
    seen: list[Frame] = []
    waiting = Thread(target=lambda: seen.extend(source.frames))
    waiting.start()
    source.close()
    waiting.join(HANG)
    assert not waiting.is_alive() and closed.is_set()
    assert seen == []
    source.close()


def test_a_frame_that_nobody_took_is_not_given_after_closing() -> None:
    there = Event()

    def frames() -> Iterator[Frame]:
        yield numbered(0)
        there.set()

    source = as_live(source_of(frames()))
    assert there.wait(HANG)
    source.close()
    assert list(source.frames) == []


def test_what_goes_wrong_in_the_thread_is_raised_where_the_frames_are_taken() -> None:
    def frames() -> Iterator[Frame]:
        yield numbered(0)
        raise ZeroDivisionError

    with as_live(source_of(frames())) as source, pytest.raises(ZeroDivisionError):
        list(source.frames)


class Line:
    """Connections of a made-up stream, one after the other; behind the last one nobody answers."""

    def __init__(self, *connections: Iterator[Frame], live: bool = True) -> None:
        self.connections = iter(connections)
        self.live = live
        self.attempts = 0

    def connect(self, _seconds: float) -> Source:
        self.attempts += 1
        if (frames := next(self.connections, None)) is None:
            raise DataError("nobody answers")
        return source_of(frames, live=self.live)


def paced(*names: int) -> Iterator[Frame]:
    for number in names:
        sleep(0.01)
        yield numbered(number)


def test_a_stream_that_breaks_off_is_connected_anew_and_then_given_up(caplog) -> None:
    line = Line(paced(0, 1), paced(2, 3), paced(4))
    stream = Reconnecting("camera 7", line.connect, HASTE)
    assert numbers(stream) == [0, 1, 2, 3, 4]
    assert list(stream) == []
    stream.close()
    *again, end = caplog.messages
    assert again[0] == again[1] == again[2] == "camera 7: the connection broke off; connecting anew in 0.01 s"
    assert re.fullmatch(r"camera 7: no frame for 1\.\d s; it ends here\. Is its sender still there\?", end)
    assert line.attempts == 1 + len(again) > 5


def test_pauses_grow_up_to_the_longest() -> None:
    pauses = Patience(first_pause=0.5, longest_pause=4).pauses()
    assert [next(pauses) for _ in range(6)] == [0.5, 1, 2, 4, 4, 4]


def test_a_connection_that_freezes_is_left_and_its_late_frames_are_never_shown() -> None:
    thaw, thawed = Event(), Event()

    def frozen() -> Iterator[Frame]:
        yield numbered(0)
        thaw.wait(HANG)
        thawed.set()
        for number in count(100):  # until it is dismissed
            yield from paced(number)

    def after_it() -> Iterator[Frame]:
        yield numbered(2)
        thaw.set()
        assert thawed.wait(HANG)
        yield from paced(3)

    assert numbers(Reconnecting("it", Line(frozen(), after_it()).connect, HASTE)) == [0, 2, 3]


def test_of_a_recording_every_frame_comes_and_its_end_is_the_end(caplog) -> None:
    line = Line(map(numbered, range(50)), live=False)
    stream = Reconnecting("it", line.connect, HASTE)
    assert stream.first().size == SIZE
    sleep(0.05)
    assert numbers(stream) == list(range(50))
    assert (stream.dropped, line.attempts, caplog.messages) == (0, 1, [])


def test_a_stream_that_never_answers_is_an_error() -> None:
    def connect(_seconds: float) -> Source:
        sleep(0.3)
        raise DataError("too late")

    with pytest.raises(DataError, match=r"camera 7 does not answer within 0\.05 s"):
        Reconnecting("camera 7", connect, Patience(total_seconds=0.05)).first()


def test_closing_ends_a_stream_in_the_midst_of_a_pause(caplog) -> None:
    stream = Reconnecting("it", Line(paced(0)).connect, Patience(first_pause=5))
    assert next(stream).name == "0"
    waiting = Thread(target=lambda: list(stream))
    waiting.start()
    sleep(0.1)
    stream.close()
    waiting.join(HANG / 4)
    assert not waiting.is_alive()
    assert not [message for message in caplog.messages if "ends here" in message]


def test_a_camera_whose_plug_was_pulled_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = quiet_cv2().VideoWriter(str(tmp_path / "a.avi"), quiet_cv2().VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    plugs: list[int] = []

    def plugged_in_twice(index: int) -> Capture:
        plugs.append(index)
        return Capture(str(tmp_path / ("a.avi" if len(plugs) <= 2 else "nothing")))

    monkeypatch.setattr(streams, "Capture", plugged_in_twice)
    with open_source("3", HASTE) as source:
        assert (source.live, source.size, source.length, source.files) == (True, (48, 64), None, ())
        frames = list(source.frames)
    assert [frame.name for frame in frames if frame.name > "000002"]
    assert set(plugs) == {3}
    assert caplog.messages[0] == "camera 3: the connection broke off; connecting anew in 0.01 s"
