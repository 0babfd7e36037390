"""A file written atomically is there whole or not at all."""

import errno
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mbseg import files
from mbseg.errors import DataError, RunError
from mbseg.files import (
    atomic_file,
    sha256_of_file,
    sha256_of_start,
    sweep_temporaries,
    unfinished_folder,
    write_atomically,
)

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from mbseg.files import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")
    return path


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 10 kB. Only round the writing: pytest's own log may be longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_new_content_takes_the_place_of_the_old(file: Path) -> None:
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_the_old_file_stands_until_the_new_one_is_whole(file: Path) -> None:
    with atomic_file(file) as new:
        new.write(b"new")
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"


def test_a_failure_while_writing_keeps_the_old_file_and_leaves_nothing_else(file: Path) -> None:
    with pytest.raises(TypeError), atomic_file(file) as new:
        new.writelines([b"half of it", 7])
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_keeps_the_old_file_and_names_it(file: Path) -> None:
    with pytest.raises(RunError, match=rf"cannot write {file}: .*; nothing was changed"), full_disk():
        write_atomically(file, bytes(20_000))
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_is_told_from_under_torch_save(file: Path) -> None:
    with pytest.raises(RunError, match=f"cannot write {file}"), full_disk(), atomic_file(file) as new:
        torch.save({"weight": torch.zeros(20_000)}, new)
    assert file.read_bytes() == b"old"


def test_a_mistake_told_inside_the_block_stays_what_it_is(file: Path) -> None:
    with pytest.raises(DataError, match="a picture is missing"), atomic_file(file):
        raise DataError("a picture is missing") from FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_name_that_may_not_outlast_a_power_cut_is_not_called_unchanged(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))

    monkeypatch.setattr(files, "sync_folder", refuse)
    with pytest.raises(RunError, match=rf"^{file} is written, but may not outlast a power cut: Input/output error$"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_digest_is_of_the_whole_file_or_of_its_start(file: Path) -> None:
    data = bytes(range(256)) * (files.BLOCK // 256 + 1)
    file.write_bytes(data)
    assert sha256_of_file(file) == hashlib.sha256(data).hexdigest()
    with file.open("rb") as opened:
        for length in (0, 3, files.BLOCK, files.BLOCK + 7):
            assert sha256_of_start(opened, length) == hashlib.sha256(data[:length]).digest()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"missing/last.pt: No such file or directory"):
        write_atomically(tmp_path / "missing" / "last.pt", b"new")


def test_what_a_killed_process_left_is_swept(file: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file)], check=False)
    assert len(list(file.parent.iterdir())) == 2
    sweep_temporaries(file.parent)
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == b"old"


KILLED_AMID_MUCH = """
import os, sys
from pathlib import Path
from mbseg.files import unfinished_folder
with unfinished_folder(Path(sys.argv[1])) as folder:
    (folder / "some").mkdir()
    (folder / "some" / "of it").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_the_folder_that_a_killed_process_left_goes_with_the_next_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "k[1].onnx"
    subprocess.run([sys.executable, "-c", KILLED_AMID_MUCH, path], check=False)
    (left,) = tmp_path.iterdir()
    with unfinished_folder(tmp_path / "other.onnx"):
        assert left.is_dir()
    with unfinished_folder(path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_a_process_that_runs_keeps_its_folder(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path / "k") as first, unfinished_folder(tmp_path / "k") as second:
        assert first.is_dir() and second.is_dir()
