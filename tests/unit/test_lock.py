"""One training a folder; whatever ends it, the next one may begin."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from mbseg.engine.lock import NAME, locked
from mbseg.errors import RunError

HOLD = """
import os, sys, time
from pathlib import Path
from mbseg.engine.lock import locked
with locked(Path(sys.argv[1])):
    worker = os.fork()  # as a loader does
    if not worker:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds `run`, and its forked worker's number."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        worker = int(process.stdout.readline())
        yield process, worker
        process.kill()
        os.kill(worker, signal.SIGKILL)


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path: Path):
    process, _ = holder
    host = os.uname().nodename
    told = rf"run is in use by process {process.pid} on {host} since 20\d\d-"
    with pytest.raises(RunError, match=told), locked(tmp_path / "run"):
        pass


def test_a_killed_process_holds_it_no_longer_though_its_workers_live(holder, tmp_path: Path):
    process, worker = holder
    process.kill()
    process.wait()
    os.kill(worker, 0)  # is there
    with locked(tmp_path / "run"):
        pass


def test_it_is_free_again_at_the_end_and_nothing_is_left(tmp_path: Path):
    for _ in range(2):
        with locked(tmp_path / "runs" / "run") as nothing:
            assert nothing is None
            assert (tmp_path / "runs" / "run" / NAME).exists()
        assert list(tmp_path.iterdir()) == []


def test_what_was_written_stays(tmp_path: Path):
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "last.pt").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["last.pt"]


def test_the_end_of_one_leaves_the_lock_of_another_that_has_made_the_folder_anew(tmp_path: Path):
    run, first, second = tmp_path / "run", ExitStack(), ExitStack()
    first.enter_context(locked(run))
    shutil.rmtree(run)
    second.enter_context(locked(run))
    first.close()
    assert (run / NAME).exists()
    second.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", ["open", "ftruncate"])
def test_nothing_is_left_on_a_full_disk(refused: str, tmp_path: Path, monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, refused, refuse)
    with suppress(RunError), locked(tmp_path / "runs" / "run"):
        assert refused == "ftruncate"  # what it says is wanting, but it holds
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_while_it_was_waited_for_is_made_again(tmp_path: Path, monkeypatch):
    flock, files = fcntl.flock, []

    def remove_and_lock(descriptor: int, how: int) -> None:
        files.append(descriptor)
        if len(files) == 1:
            (tmp_path / NAME).unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with locked(tmp_path):
        assert len(files) == 2
        with pytest.raises(RunError, match="is in use by"), locked(tmp_path):
            pass


def test_a_file_system_without_locks_is_told_of_once_and_trained_in(tmp_path: Path, monkeypatch, caplog):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        pass
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: this file system knows no locks; see to it that only one process writes there"
    ]


@pytest.mark.parametrize("folder", ["file", "file/run", "/proc/run"])
def test_a_folder_that_cannot_be_is_named(folder: str, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written to: .*; name another folder"), locked(tmp_path / folder):
        pass
