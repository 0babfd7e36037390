"""Commands that train, told to end or on a disk that refuses: one line, an exit code, and nothing lost."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mbseg import training
from mbseg.cli import main
from mbseg.config.schema import Experiment
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.fit import Trainer
from mbseg.engine.lock import locked
from mbseg.engine.run_folder import RunFolder
from mbseg.interruption import Interrupted, endings_at_once
from mbseg.tradeoff.training import Job, train_all


def tell_to_end(ending: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every step."""
    step_once = Trainer._step

    def step(self: Trainer, *arguments: Any) -> Any:
        signal.raise_signal(ending)
        return step_once(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", step)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_says_in_one_line_where_it_stopped_and_how_to_go_on(
    ending: signal.Signals,
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell_to_end(ending, monkeypatch)
    arguments = ["train", config, "--output", str(tmp_path / "run")]
    assert main(arguments) == 128 + ending
    assert capsys.readouterr().err == "stopped at step 1; go on with --resume\n"
    monkeypatch.undo()
    assert main([*arguments, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] > 0


def test_the_second_signal_leaves_at_once_and_keeps_the_old_checkpoint(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step_once, write = Trainer._step, Trainer._write_checkpoint

    def step(self: Trainer, module: Any, batches: Any, number: int) -> Any:
        if number == 4:
            signal.raise_signal(signal.SIGINT)
        return step_once(self, module, batches, number)

    def told_again(self: Trainer) -> None:
        if self.progress.step == 5:
            monkeypatch.setattr("mbseg.interruption.ECHO", -1)
            monkeypatch.setattr(torch, "save", lambda *_arguments: signal.raise_signal(signal.SIGTERM))
        write(self)

    monkeypatch.setattr(Trainer, "_step", step)
    monkeypatch.setattr(Trainer, "_write_checkpoint", told_again)
    folder = RunFolder(tmp_path / "run")
    assert main(["train", config, "--output", str(folder.path)]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.endswith("interrupted; go on with --resume\n")
    assert load_checkpoint(folder.last).step == 3
    assert list(folder.path.glob(".*")) == []


def test_a_signal_before_the_first_step_ends_it_with_its_own_code(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "make_trainer", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    assert main(["train", config, "--output", str(tmp_path / "run")]) == 128 + signal.SIGTERM
    assert not (tmp_path / "run").exists()


def test_the_quickstart_ends_alike(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["train.steps=2", "train.batch_size=4", "data.crop_size=[33, 33]", "data.workers=0", "device=cpu"]
    tell_to_end(signal.SIGTERM, monkeypatch)
    assert main(["quickstart", f"data.root={shapes}", *tiny, "--output", str(tmp_path / "run")]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.endswith("stopped at step 1; the same command goes on\n")


def test_what_ends_a_sweep_ends_its_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(job: Job) -> None:
        job.process = subprocess.Popen(["sleep", "60"])

    monkeypatch.setattr(Job, "start", start)
    monkeypatch.setattr("mbseg.tradeoff.training.time.sleep", lambda _seconds: signal.raise_signal(signal.SIGTERM))
    jobs = [Job(name, name, Experiment.model_construct(), RunFolder(tmp_path / name)) for name in "ab"]
    with pytest.raises(Interrupted), endings_at_once():
        train_all(jobs, at_once=2, on_finished=lambda _job: None)
    assert [job.process and job.process.returncode for job in jobs] == [-signal.SIGTERM] * 2


def test_ctrl_c_is_one_line_whatever_the_workers_hear_and_kill_9_leaves_none_of_them(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal sends Ctrl-C to all processes of its group."""
    folder = RunFolder(tmp_path / "run")
    long = ["train.steps=100000", "train.checkpoint_every=2", "train.evaluate_every=100000", "data.workers=2"]
    arguments = ["train", config, *long, "--output", str(folder.path), "--resume"]
    with started(arguments) as process:
        wait_for(folder.last.exists)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert re.fullmatch(r"stopped at step \d+; go on with --resume\n", said)
    assert process.returncode == 130
    before = folder.last.stat().st_mtime_ns
    with started(arguments) as process:
        wait_for(lambda: folder.last.stat().st_mtime_ns != before)
        assert main(arguments) == 2
        assert f"is in use by process {process.pid} on" in capsys.readouterr().err
        workers = children(process.pid)
        process.kill()
    assert len(workers) == 2
    wait_for(lambda: not any(Path(f"/proc/{worker}/fd").exists() for worker in workers))
    with locked(folder.path):
        assert load_checkpoint(folder.last).step > 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_command_ends_in_order_and_later_signals_change_nothing(ending: signal.Signals) -> None:
    """The command hears of it in the midst of its work, and again and again while the process leaves."""
    program = f"""
import atexit, signal
from mbseg import cli
atexit.register(lambda: (signal.raise_signal({ending}), print(signal.getsignal({ending}) is signal.SIG_IGN)))
tell = cli.tell
cli.tell = lambda text: (tell(text), signal.raise_signal({ending}))
cli.make_app = lambda: lambda *_, **__: signal.raise_signal({ending})
cli.run(["models"])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (128 + ending, "True\n", "interrupted\n")


def started(arguments: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mbseg", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def children(parent: int) -> list[int]:
    """By their numbers."""
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def small_disk(self: Trainer) -> None:
    """No file may grow beyond 10 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        write_checkpoint(self)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


write_checkpoint = Trainer._write_checkpoint


@pytest.mark.parametrize(
    ("fault", "part", "words"),
    [
        (small_disk, "_write_checkpoint", "last.pt: File too large; nothing was changed"),
        (lambda self, *_: shutil.rmtree(self.folder.path), "_log", "No such file or directory"),
    ],
    ids=["a full disk", "a folder that is removed"],
)
def test_a_disk_that_refuses_ends_the_training_with_one_line(
    fault: Callable[..., None],
    part: str,
    words: str,
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, works, kept = RunFolder(tmp_path / "run"), getattr(Trainer, part), []

    def after_the_first_checkpoint(self: Trainer, *arguments: Any) -> None:
        if folder.last.exists() and not kept:
            kept.append(folder.last.read_bytes())
            fault(self, *arguments)
        works(self, *arguments)

    monkeypatch.setattr(Trainer, part, after_the_first_checkpoint)
    arguments = ["train", config, "train.checkpoint_every=2", "train.log_every=1", "--output", str(folder.path)]
    assert main(arguments) == 2
    *_, last = said = capsys.readouterr().err.splitlines()
    assert last.startswith("error: cannot write") and last.endswith(words)
    assert not [line for line in said if "Traceback" in line]
    if folder.path.exists():
        assert folder.last.read_bytes() == kept[0]
        monkeypatch.undo()
        assert main([*arguments, "--resume"]) == 0
