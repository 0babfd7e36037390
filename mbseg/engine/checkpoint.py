"""The state of a training that `--resume` goes on from, in one file that is never half-written."""

import hashlib
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, BinaryIO

import torch

from mbseg.errors import RunError
from mbseg.files import atomic_file, sha256_of_start, size_of

State = dict[str, Any]

NO_COMMENT = bytes(2)  # how a zip file without a comment ends: its length
KINDS: dict[str, type | UnionType] = {
    **dict.fromkeys(("extent", "model", "optimizer", "average"), dict),
    **dict.fromkeys(("step", "updates", "skipped", "skipped_in_a_row"), int),
    **dict.fromkeys(("best", "last"), dict | None),
    "losses": list,
    "seconds": float,
}


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step depends on. Random numbers are not in it: they follow from seed and step."""

    extent: dict[str, int]  # pictures, processes and steps of the whole training
    model: State
    optimizer: State
    average: State | None  # of MovingAverage: {"updates": int, "state": State}
    progress: State  # of Progress

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.progress["step"])


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Atomic: after a crash at any moment the file is the old one or the new one. Raises RunError for a full disk."""
    # asdict would deep-copy the tensors
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    with atomic_file(path) as file:
        torch.save(fields, file)
        seal(file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises RunError for a missing, unreadable or damaged file."""
    try:
        size_of(path)  # a pipe would be waited for without end
        with path.open("rb") as file:
            check_seal(file)
            return checked(Checkpoint(**torch.load(file, map_location="cpu", weights_only=True)))
    except FileNotFoundError:
        raise RunError(f"no checkpoint {path}; nothing to resume from") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}; try again") from None
    except (RuntimeError, EOFError, TypeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if "allocate memory" in str(error):  # the file may be good
            raise
        raise RunError(f"{path} is damaged or of an older mbseg; remove it to start again") from None


def seal(file: BinaryIO) -> None:
    """Gives a zip file, as torch.save writes it, its own SHA-256 as the comment that zip allows at its end.

    torch looks at no checksums, and those of zip do not cover its own tables.
    """
    length = file.seek(-len(NO_COMMENT), os.SEEK_END)
    digest = sha256_of_start(file, length)
    file.seek(length)
    file.write(len(digest).to_bytes(len(NO_COMMENT), "little") + digest)


def check_seal(file: BinaryIO) -> None:
    """Leaves the file at its beginning. Raises ValueError for another content than was sealed, and for none."""
    end = max(0, file.seek(0, os.SEEK_END) - hashlib.sha256().digest_size)
    file.seek(end)
    told = file.read()
    if sha256_of_start(file, max(0, end - len(NO_COMMENT))) != told:
        raise ValueError
    file.seek(0)


def checked(checkpoint: Checkpoint) -> Checkpoint:
    """Raises TypeError or KeyError where a part is not what it should be."""
    average = {"updates": 0, "state": {}} if checkpoint.average is None else checkpoint.average
    parts = {**vars(checkpoint), **checkpoint.progress, "average": average["state"], "updates": average["updates"]}
    if wrong := [name for name, kind in KINDS.items() if not isinstance(parts[name], kind)]:
        raise TypeError(wrong)
    return checkpoint
