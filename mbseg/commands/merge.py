"""`mbseg merge`."""

from pathlib import Path
from typing import TYPE_CHECKING

from mbseg.output import AsJson, print_json

if TYPE_CHECKING:
    from mbseg.prediction.merging import Merged


def merge(folder: Path, /, *others: Path, output: Path | None = None, json: AsJson = False) -> None:
    """Check the shards of `mbseg predict --shard` by their SHA-256, and make one prediction of them.

    It gets detections.json with all boxes, and manifest.jsonl with the SHA-256 of every answer.

    Parameters
    ----------
    folder
        Where shards were written; if it is the only one, it becomes the prediction.
    others
        More of such folders.
    output
        The folder to link or copy the answers into; of several, it must be named.
    """
    from mbseg.prediction.merging import merge as run

    tell(run([folder, *others], output), json=json)


def tell(merged: "Merged", *, json: bool) -> None:
    """Raises DataError for pictures without an answer, though all else is merged."""
    from mbseg.prediction.predicting import left_out

    if json:
        print_json({**merged._asdict(), "output": str(merged.output)})
    else:
        print(f"{merged.output}: {merged.pictures - len(merged.faulty)} pictures, all as they were written")
    if merged.faulty:
        raise left_out(merged.faulty, merged.pictures)
