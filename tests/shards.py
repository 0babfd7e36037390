"""A tree of small pictures, one of them broken, and a predictor whose answers for them cost nothing: for shards."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.errors import DataError
from mbseg.prediction.manifest import Header, Record, Shard
from mbseg.prediction.picture_list import find_pictures, sha256_of
from mbseg.prediction.predicting import Answerer
from mbseg.prediction.sharding import predict_shard
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.video.names import Names

PICTURES = [f"{place}{number}.png" for place in ("", "a/", "a/b/") for number in range(1, 8)]
BROKEN = "a/3.png"
NAMES = Names(("sky", "tree", "road"), ((0, 0, 0), (0, 99, 0), (99, 99, 99)))


class Colours(FramePredictor):
    """Finds what can be told from a picture's first pixels."""

    description = "colours"

    def __call__(self, image: UInt8Array) -> Answer:
        count = int(image[0, 0, 0]) % 3
        boxes = torch.arange(4.0 * count).reshape(count, 4).cumsum(dim=1) / 3
        found = Detections(boxes, torch.linspace(0.9, 0.7, count), torch.arange(count))
        return Answer((image[..., 0] % 3).astype(np.uint8), found)

    def input_size(self, picture: Size) -> Size:
        return picture


def draw_pictures(folder: Path) -> Path:
    for seed, name in enumerate(PICTURES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    (folder / BROKEN).write_text("no picture")
    return folder


def answerer(predictor: FramePredictor | None = None) -> Answerer:
    return Answerer(predictor or Colours(), NAMES, NAMES)


def header(folder: Path, **facts: object) -> Header:
    names = find_pictures(folder, recursive=True).names
    return Header({"pictures": len(names), "pictures_sha256": sha256_of(names), **facts}, "mbseg predict")


def run(
    folder: Path, output: Path, shard: Shard, *, predictor: FramePredictor | None = None, anew: bool = False
) -> list[str]:
    """The pictures that are answered now."""
    pictures = find_pictures(folder, recursive=True)
    lines = predict_shard(answerer(predictor), pictures, output, shard, header(folder), anew=anew)
    return [record.picture for record in without_faults(lines)]


def without_faults(lines: Iterator[Record]) -> Iterator[Record]:
    try:
        yield from lines
    except DataError as error:
        if f"cannot be read: {BROKEN}" not in str(error):
            raise


def make_shards(folder: Path, output: Path, count: int) -> Path:
    for number in range(1, count + 1):
        run(folder, output, Shard(number, count))
    return output


def answers(output: Path) -> dict[str, bytes]:
    """All files but the manifests of shards, whose number is another."""
    files = (path for path in output.rglob("*") if path.is_file() and "-of-" not in path.name)
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in files}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
