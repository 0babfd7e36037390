"""The files that answers are given as: class maps as palette PNGs, boxes as COCO's JSON."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mbseg.boxes.detections import Detections
from mbseg.data.labels import Colour
from mbseg.data.samples import UInt8Array
from mbseg.runtime.answers import Answer
from mbseg.video.names import Names

MASK_SUFFIX, BOXES_SUFFIX = ".png", ".json"
Entry = dict[str, Any]


class AnswerFiles(NamedTuple):
    """What the answer for one picture is written as."""

    contents: dict[str, bytes]  # by name
    found: str  # in words


def answer_files(
    picture: str, image: UInt8Array, answer: Answer, mask: Names | None, boxes: Names | None
) -> AnswerFiles:
    """Named as the picture is. They depend on it and its answer alone, whatever else is predicted beside it."""
    contents, found = {}, []
    if answer.mask is not None and mask is not None:
        contents[stem_of(picture) + MASK_SUFFIX] = palette_png(answer.mask, mask.palette)
        found.append(mask_text(answer.mask, mask.classes))
    if answer.detections is not None and boxes is not None:
        contents[stem_of(picture) + BOXES_SUFFIX] = boxes_json(picture, image, answer.detections, boxes.classes)
        found.append(boxes_text(answer.detections, boxes.classes))
    return AnswerFiles(contents, "; ".join(found))


def stem_of(picture: str) -> str:
    """Its name without suffix, with its folder."""
    return str(PurePosixPath(picture).with_suffix(""))


def palette_png(mask: UInt8Array, palette: Sequence[Colour]) -> bytes:
    """A class map [H, W] as a PNG whose pixels are class ids, drawn in the palette's colours."""
    image = Image.fromarray(mask)
    image.putpalette(np.array(palette, np.uint8).tobytes())
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def boxes_json(picture: str, image: UInt8Array, found: Detections, classes: Sequence[str]) -> bytes:
    """A file of COCO's with one picture, whose ids count from 1."""
    height, width = image.shape[:2]
    entry = {"id": 1, "file_name": picture, "height": height, "width": width}
    boxes = [{"id": number, "image_id": 1, **one} for number, one in enumerate(box_entries(found), start=1)]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return json.dumps({"images": [entry], "annotations": boxes, "categories": categories}).encode()


def box_entries(found: Detections) -> Iterator[Entry]:
    """COCO's annotations of one picture; category ids count from 1, in the order of the file's own categories."""
    for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        left, top, right, bottom = box
        sides = [left, top, right - left, bottom - top]
        yield {"category_id": label + 1, "bbox": sides, "area": sides[2] * sides[3], "score": score, "iscrowd": 0}


def mask_text(mask: UInt8Array, classes: Sequence[str]) -> str:
    """The classes by their share of the picture, the largest first."""
    shares = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
    order = np.argsort(-shares, kind="stable")
    return ", ".join(f"{classes[label]} {shares[label]:.1%}" for label in order if shares[label])


def boxes_text(found: Detections, classes: Sequence[str]) -> str:
    """How many boxes there are of each class."""
    counts = Counter(classes[label] for label in found.labels.tolist())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing found"
