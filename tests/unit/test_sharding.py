"""Shards: whatever ends them, the same command goes on, and comes to the bytes of a run that nobody disturbed."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from mbseg.errors import DataError, RunError
from mbseg.prediction.manifest import Shard
from mbseg.prediction.picture_list import find_pictures, sha256_if_there
from mbseg.prediction.sharding import Job, check_folder, facts_of, predict_shard
from mbseg.predictors import Loaded
from mbseg.runtime.answers import Answer, UInt8Array
from tests.shards import PICTURES, Colours, answerer, answers, draw_pictures, flip, header, make_shards, run

KILLED = """
import os, signal, sys
from pathlib import Path
from mbseg.prediction.manifest import Shard
from tests import shards

class Dying(shards.Colours):
    left = int(sys.argv[3])

    def __call__(self, image):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image)

shards.run(Path(sys.argv[1]), Path(sys.argv[2]), Shard(2, 3), predictor=Dying())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures")


def test_a_finished_shard_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    assert len(run(folder, tmp_path / "out", Shard(2, 3))) == 7
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    assert run(folder, tmp_path / "out", Shard(2, 3)) == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")} == before


@pytest.mark.parametrize("after", [0, 3, 6])
def test_a_killed_shard_goes_on_where_it_stopped(after: int, folder: Path, tmp_path: Path) -> None:
    whole = run(folder, tmp_path / "whole", Shard(2, 3))
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "out"), str(after)]
    assert subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode == -9
    done = run(folder, tmp_path / "out", Shard(2, 3))
    assert done == whole[-len(done) :] and len(whole) - len(done) in (after, after + 1)  # the broken one costs nothing
    for path in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "tail", [b"", b'{"picture": "1', b"\0" * 99, b"{}\n{}\n", b"[" * 99_999 + b"\n", b"[]\n", b"null\n", b"\xff\n"]
)
def test_a_manifest_torn_anywhere_is_mended(tail: bytes, folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", Shard(2, 3))
    manifest = tmp_path / "out" / "manifest-2-of-3.jsonl"
    whole = manifest.read_bytes()
    for cut in [*range(0, len(whole), 331), len(whole) - 1]:
        manifest.write_bytes(whole[:cut] + tail)
        run(folder, tmp_path / "out", Shard(2, 3))
        assert manifest.read_bytes() == whole


@pytest.mark.parametrize("lost", ["remove", "flip"])
def test_a_lost_answer_is_made_again_and_no_other(lost: str, folder: Path, tmp_path: Path) -> None:
    make_shards(folder, tmp_path / "out", 3)
    before = answers(tmp_path / "out")
    victim = tmp_path / "out" / "a" / "5.png"
    victim.unlink() if lost == "remove" else flip(victim, -30)
    answered = [name for number in (1, 2, 3) for name in run(folder, tmp_path / "out", Shard(number, 3))]
    assert answered == ["a/5.png"]
    assert answers(tmp_path / "out") == before


def test_a_lost_answer_that_comes_out_otherwise_is_told(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", Shard(1, 1))
    (tmp_path / "out" / "5.png").unlink()

    class Other(Colours):
        def __call__(self, image: UInt8Array) -> Answer:
            return super().__call__(image[::-1])

    with pytest.raises(RunError, match=r"the answer for 5.png is not the one in .*manifest-1-of-1.jsonl; --overwrite"):
        run(folder, tmp_path / "out", Shard(1, 1), predictor=Other())


def test_a_picture_that_has_changed_is_named(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", Shard(1, 1))
    Image.new("RGB", (4, 4)).save(folder / "a" / "5.png")
    with pytest.raises(DataError, match=r"a/5.png has changed since it was answered; --overwrite begins"):
        run(folder, tmp_path / "out", Shard(1, 1))
    assert len(run(folder, tmp_path / "out", Shard(1, 1), anew=True)) == len(PICTURES)


def test_a_shard_goes_on_in_the_way_that_it_was_begun(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", Shard(1, 2))
    (folder / "new.png").write_bytes((folder / "1.png").read_bytes())
    with pytest.raises(RunError, match=r"manifest-1-of-2.jsonl was begun with pictures 21, not 22; pictures_sha256"):
        run(folder, tmp_path / "out", Shard(1, 2))
    with pytest.raises(RunError, match=r"manifest-1-of-2.jsonl was begun with pictures 21, not 22"):
        check_folder(tmp_path / "out", Shard(2, 2), header(folder).facts)
    with pytest.raises(RunError, match="is one of 2 shards, not of 4; name another folder"):
        check_folder(tmp_path / "out", Shard(2, 4), header(folder).facts)


def test_two_processes_are_never_at_one_shard(folder: Path, tmp_path: Path) -> None:
    pictures = find_pictures(folder, recursive=True)
    lines = predict_shard(answerer(), pictures, tmp_path / "out", Shard(1, 2), header(folder), anew=False)
    next(lines)
    with pytest.raises(
        RunError, match=r"1-of-2.jsonl is in use by another process; wait for it, or name another folder"
    ):
        run(folder, tmp_path / "out", Shard(1, 2))
    assert len(run(folder, tmp_path / "out", Shard(2, 2))) == len(PICTURES) // 2
    lines.close()
    assert len(run(folder, tmp_path / "out", Shard(1, 2))) == len(PICTURES) // 2


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(RunError, match="is there already, and holds no shards"):
        check_folder(tmp_path / "out", Shard(1, 2), {})


def test_a_damaged_line_of_a_finished_manifest_is_told(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", Shard(1, 1))
    manifest = tmp_path / "out" / "manifest-1-of-1.jsonl"
    manifest.write_bytes(manifest.read_bytes().replace(b"sky", b"sea", 1))
    with pytest.raises(RunError, match=r"manifest-1-of-1.jsonl is damaged: .*; --overwrite begins it anew"):
        run(folder, tmp_path / "out", Shard(1, 1))


IO_ERROR = OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("error", [IO_ERROR, PermissionError(errno.EACCES, "Permission denied"), MemoryError()])
def test_a_fault_that_is_not_the_pictures_own_is_told_and_not_noted(
    error: Exception, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path) -> int:
        if file.name == "5.png":
            raise error
        return file.stat().st_size

    monkeypatch.setattr("mbseg.data.reading.size_of", refuse)
    with pytest.raises(DataError, match=r"pictures/5.png: cannot be read \(.*\); run it again$"):
        run(folder, tmp_path / "out", Shard(1, 1))
    monkeypatch.undo()
    assert run(folder, tmp_path / "out", Shard(1, 1))[0] == "5.png"
    run(folder, tmp_path / "whole", Shard(1, 1))
    assert answers(tmp_path / "out") == answers(tmp_path / "whole")
    manifests = [(tmp_path / name / "manifest-1-of-1.jsonl").read_bytes() for name in ("out", "whole")]
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("finished", [False, True])
def test_a_picture_whose_sha256_cannot_be_made_now_has_not_changed(
    finished: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> str:
        raise IO_ERROR

    if finished:
        run(folder, tmp_path / "out", Shard(1, 1))
    monkeypatch.setattr("mbseg.prediction.picture_list.sha256_of_file", refuse)
    with pytest.raises(RunError, match=r"pictures/1.png: cannot be read \(Input/output error\); run it again$"):
        run(folder, tmp_path / "out", Shard(1, 1))


def test_pipes_and_links_that_lead_nowhere_are_pictures_with_a_fault(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "a" / "8.png")
    (folder / "a" / "9.png").symlink_to("gone")
    assert len(run(folder, tmp_path / "out", Shard(1, 1))) == len(PICTURES) + 2
    assert run(folder, tmp_path / "out", Shard(1, 1)) == []
    assert sha256_if_there(folder / "a" / "8.png") is None


def test_libraries_are_asked_for_their_versions_themselves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution may be called onnxruntime-gpu or Pillow-SIMD."""

    class Engine(Colours):
        description = "onnxruntime fp32, 1 threads"

    runtime = ModuleType("onnxruntime")
    runtime.__version__ = "of the module"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    job = Job("model.onnx", folder, folder)
    loaded = Loaded(Engine(), "segmentation", ("sky",), ((0, 0, 0),), "model.onnx", torch.device("cpu"), {})
    assert facts_of(job, find_pictures(folder), loaded)["onnxruntime"] == "of the module"
