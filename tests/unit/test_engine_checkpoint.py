"""A checkpoint with a flipped byte is refused, or is what it was; no disk, however full, costs the old one."""

import errno
import os
import random
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mbseg.engine import checkpoint
from mbseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, seal
from mbseg.engine.deterministic import deterministic
from mbseg.engine.progress import Progress
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.tensorboard import Events
from mbseg.errors import RunError

FLIPS = 200


@pytest.fixture
def last(tmp_path: Path) -> Path:
    model = {
        f"layer.{number}": torch.randn(3, 4, generator=torch.Generator().manual_seed(number)) for number in range(4)
    }
    momentum = {0: {"momentum_buffer": torch.ones(5)}}
    optimizer = {"state": momentum, "param_groups": [{"lr": 0.1, "params": [0]}]}
    progress = Progress(step=7, best={"miou": 0.5}, last={"miou": 0.4}, losses=[{"loss": torch.tensor(1.0)}])
    average = {"updates": 7, "state": dict(model)}
    path = tmp_path / "last.pt"
    save_checkpoint(path, Checkpoint({"steps": 9}, model, optimizer, average, {**progress.state(), "seconds": 1.0}))
    return path


def test_a_flipped_byte_at_any_place_is_refused_or_carries_nothing(last: Path) -> None:
    whole, content = flat(load_checkpoint(last)), last.read_bytes()
    draw = random.Random(0)
    refused = 0
    for place in sorted(draw.sample(range(len(content)), FLIPS)):
        damaged = bytearray(content)
        damaged[place] ^= draw.randrange(1, 256)
        last.write_bytes(damaged)
        try:
            assert flat(load_checkpoint(last)) == whole, place
        except RunError:
            refused += 1
    assert refused > 0.95 * FLIPS


def flat(tree: Any) -> Any:
    if isinstance(tree, Checkpoint):
        return flat(vars(tree))
    if isinstance(tree, torch.Tensor):
        return str(tree.dtype), tree.tolist()
    if isinstance(tree, dict):
        return {name: flat(value) for name, value in tree.items()}
    return [flat(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize(
    ("part", "value"),
    [("model", 3), ("average", {"updates": "x", "state": {}}), ("average", {}), ("progress", {}), ("extent", None)],
)
def test_a_checkpoint_with_a_part_of_another_kind_is_refused(last: Path, part: str, value: Any) -> None:
    fields = {**vars(load_checkpoint(last)), part: value}
    with last.open("w+b") as file:
        torch.save(fields, file)
        seal(file)
    with pytest.raises(RunError, match=r"last\.pt is damaged or of an older mbseg; remove it"):
        load_checkpoint(last)


@pytest.mark.parametrize("length", [0, 1, 33, 2000])
def test_a_file_that_is_cut_short_is_refused(last: Path, length: int) -> None:
    last.write_bytes(last.read_bytes()[:length])
    with pytest.raises(RunError, match=r"last\.pt is damaged or of an older mbseg; remove it"):
        load_checkpoint(last)


@pytest.mark.parametrize(
    ("part", "error", "told"),
    [
        (checkpoint, OSError(errno.EIO, os.strerror(errno.EIO)), "cannot be read: Input/output error; try again"),
        (torch, RuntimeError("DefaultCPUAllocator: can't allocate memory"), "can't allocate memory"),
    ],
)
def test_nobody_is_told_to_remove_a_checkpoint_that_may_be_good(
    last: Path, part: Any, error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(part, "load" if part is torch else "sha256_of_start", fail)
    with pytest.raises((RunError, RuntimeError), match=told):
        load_checkpoint(last)


def in_a_small_disk(work: Any, *, size: int) -> None:
    """No file may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.pt")
    with pytest.raises(RunError, match="it is no regular file"):
        load_checkpoint(tmp_path / "last.pt")


def test_metrics_on_a_full_disk_are_one_line_and_a_torn_line_is_forgotten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"step": 1, "part": "train", "loss": 0.5})
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: File too large"):
        in_a_small_disk(lambda: folder.append_metrics({"step": 2, "part": "train", "loss": 0.5}), size=60)
    assert [line["step"] for line in folder.read_metrics()] == [1]
    folder.forget_metrics_behind(1, evaluated=0)
    folder.append_metrics({"step": 2, "part": "train"})
    assert [line["step"] for line in folder.read_metrics()] == [1, 2]


def test_a_folder_that_is_gone_is_named(tmp_path: Path, last: Path) -> None:
    found, folder = load_checkpoint(last), RunFolder(tmp_path / "run")
    folder.make()
    shutil.rmtree(folder.path)
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: No such file"):
        folder.append_metrics({"step": 1, "part": "train"})
    with pytest.raises(RunError, match=r"cannot write .*last\.pt: No such file"):
        save_checkpoint(folder.last, found)


def test_events_on_a_full_disk_are_given_up_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorboard")
    events = Events(tmp_path, first_step=1)
    in_a_small_disk(lambda: [events.add(step, {"train/loss": 0.5}) for step in range(50)], size=500)
    events.add(51, {"train/loss": 0.5})
    events.close()
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "File too large; no more events for TensorBoard"
    ]


def test_tensorboard_reads_what_was_written_and_forgets_what_a_resumption_takes_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, steps in ((1, (1, 2, 3)), (3, (3, 4))):
        events = Events(tmp_path, first_step=first)
        for step in steps:
            events.add(step, {"train/loss": float(step * first)})
        events.close()
    reader = EventAccumulator(str(tmp_path))
    reader.Reload()
    assert [(event.step, event.value) for event in reader.Scalars("train/loss")] == [(1, 1), (2, 2), (3, 9), (4, 12)]


def test_deterministic_operations_are_asked_for_and_given_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    with deterministic(False):
        assert torch.are_deterministic_algorithms_enabled() == before
    assert torch.are_deterministic_algorithms_enabled() == before


def test_an_operation_that_cannot_be_deterministic_is_named() -> None:
    with pytest.raises(RunError, match=r"^train\.deterministic: put_ may give other bits"), deterministic(True):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    assert not torch.are_deterministic_algorithms_enabled()
