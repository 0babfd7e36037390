"""Drawn frames on their way into files."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mbseg.errors import RunError
from mbseg.runtime.answers import Answer
from mbseg.video.opencv import quiet_cv2
from mbseg.video.outputs import CODECS, Picture, PictureFolder, Video, make_sink
from mbseg.video.sinks import Shown, Sink
from mbseg.video.sources import Frame, open_source

SIZE = (48, 64)


def shown(value: int = 90, size: tuple[int, int] = SIZE) -> Shown:
    return drawn(np.full((*size, 3), value, np.uint8), f"{value:06d}.png")


def drawn(pixels: np.ndarray, name: str = "a.png") -> Shown:
    return Shown(Frame(name, np.zeros_like(pixels)), Answer(), pixels)


def write_video(path: Path, values: list[int], size: tuple[int, int] = SIZE, fps: float = 10.0) -> Path:
    with Video(path, size=size, fps=fps) as sink:
        for value in values:
            sink.write(shown(value, size))
    return path


def write_picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), shown().picture if pixels is None else pixels)
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
            sink.write(shown(size=size))
    assert [frame.pixels.shape[:2] for frame in open_source(str(tmp_path / "a.avi")).frames] == [SIZE] * 3


def test_a_video_of_a_live_source_keeps_its_time(tmp_path: Path) -> None:
    """10 a second: frames captured at these tenths of a second stand for all until the next."""
    moments = {20: 5.0, 80: 5.04, 120: 5.3, 220: 5.4}
    with Video(tmp_path / "a.avi", size=SIZE, fps=10, live=True) as sink:
        for value, captured in moments.items():
            one = shown(value)
            sink.write(one._replace(frame=one.frame._replace(captured=captured)))
    values = [round(float(frame.pixels.mean()), -1) for frame in open_source(str(tmp_path / "a.avi")).frames]
    assert values == [20, 120, 120, 120, 220]


def test_a_video_that_ends_with_an_error_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with Video(tmp_path / "a.mp4", size=SIZE, fps=25) as sink:
            sink.write(shown())
            assert not (tmp_path / "a.mp4").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert not list(tmp_path.iterdir())


def test_a_video_that_came_out_unreadable_is_not_kept(tmp_path: Path) -> None:
    def on_a_full_disk() -> None:
        with Video(tmp_path / "a.mp4", size=SIZE, fps=25) as sink:
            sink.write(shown())
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


@pytest.mark.parametrize("sink", [Picture(Path("a.png")), Video(Path("a.png"), size=SIZE, fps=10)])
def test_a_place_for_reading_only_is_told_with_the_name_of_the_output(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_mode: str, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for name in ("open", "touch", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(RunError, match=r"^cannot write a\.png: Read-only file system"), sink:
        sink.write(shown())


def test_a_picture_that_leads_nowhere_is_none_of_the_outputs(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").symlink_to("nowhere.png")
    make_sink(tmp_path / "out.mp4", open_source(str(tmp_path / "in")), overwrite=False)


def test_the_outputs_name_decides_what_is_written(tmp_path: Path) -> None:
    source = open_source(str(write_picture(tmp_path / "in" / "a.png")))
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
        sink.write(shown())
    assert open_source(str(tmp_path / "out.avi")).size == SIZE


def test_a_picture_sink_keeps_the_names_of_the_frames(tmp_path: Path) -> None:
    with PictureFolder(tmp_path) as sink:
        sink.write(shown(7))
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
            sink.write(shown())
            sink.written = 5

    with pytest.raises(RunError, match=r"came out with 1 of 5 frames, so it is not kept"):
        lose_frames()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_the_format_cannot_hold_is_named(tmp_path: Path) -> None:
    wide = drawn(np.zeros((2, 70000, 3), np.uint8))
    with pytest.raises(RunError, match=r"out\.jpg: a picture of 2 x 70000 cannot be written as \.jpg"):
        Picture(tmp_path / "out.jpg").write(wide)
