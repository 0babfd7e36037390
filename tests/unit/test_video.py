"""Frames from cameras, videos and pictures, and back into files."""

import math
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mbseg.errors import ConfigError, DataError, MbsegError, RunError
from mbseg.video import sources
from mbseg.video.opencv import quiet_cv2
from mbseg.video.sinks import CODECS, Nowhere, Picture, PictureFolder, Video, make_sink
from mbseg.video.sources import Frame, captured, natural_order, open_source, pictures_in, sensible_fps

SIZE = (48, 64)


def frame(value: int = 90, size: tuple[int, int] = SIZE) -> Frame:
    return Frame(f"{value:06d}.png", np.full((*size, 3), value, np.uint8))


def write_video(path: Path, values: list[int], size: tuple[int, int] = SIZE, fps: float = 10.0) -> Path:
    with Video(path, size=size, fps=fps) as sink:
        for value in values:
            sink.write(frame(value, size))
    return path


def write_picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), frame().pixels if pixels is None else pixels)
    return path


@pytest.mark.parametrize("suffix", CODECS)
def test_a_video_written_is_read_again_frame_by_frame(suffix: str, tmp_path: Path, capfd) -> None:
    source = open_source(str(write_video(tmp_path / f"a{suffix}", [20, 120, 220])))
    assert (source.size, source.fps) == (SIZE, 10.0)
    frames = list(source.frames)
    assert [frame.name for frame in frames] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert [round(float(frame.pixels.mean()), -1) for frame in frames] == [20, 120, 220]
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", CODECS)
def test_a_video_of_odd_size_loses_its_last_row_and_column_only(suffix: str, tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / f"a{suffix}", [90, 90], size=(61, 75))))
    assert source.size == (60, 74)
    assert len(list(source.frames)) == 2


def test_frames_of_another_size_are_resized_to_the_videos(tmp_path: Path) -> None:
    with Video(tmp_path / "a.avi", size=SIZE, fps=25) as sink:
        for size in SIZE, (20, 30), (480, 640):
            sink.write(frame(size=size))
    assert [frame.pixels.shape[:2] for frame in open_source(str(tmp_path / "a.avi")).frames] == [SIZE] * 3


def test_a_video_that_ends_with_an_error_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with Video(tmp_path / "a.mp4", size=SIZE, fps=25) as sink:
            sink.write(frame())
            assert not (tmp_path / "a.mp4").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert not list(tmp_path.iterdir())


def test_a_video_that_came_out_unreadable_is_not_kept(tmp_path: Path) -> None:
    def on_a_full_disk() -> None:
        with Video(tmp_path / "a.mp4", size=SIZE, fps=25) as sink:
            sink.write(frame())
            sink.writer.release()
            sink.part.write_bytes(b"")

    with pytest.raises(RunError, match=r"a\.mp4 came out with 0 of 1 frames.*is the disk full"):
        on_a_full_disk()
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"cannot write .*a\.mp4 of 1 x 1 pixels"),
        Video(tmp_path / "a.mp4", size=(1, 1), fps=25),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan, math.inf, 90000.0])
def test_nonsense_rates_become_25_frames_a_second(nonsense: float) -> None:
    assert sensible_fps(nonsense) == 25
    assert sensible_fps(29.97) == 29.97


def test_broken_frames_are_left_out_and_the_end_is_found() -> None:
    class Capture:
        reads = iter([True, False, False, True, *[False] * 100])
        released = False

        def read(self) -> tuple[bool, np.ndarray]:
            return next(self.reads), frame().pixels

        def release(self) -> None:
            self.released = True

    capture = Capture()
    assert len(list(captured(capture))) == 2
    assert capture.released
    assert len(list(capture.reads)) == 100 - sources.PATIENCE


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
    assert "1.jpg cannot be read as a picture; it is left out" in caplog.text


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
        ("rtsp://camera/1", ConfigError, "streams cannot be read"),
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


