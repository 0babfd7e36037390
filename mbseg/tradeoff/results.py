"""What finished rows scored: one small file each, under a name made of what was scored."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbseg.errors import RunError
from mbseg.files import write_atomically


@dataclass(frozen=True)
class Result:
    """The scores of one training in one experiment, and where the weights came from."""

    address: str  # `score_address`
    row: str
    seed: int | None  # None: weights that were not trained by a grid
    scores: dict[str, Any]
    protocol: str
    weights: str  # address of the training, or name and SHA-256 of the file
    training: dict[str, Any]  # steps, seconds, threads; empty for a file


@dataclass(frozen=True)
class Results:
    """The folder that a sweep writes into, and those that were filled before."""

    own: Path
    shipped: Sequence[Path] = ()

    def find(self, address: str) -> Result | None:
        """Raises RunError for a damaged file."""
        for folder in (self.own, *self.shipped):
            path = folder / f"{address}.json"
            if path.is_file():
                return read_result(path, address)
        return None

    def write(self, result: Result) -> None:
        self.own.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(result), indent=2, allow_nan=False)
        write_atomically(self.own / f"{result.address}.json", f"{text}\n".encode())


def read_result(path: Path, address: str) -> Result:
    try:
        result = Result(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise RunError(f"{path} is damaged; remove it to have the row scored again") from None
    if result.address != address:
        raise RunError(f"{path} is of {result.address}; remove it to have the row scored again")
    return result
