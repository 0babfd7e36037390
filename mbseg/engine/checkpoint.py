"""The state of a training that `--resume` goes on from, in one file that is never half-written."""

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mbseg.errors import RunError
from mbseg.files import atomic_file

State = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step depends on. Random numbers are not in it: they follow from seed and step."""

    step: int  # steps done
    extent: dict[str, int]  # pictures, processes and steps of the whole training
    model: State
    optimizer: State
    average: State | None  # of MovingAverage: {"updates": int, "state": State}
    best: float | None
    seconds: float  # of training, evaluation included


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Atomic: after a crash at any moment the file is the old one or the new one. Raises RunError for a full disk."""
    # asdict would deep-copy the tensors
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    with atomic_file(path) as file:
        torch.save(fields, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises RunError for a missing or damaged file."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():  # torch itself does not look at the checksums
                raise ValueError
        fields = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**fields)
    except FileNotFoundError:
        raise RunError(f"no checkpoint {path}; nothing to resume from") from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        TypeError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ):
        raise RunError(f"{path} is damaged or no checkpoint of mbseg; remove it to start again") from None
