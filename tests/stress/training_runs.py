"""Small trainings that evaluate and save all the time, and what must come out equal of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mbseg.config.load import read_yaml
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import MbsegError
from mbseg.files import TEMPORARY_SUFFIX
from mbseg.weights.store import read_weights

STEPS, EVALUATE_EVERY, CHECKPOINT_EVERY = 24, 4, 2
TREE: dict[str, Any] = {  # six pictures an epoch of six steps: most checkpoints lie in the middle of one
    "device": "cpu",
    "threads": 1,
    "model": {"backbone": {"width_mult": 0.1}, "output_stride": 16, "head": {"channels": 16}},
    "data": {"kind": "shapes", "crop_size": [65, 65], "workers": 0},
    "train": {
        "steps": STEPS,
        "batch_size": 4,
        "optimizer": {"learning_rate": 0.02},
        "ema_decay": 0.9,
        "evaluate_every": EVALUATE_EVERY,
        "checkpoint_every": CHECKPOINT_EVERY,
        "log_every": 1,
        "samples": 1,
    },
}
VARIANTS = (
    ["train.precision=fp32"],
    ["data.workers=2", "train.precision=bf16"],
    ["train.accumulate=2", "train.optimizer.name=adamw", "train.optimizer.learning_rate=0.002"],
    ["data.workers=2", "train.accumulate=3", "model.backbone.width_mult=0.35", "train.clip_norm=1"],
)
UNLIKE = ("seconds", "pictures_per_second", "weights")  # times, and a path


def fingerprint(path: Path) -> str:
    """Of all that a finished run leaves, but for the times: both files of weights, the metrics, the result."""
    folder = RunFolder(path)
    state, card = read_weights(folder.best)
    assert card is not None
    sha256 = hashlib.sha256()
    for part in (
        asdict_shallow(load_checkpoint(folder.last)),
        state,
        asdict(card),
        list(folder.read_metrics()),
        folder.read_result(),
        sorted(names(path)),
    ):
        add(sha256, part)
    return sha256.hexdigest()


def asdict_shallow(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def add(sha256: "hashlib._Hash", value: object) -> None:
    """A value of any depth."""
    if isinstance(value, Tensor):
        sha256.update(f"{value.dtype} {list(value.shape)}".encode())
        sha256.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in UNLIKE:
                sha256.update(f"{key}:".encode())
                add(sha256, value[key])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            add(sha256, one)
    else:
        sha256.update(f"{value!r};".encode())


def names(path: Path) -> list[str]:
    """Of the files in a folder; each start of a training adds TensorBoard's events."""
    files = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return [name for name in files if not name.startswith("events.") and name != ".lock"]


def faults(path: Path) -> list[str]:
    """What a kill must never leave: a file that is there, but cannot be read as a whole."""
    folder, found = RunFolder(path), []
    for file, read in (folder.last, load_checkpoint), (folder.best, read_weights), (folder.config, read_yaml):
        try:
            if file.exists():
                read(file)  # type: ignore[operator]
        except MbsegError as error:
            found.append(str(error))
    return found


def saved_step(path: Path) -> int:
    """Of the checkpoint; 0 where there is none."""
    last = RunFolder(path).last
    return load_checkpoint(last).step if last.exists() else 0


def phase(path: Path, began_at: int) -> str:
    """What a training that began at this step was doing when it was killed, told by what it has left."""
    if any(path.rglob(f"*{TEMPORARY_SUFFIX}")):
        return "a file half-written"
    lines = list(RunFolder(path).read_metrics())
    step, part = (lines[-1]["step"], lines[-1]["part"]) if lines else (0, "")
    if step <= began_at:
        return "starting, first step"
    if part == "train" and step % EVALUATE_EVERY == 0:
        return "evaluating"
    if step % CHECKPOINT_EVERY == 0 and saved_step(path) < step:
        return "between evaluation and checkpoint"
    return "ending" if step == STEPS else "training"
