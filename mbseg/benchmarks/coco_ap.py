"""COCO's twelve figures of a drawn split: ours beside those of pycocotools."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from mbseg.analysis.timing import time_ms
from mbseg.benchmarks.comparison import CPU, Comparison
from mbseg.data.detection_samples import AnnotatedSplit, Annotation, Doubles, Integers
from mbseg.metrics.box_records import Picture, recorded
from mbseg.metrics.coco_ap import coco_ap
from mbseg.metrics.coco_figures import CocoFigures
from mbseg.metrics.coco_json import instances, judge, results_of

CLASSES = tuple(f"class {number}" for number in range(1, 81))  # as many as COCO's
CATEGORY_IDS = tuple(range(1, 81))
SIZE = (480, 640)
OBJECTS = 7  # a picture, on average
DETECTIONS = 100  # a picture
NEAR = 0.6  # of the detections, about an object
ROUNDS = 3  # pycocotools takes most of a minute for one


class Found(NamedTuple):
    """What was detected in one picture."""

    annotation: Annotation
    boxes: Doubles  # [n, 4] xyxy
    scores: Doubles  # [n]
    labels: Integers  # [n]


def coco_ap_speed(pictures: int) -> Comparison:
    """From annotations and detections to the figures; both sides build their index of the annotations anew."""
    split, found = drawn_split(pictures)
    truth, results = (
        instances(split),
        results_of(in_records(found), CATEGORY_IDS),
    )  # made before, as the judge wants them
    figures: dict[str, CocoFigures] = {}

    def ours() -> None:
        figures["mbseg"] = scored(found)

    def theirs() -> None:
        figures["pycocotools"] = judge(truth, results)

    scored(found[:1])  # compiles
    milliseconds = medians({"mbseg coco_ap": ours, "pycocotools": theirs}, ROUNDS)
    differing = count_differing(figures["mbseg"], figures["pycocotools"])
    title = (
        f"COCO AP of {pictures} pictures, {len(CLASSES)} classes, {len(results)} detections, "
        f"{differing} of the {len(figures['pycocotools'])} figures differ"
    )
    return Comparison(title, milliseconds, ROUNDS, pictures)


def medians(turns: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """In milliseconds; nothing is warmed up, for a turn may take a minute."""
    times = [{name: time_ms(run, CPU) for name, run in turns.items()} for _ in range(rounds)]
    return {name: statistics.median(one[name] for one in times) for name in turns}


def count_differing(figures: CocoFigures, expected: CocoFigures) -> int:
    return sum(one != other for one, other in zip(figures.values(), expected.values(), strict=True))


def scored(found: Sequence[Found]) -> CocoFigures:
    scores: Mapping[str, object] = coco_ap(in_records(found), CLASSES)
    return cast(CocoFigures, {name: scores[name] for name in CocoFigures.__annotations__})


def in_records(found: Sequence[Found]) -> list[Picture]:
    return [recorded(*one, len(CLASSES)) for one in found]


def drawn_split(pictures: int) -> tuple[AnnotatedSplit, list[Found]]:
    rng = np.random.default_rng(0)
    found = [drawn_picture(rng, image_id) for image_id in range(1, pictures + 1)]
    return AnnotatedSplit(CLASSES, CATEGORY_IDS, [one.annotation for one in found]), found


def drawn_picture(rng: np.random.Generator, image_id: int) -> Found:
    """Objects and detections: many near an object and of its class, the others anywhere and of any."""
    annotation = drawn_annotation(rng, image_id)
    count = len(annotation.labels)
    near = rng.integers(0, count, int(NEAR * DETECTIONS) if count else 0)
    beside = annotation.xyxy[near] + rng.normal(0, 6, (len(near), 4))
    others = drawn_boxes(rng, DETECTIONS - len(near))
    anywhere = np.concatenate([others[:, :2], others[:, :2] + others[:, 2:]], axis=1)
    labels = np.concatenate([annotation.labels[near], rng.integers(0, len(CLASSES), len(others))])
    return Found(annotation, np.concatenate([beside, anywhere]), rng.random(DETECTIONS), labels)


def drawn_annotation(rng: np.random.Generator, image_id: int) -> Annotation:
    count = int(rng.integers(1, 2 * OBJECTS))
    boxes = drawn_boxes(rng, count)
    return Annotation(
        file=Path("drawn.json"),
        image=Path(f"{image_id}.jpg"),
        image_id=image_id,
        size=SIZE,
        boxes=boxes,
        labels=rng.integers(0, len(CLASSES), count),
        areas=0.6 * boxes[:, 2] * boxes[:, 3],  # objects do not fill their boxes
        difficult=np.zeros(count, np.bool_),
        crowd=rng.random(count) < 0.02,
    )


def drawn_boxes(rng: np.random.Generator, count: int) -> Doubles:
    """[count, 4] x, y, width, height: small, medium and large ones."""
    sides = np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
    return np.concatenate([rng.uniform(0, (SIZE[1] - 300, SIZE[0] - 300), (count, 2)), sides], axis=1)
