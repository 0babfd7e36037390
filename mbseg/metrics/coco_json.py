"""Objects and detections as COCO's JSON, and the judge that reads it: pycocotools."""

import io
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any, cast

from mbseg.data.detection_samples import AnnotatedSplit
from mbseg.metrics.box_records import Picture, truth
from mbseg.metrics.coco_figures import NOTHING, CocoFigures

Entry = dict[str, Any]


def results_of(pictures: Iterable[Picture], category_ids: Sequence[int | None]) -> list[Entry]:
    """COCO's results: the boxes of every picture, but for those of classes that the data set does not know (None)."""
    return [
        {"image_id": objects.image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for objects, found in pictures
        for label, box, score in zip(found.labels.tolist(), found.boxes.tolist(), found.scores.tolist(), strict=True)
        if category_ids[label] is not None
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
            {"id": number, "name": name}
            for number, name in zip(split.category_ids, split.classes, strict=True)
            if number is not None
        ],
    }


def judge(truth_json: dict[str, list[Entry]], results: list[Entry]) -> CocoFigures:
    """pycocotools' own twelve figures, its -1 for no object being None here; what it prints is swallowed."""
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
    values = [None if value == NOTHING else value for value in evaluation.stats.tolist()]
    return cast(CocoFigures, dict(zip(CocoFigures.__annotations__, values, strict=True)))