def test_the_outputs_name_decides_what_is_written(tmp_path: Path) -> None:
    source = open_source(str(write_picture(tmp_path / "in" / "a.png")))
    assert isinstance(make_sink(None, source, overwrite=False), Nowhere)
    assert isinstance(make_sink(tmp_path / "out.webm", source, overwrite=False), Video)
    assert isinstance(make_sink(tmp_path / "out.JPG", source, overwrite=False), Picture)
    folder = make_sink(tmp_path / "deep" / "out", source, overwrite=False)
    assert isinstance(folder, PictureFolder)
    assert not (tmp_path / "deep").exists()  # before it is opened
    with folder:
        assert (tmp_path / "deep" / "out").is_dir()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.mkv", r"\.mkv cannot be written; name a video \(\.mp4, \.webm, \.avi\), a picture \(\.jpg.* or a folder"),
        ("out.jpg", "is one picture, the source is not"),
        ("taken.mp4", "is there already; add --overwrite"),
        ("taken", "is there already; add --overwrite"),
        ("taken.mp4/out", "cannot be made"),
        ("pictures", "would replace the source itself"),
        (".", "is there already"),
    ],
)
def test_an_output_that_cannot_be_is_refused_and_nothing_made(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "a.png", "b.png":
        write_picture(tmp_path / "pictures" / name)
    write_picture(tmp_path / "taken" / "a.png")
    (tmp_path / "taken.mp4").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=message), make_sink(Path(output), open_source("pictures"), overwrite=False):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("output", ["pictures/a.png", "pictures"])
def test_not_even_overwrite_replaces_the_source(output: str, tmp_path: Path) -> None:
    source = open_source(str(write_picture(tmp_path / "pictures" / "a.png")))
    with pytest.raises(RunError, match="would replace the source itself"):
        make_sink(tmp_path / output, source, overwrite=True)


def test_overwrite_replaces_what_is_there(tmp_path: Path) -> None:
    source = open_source(str(write_picture(tmp_path / "pictures" / "a.png")))
    (tmp_path / "out.avi").write_text("old")
    with make_sink(tmp_path / "out.avi", source, overwrite=True) as sink:
        sink.write(frame())
    assert open_source(str(tmp_path / "out.avi")).size == SIZE


def test_a_picture_sink_keeps_the_names_of_the_frames(tmp_path: Path) -> None:
    with PictureFolder(tmp_path) as sink:
        sink.write(frame(7))
    assert (quiet_cv2().imread(str(tmp_path / "000007.png")) == 7).all()


def test_an_output_by_a_detour_over_a_missing_folder_is_the_file_it_comes_to(tmp_path: Path) -> None:
    source = open_source(str(write_picture(tmp_path / "in" / "a.png")))
    (tmp_path / "keep.avi").write_bytes(b"kept")
    with pytest.raises(RunError, match="is there already; add --overwrite"):
        make_sink(tmp_path / "missing" / ".." / "keep.avi", source, overwrite=False)


def test_the_one_picture_of_a_source_folder_is_not_replaced(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "one" / "p.png")
    with pytest.raises(RunError, match="would replace the source itself"):
        make_sink(picture, open_source(str(picture.parent)), overwrite=True)


def test_a_video_that_lost_frames_is_not_kept(tmp_path: Path) -> None:
    def lose_frames() -> None:
        with Video(tmp_path / "a.avi", size=SIZE, fps=25) as sink:
            sink.write(frame())
            sink.written = 5

    with pytest.raises(RunError, match=r"came out with 1 of 5 frames, so it is not kept"):
        lose_frames()
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_that_promises_a_giant_picture_is_left_out(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "in" / "b.png")
    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (good.parent / "a.png").write_bytes(bomb)
    assert [one.name for one in open_source(str(good.parent)).frames] == ["b.png"]


def test_a_picture_that_the_format_cannot_hold_is_named(tmp_path: Path) -> None:
    wide = Frame("a.png", np.zeros((2, 70000, 3), np.uint8))
    with pytest.raises(RunError, match=r"out\.jpg: a picture of 2 x 70000 cannot be written as \.jpg"):
        Picture(tmp_path / "out.jpg").write(wide)


def test_a_camera_has_a_small_number() -> None:
    with pytest.raises(ConfigError, match="cameras are numbered from 0 to 99"):
        open_source("99999999999999")
