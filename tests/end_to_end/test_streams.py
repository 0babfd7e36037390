"""Streams over loopback with the faults of real ones: they recover or end with one line, and never hang."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import pytest

from mbseg.errors import DataError
from mbseg.video.frames import Frame, Source
from mbseg.video.live import Feed
from mbseg.video.opencv import quiet_cv2
from mbseg.video.reconnect import Patience
from mbseg.video.sources import open_source
from tests import senders
from tests.senders import SIZE, FileServer, MotionJpeg, Rtsp, free_port, number_of, sending_udp, serving

HANG = 12.0  # seconds after which a test fails
HASTE = Patience(
    open_seconds=3, read_seconds=0.7, watchdog_seconds=1.2, total_seconds=3, first_pause=0.05, longest_pause=0.4
)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(HANG)
        assert not thread.is_alive()


def in_time(work: Callable[[], list[Frame]]) -> list[Frame]:
    """What `work` gives; an error if it hangs."""
    done: Future[list[Frame]] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(HANG)


def take(source: Source, count: int | None = None) -> list[Frame]:
    return in_time(lambda: list(islice(source.frames, count)))


def wait_until(true: Callable[[], bool]) -> None:
    end = perf_counter() + HANG
    while not true():
        assert perf_counter() < end
        sleep(0.01)


@pytest.mark.parametrize("server", [MotionJpeg, Rtsp])
def test_a_live_stream_gives_the_newest_frame_and_counts_the_others(server: type[MotionJpeg | Rtsp]) -> None:
    with serving(server(senders.steady)) as address, open_source(address, HASTE) as source:
        assert (source.live, source.size, source.length, source.files) == (True, SIZE, None, ())
        (first,) = take(source, 1)
        sleep(0.5)
        (second,) = take(source, 1)
        skipped = number_of(second) - number_of(first) - 1
        assert skipped > 3
        assert abs(source.dropped - skipped) <= 1
        assert perf_counter() - second.captured < 0.5


@pytest.mark.parametrize("server", [MotionJpeg, Rtsp])
@pytest.mark.parametrize("fault", [senders.breaks_off, senders.freezes])
def test_a_stream_that_breaks_off_or_freezes_is_connected_anew(
    server: type[MotionJpeg | Rtsp], fault: Callable[[], senders.Sent], caplog: pytest.LogCaptureFixture
) -> None:
    sender = server(fault)
    with serving(sender) as address, open_source(address, HASTE) as source:
        frames = take(source, senders.BEFORE_THE_FAULT + 5)
    assert sender.connections >= 2
    assert [frame.name for frame in frames] == sorted({frame.name for frame in frames})
    assert all("; connecting anew in" in message for message in caplog.messages)
    assert len(caplog.messages) == sender.connections - 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("server", [MotionJpeg, Rtsp])
def test_a_sender_that_comes_back_is_found_again_and_one_that_does_not_is_given_up(
    server: type[MotionJpeg | Rtsp], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(sender := server(senders.steady)) as address:
        source = open_source(address, HASTE)
        take(source, 5)
    with source:
        with serving(again := server(senders.steady, port=sender.server_address[1])):
            assert len(take(source, 10)) == 10
            assert again.connections >= 1
        take(source)
    *anew, end = caplog.messages
    assert all("connecting anew" in message for message in anew)
    assert re.search(r"no frame for \d\.\d s; it ends here\. Is its sender still there\?$", end)
    assert "secret" not in caplog.text


def test_broken_pictures_are_left_out_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    with serving(sender := MotionJpeg(senders.broken)) as address, open_source(address, HASTE) as source:
        numbers = [number_of(frame) for frame in take(source, 60)]
    assert max(numbers) > 60
    assert not [number for number in numbers if number % 5 == 4 or number % 7 == 6 or number % 11 == 10]
    assert (sender.connections, caplog.messages) == (1, [])


def test_pictures_of_another_size_come_in_the_size_of_the_first() -> None:
    with serving(MotionJpeg(senders.changes_size)) as address, open_source(address, HASTE) as source:
        frames = take(source, senders.BEFORE_THE_FAULT + 5)
    assert {frame.pixels.shape for frame in frames} == {(*SIZE, 3)}
    assert number_of(frames[-1]) > senders.BEFORE_THE_FAULT


def test_a_stream_that_is_closed_while_it_is_silent_leaves_no_thread() -> None:
    with serving(MotionJpeg(senders.freezes)) as address:
        with open_source(address, HASTE) as source:
            take(source, 5)
            sleep(senders.PAUSE * senders.BEFORE_THE_FAULT)
            assert [thread for thread in threading.enumerate() if isinstance(thread, Feed)]
        assert not [thread for thread in threading.enumerate() if isinstance(thread, Feed)]


def test_a_sender_of_udp_that_stops_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with sending_udp(port) as process, open_source(f"udp://127.0.0.1:{port}", HASTE) as source:
        assert (source.live, source.size) == (True, SIZE)
        assert len(take(source, 10)) == 10
        process.kill()
        start = perf_counter()
        take(source)
        assert perf_counter() - start < 10  # on a machine that does much else
    assert "it ends here" in caplog.messages[-1]


def test_a_video_at_a_web_address_gives_every_frame_however_slow_one_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = quiet_cv2().VideoWriter(str(tmp_path / "a.avi"), quiet_cv2().VideoWriter.fourcc(*"MJPG"), 10, SIZE[::-1])
    for number in range(12):
        writer.write(np.full((*SIZE, 3), 20 * number, np.uint8))
    writer.release()
    with serving(FileServer(tmp_path)) as address, open_source(f"{address}/a.avi", HASTE) as source:
        assert (source.live, source.length, source.fps) == (False, 12, 10)
        sleep(0.2)
        frames = take(source)
    for frame, expected in zip(frames, open_source(str(tmp_path / "a.avi")).frames, strict=True):
        assert frame.name == expected.name and np.array_equal(frame.pixels, expected.pixels)
    assert (source.dropped, caplog.messages) == (0, [])


@pytest.mark.parametrize("scheme", ["http", "rtsp", "udp", "rtmp", "nonsense"])
def test_an_address_where_nothing_is_sent_is_one_line_without_its_password(
    scheme: str, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"{scheme}://user:secret@127.0.0.1:{free_port()}/video"
    with pytest.raises(
        DataError, match=rf"--source {scheme}://\*\*\*@127\.0\.0\.1:\d+/video: nothing answers"
    ) as caught:
        open_source(address, replace(HASTE, open_seconds=1))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert capfd.readouterr().err == ""
