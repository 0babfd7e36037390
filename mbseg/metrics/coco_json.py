"""Objects and detections as COCO's JSON, and the judge that reads it: pycocotools."""

import io
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any, cast

from mbseg.data.detection_samples import AnnotatedSplit
from mbseg.metrics.box_records import Array, Predicted, Truth, predicted, truth
from mbseg.metrics.coco_ap import CocoFigures

Entry = dict[str, Any]


def results_of_picture(
    image_id: int, boxes: Array, scores: Array, labels: Array, category_ids: Sequence[int]
) -> list[Entry]:
    """COCO's results for one picture, boxes [n, 4] xyxy; those with non-finite numbers are left out."""
    return _results(image_id, predicted(boxes, scores, labels, len(category_ids)), category_ids)


def results_of_split(pictures: Iterable[tuple[Truth, Predicted]], category_ids: Sequence[int]) -> list[Entry]:
    """COCO's results for all pictures; boxes of classes that the data set does not know (id 0) are left out."""
    every = [entry for objects, found in pictures for entry in _results(objects.image_id, found, category_ids)]
    return [entry for entry in every if entry["category_id"]]


def _results(image_id: int, found: Predicted, category_ids: Sequence[int]) -> list[Entry]:
    rows = zip(found.labels.tolist(), found.boxes.tolist(), found.scores.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for label, box, score in rows
    ]


def instances(split: AnnotatedSplit) -> dict[str, list[Entry]]:
    """The split as COCO describes it; ids of annotations count from 1, as pycocotools takes 0 for no object."""
    described = [(annotation, truth(annotation)) for annotation in split.annotations]
    entries = [
        {
            "image_id": found.image_id,
            "category_id": split.category_ids[label],
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        }
        for _, found in described
        for label, box, area, crowd in zip(
            found.labels.tolist(), found.boxes.tolist(), found.areas.tolist(), found.crowd.tolist(), strict=True
        )
    ]
    return {
        "images": [{"id": found.image_id, "file_name": annotation.image.name} for annotation, found in described],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(entries, start=1)],
        "categories": [
            {"id": number, "name": name} for number, name in zip(split.category_ids, split.classes, strict=True)
        ],
    }


def judge(truth_json: dict[str, list[Entry]], results: list[Entry]) -> CocoFigures:
    """pycocotools' own twelve figures; what it prints is swallowed."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth_json
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results) if results else COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = CocoFigures.__annotations__
    return cast(CocoFigures, dict(zip(names, evaluation.stats.tolist(), strict=True)))
