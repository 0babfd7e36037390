"""A whole folder predicted at once: one process at a time, and nothing half-written is left."""

from pathlib import Path

import pytest

from mbseg.errors import DataError, RunError
from mbseg.files import TEMPORARY_SUFFIX
from mbseg.prediction.picture_list import find_pictures
from mbseg.prediction.predicting import predict
from tests.shards import BROKEN, answerer, draw_pictures


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    pictures = find_pictures(draw_pictures(tmp_path / "pictures"), recursive=True)
    left = [tmp_path / "out" / place / f".0{TEMPORARY_SUFFIX}" for place in ("", "a")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.raises(DataError, match=BROKEN):
        list(predict(answerer(), pictures, tmp_path / "out"))
    assert not any(path.name.startswith(".") for path in (tmp_path / "out").rglob("*"))


def test_two_processes_never_write_to_one_folder(tmp_path: Path) -> None:
    pictures = find_pictures(draw_pictures(tmp_path / "pictures"))
    lines = predict(answerer(), pictures, tmp_path / "out")
    next(lines)
    with pytest.raises(RunError, match=r"out is in use by process \d+ .*; wait for it, or name another folder"):
        next(predict(answerer(), pictures, tmp_path / "out"))
    lines.close()
    assert len(list(predict(answerer(), pictures, tmp_path / "out"))) == len(pictures.names)
