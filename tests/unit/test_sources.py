"""What `--source` names: videos, pictures, cameras, and what is none of them."""

import math
import struct
import zlib
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import pytest
from PIL import Image

from mbseg.errors import ConfigError, DataError, MbsegError
from mbseg.video.capture import MOST_FAILURES, Capture, captured
from mbseg.video.frames import sensible_fps, sensible_length
from mbseg.video.opencv import quiet_cv2
from mbseg.video.pictures import natural_order, pictures_in
from mbseg.video.sources import open_source
from mbseg.video.streams import masked

SIZE = (48, 64)
GREY = np.full((*SIZE, 3), 90, np.uint8)


def write_video(path: Path, values: Sequence[int | np.ndarray], *, codec: str = "MJPG") -> Path:
    writer = quiet_cv2().VideoWriter(str(path), quiet_cv2().VideoWriter.fourcc(*codec), 10, SIZE[::-1])
    for value in values:
        writer.write(np.full((*SIZE, 3), value, np.uint8))
    writer.release()
    return path


def write_picture(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    quiet_cv2().imwrite(str(path), GREY)
    return path


@pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan, math.inf, 90000.0])
def test_nonsense_rates_become_25_frames_a_second(nonsense: float) -> None:
    assert sensible_fps(nonsense) == 25
    assert sensible_fps(29.97) == 29.97


@pytest.mark.parametrize("nonsense", [0.0, -192153584101141.0, math.nan, math.inf])
def test_nonsense_lengths_are_none(nonsense: float) -> None:
    assert sensible_length(nonsense) is None
    assert sensible_length(12.0) == 12


def test_broken_frames_are_left_out_and_the_end_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    capture = Capture(str(write_video(tmp_path / "a.avi", [20])))
    reads = iter([GREY, None, None, GREY, *[None] * 100])
    monkeypatch.setattr(capture, "read", lambda: next(reads))
    assert [one.name for one in captured(capture, count())] == ["000000.jpg", "000001.jpg"]
    assert len(list(reads)) == 100 - MOST_FAILURES


def test_a_read_that_fails_after_long_is_no_broken_frame_but_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    capture, reads = Capture("nowhere.avi"), []
    monkeypatch.setattr(capture, "read", lambda: reads.append(sleep(0.05)))
    assert list(captured(capture, count(), failing_seconds=0.04)) == []
    assert len(reads) == 1


def test_a_video_that_holds_less_than_it_promises_is_told(tmp_path: Path, caplog) -> None:
    file = write_video(tmp_path / "a.avi", [np.random.default_rng(0).integers(0, 256, (*SIZE, 3))] * 12)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    source = open_source(str(file))
    assert source.length == 12
    count_read = len(list(source.frames))
    assert 0 < count_read < 8
    assert f"{12 - count_read} of 12 frames cannot be read; it is damaged or cut short" in caplog.text


@pytest.mark.parametrize("damage", ["cut short", "zeroed in the middle"])
def test_a_damaged_video_gives_the_frames_that_can_be_read(
    damage: str, shared_data: Path, tmp_path: Path, caplog
) -> None:
    data = bytearray((shared_data / "video" / "car-detection.mp4").read_bytes())
    half = len(data) // 2
    data[half : len(data) if damage == "cut short" else half + 20000] = b"" if damage == "cut short" else bytes(20000)
    (file := tmp_path / "damaged.mp4").write_bytes(data)
    source = open_source(str(file))
    assert 0 < len(list(source.frames)) < source.length
    assert "frames cannot be read; it is damaged or cut short" in caplog.text


def test_pictures_come_in_natural_order() -> None:
    names = ["a10.jpg", "a9.jpg", "b1.jpg", "10.jpg", "9.jpg"]
    assert sorted(names, key=natural_order) == ["9.jpg", "10.jpg", "a9.jpg", "a10.jpg", "b1.jpg"]


def test_a_folder_gives_its_pictures_and_leaves_broken_ones_out(tmp_path: Path, caplog) -> None:
    for name in "10.png", "9.jpg":
        write_picture(tmp_path / name)
    (tmp_path / "1.jpg").write_text("no picture")
    (tmp_path / "notes.txt").touch()
    source = open_source(str(tmp_path))
    assert [path.name for path in pictures_in(tmp_path)] == ["1.jpg", "9.jpg", "10.png"]
    assert [frame.name for frame in source.frames] == ["9.jpg", "10.png"]
    assert "1.jpg: this is not a picture" in caplog.text
    assert "it is left out" in caplog.text


def test_a_single_picture_is_a_stream_of_one(tmp_path: Path) -> None:
    source = open_source(str(write_picture(tmp_path / "a.png")))
    assert (source.size, source.length) == (SIZE, 1)
    (only,) = source.frames
    assert (only.pixels == 90).all()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nowhere.mp4", DataError, "no such file or folder"),
        ("text.mp4", DataError, "no frame of it can be read as a video"),
        ("empty.mp4", DataError, "no frame of it can be read as a video"),
        ("text.jpg", DataError, "no picture that can be read"),
        ("folder", DataError, "no picture that can be read"),
        ("99", DataError, "camera 99 gives no picture"),
    ],
)
def test_a_source_that_gives_no_frame_is_one_line(
    text: str, error: type[MbsegError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp4").touch()
    for name in "text.mp4", "text.jpg":
        (tmp_path / name).write_text("neither video nor picture")
    with pytest.raises(error, match=message) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_small_file_that_promises_a_giant_picture_is_left_out(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "in" / "b.png")
    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (good.parent / "a.png").write_bytes(bomb)
    assert [one.name for one in open_source(str(good.parent)).frames] == ["b.png"]


def test_a_camera_has_a_small_number() -> None:
    with pytest.raises(ConfigError, match="cameras are numbered from 0 to 99"):
        open_source("99999999999999")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:pass@camera:554/1", "rtsp://***@camera:554/1"),
        ("rtsp://user:p@ss/w?rd@camera/1", "rtsp://***@camera/1"),
        ("http://camera/video.cgi?user=me&pwd=mine", "http://camera/video.cgi?***"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
        ("http://camera/video", "http://camera/video"),
    ],
)
def test_no_message_shows_the_password_of_an_address(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_a_photo_taken_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[: SIZE[0] // 2] = 255  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (frame,) = open_source(str(tmp_path / "a.png")).frames
    assert (frame.pixels == np.rot90(pixels, -1)).all()


def test_a_video_filmed_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[:24] = 255  # the upper half
    file = write_video(tmp_path / "a.mp4", [pixels] * 3, codec="mp4v")
    data = bytearray(file.read_bytes())
    matrix = data.index(b"tkhd") + 44
    quarter_turn = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = quarter_turn
    file.write_bytes(data)
    source = open_source(str(file))
    assert source.size == SIZE[::-1]
    for frame in source.frames:
        left, right = frame.pixels[:, 4:20].mean(), frame.pixels[:, 28:-4].mean()
        assert (left < 30) and (right > 220)


@pytest.mark.parametrize("kind", ["video", "pictures"])
def test_a_closed_source_gives_no_more_frames(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if kind == "video":
        write_video(tmp_path / "a.avi", [20, 120, 220])
    else:
        for name in "abc":
            write_picture(tmp_path / f"{name}.png")
    before = perf_counter()
    with open_source(str(tmp_path if kind == "pictures" else tmp_path / "a.avi")) as source:
        assert (source.live, source.dropped) == (False, 0)
        assert before < next(source.frames).captured < perf_counter()
    assert (list(source.frames), caplog.messages) == ([], [])
