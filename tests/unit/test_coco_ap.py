"""COCO's figures: equal to those of pycocotools, every one of them to the last bit."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from mbseg.boxes.detections import Detections
from mbseg.data.coco import read_coco
from mbseg.data.detection_samples import AnnotatedSplit, Annotation, DetectionBatch
from mbseg.errors import DataError
from mbseg.metrics.box_records import recorded
from mbseg.metrics.coco_ap import coco_ap
from mbseg.metrics.coco_figures import CocoFigures
from mbseg.metrics.coco_json import instances, judge, results_of
from mbseg.tasks.detection import DetectionMetric

CLASSES = tuple("abcd")
CATEGORY_IDS = (0, 2, 3, 90)


def drawn_split(seed: int, pictures: int = 30) -> AnnotatedSplit:
    """Objects of all sizes, crowds, empty pictures, the last class absent; ids from 0 with gaps, in no order."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10 * np.arange(pictures))
    return AnnotatedSplit(CLASSES, CATEGORY_IDS, [drawn_annotation(rng, int(number)) for number in ids])


def drawn_annotation(rng: np.random.Generator, image_id: int) -> Annotation:
    count = int(rng.integers(0, 9))
    boxes = np.round(np.column_stack([rng.uniform(0, 400, (count, 2)), np.exp(rng.uniform(1, 5.5, (count, 2)))]), 2)
    return Annotation(
        file=Path("instances.json"),
        image=Path(f"{image_id}.jpg"),
        image_id=image_id,
        size=(640, 640),
        boxes=boxes,
        labels=rng.integers(0, 3, count),
        areas=boxes[:, 2] * boxes[:, 3] * rng.choice([0.5, 1], count),
        difficult=np.zeros(count, np.bool_),
        crowd=rng.random(count) < 0.15,
    )


def guesses(rng: np.random.Generator, annotation: Annotation, num_classes: int, most: int = 60):
    """Boxes xyxy near the objects and elsewhere; scores of one decimal, so that many are equal."""
    near = rng.integers(0, len(annotation.labels), most // 2) if len(annotation.labels) else np.zeros(0, int)
    beside = annotation.xyxy[near] + rng.normal(0, 1, (len(near), 4)) * rng.choice([0, 1, 8], (len(near), 1))
    corner = rng.uniform(0, 400, (int(rng.integers(0, most // 2)), 2))
    boxes = np.concatenate([beside, np.hstack([corner, corner + rng.uniform(5, 200, corner.shape)])])
    labels = np.concatenate([annotation.labels[near], rng.integers(0, num_classes, len(corner))])
    return boxes.astype(np.float32), rng.integers(0, 10, len(boxes)) / np.float32(10), labels


def detect(split: AnnotatedSplit, seed: int = 0, most: int = 60):
    """What is found in each picture, and the same as COCO's results."""
    rng = np.random.default_rng(seed)
    found = [(annotation, *guesses(rng, annotation, len(split.classes), most)) for annotation in split.annotations]
    return found, as_results(split, found)


def as_results(split: AnnotatedSplit, found):
    return results_of(in_records(split, found), split.category_ids)


def in_records(split: AnnotatedSplit, found):
    return [recorded(*picture, len(split.classes)) for picture in found]


def scored(split: AnnotatedSplit, found):
    return coco_ap(in_records(split, found), split.classes)


def twelve(scores) -> CocoFigures:
    return {name: scores[name] for name in CocoFigures.__annotations__}


def test_detections_of_a_class_that_the_file_does_not_know_are_left_out_and_the_one_with_id_zero_is_not() -> None:
    split = drawn_split(12)._replace(category_ids=(0, 2, 3, None))
    found, results = detect(split)
    assert any((labels == 3).any() for *_, labels in found)
    assert {entry["category_id"] for entry in results} == {0, 2, 3}
    assert [category["id"] for category in instances(split)["categories"]] == [0, 2, 3]
    assert twelve(scored(split, found)) == judge(instances(split), results)


@pytest.mark.parametrize("seed", range(6))
def test_the_twelve_figures_are_those_of_pycocotools_in_whatever_order_the_pictures_come(seed: int) -> None:
    split = drawn_split(seed)
    found, results = detect(split, seed)
    assert twelve(scored(split, found[::-1])) == judge(instances(split), results)


def test_of_more_than_a_hundred_detections_of_a_class_in_a_picture_the_best_hundred_count() -> None:
    picture = next(annotation for annotation in drawn_split(0).annotations if not annotation.crowd.any())
    split = AnnotatedSplit(CLASSES, CATEGORY_IDS, [picture])
    boxes = np.concatenate([np.tile([500.0, 500, 509, 509], (100, 1)), picture.xyxy[:1]])
    found = (boxes, np.append(np.full(100, 0.9), 0.1), np.full(101, picture.labels[0]))
    scores = scored(split, [(picture, *found)])
    assert scores["ap"] == 0
    assert twelve(scores) == judge(instances(split), as_results(split, [(picture, *found)]))


def test_of_objects_overlapped_equally_the_same_is_found_as_by_pycocotools() -> None:
    """Two objects stand alike to the first detection; only one of them leaves the other to the second detection."""
    for second in ([4.0, 0, 14, 10], [0.0, 0, 10, 10]):
        box = np.array([[0.0, 0, 10, 10], [4, 0, 10, 10]])
        picture = replace(drawn_split(0).annotations[0], boxes=box, labels=np.array([0, 0]), areas=np.full(2, 100.0))
        picture = replace(picture, difficult=np.zeros(2, np.bool_), crowd=np.zeros(2, np.bool_))
        split = AnnotatedSplit(CLASSES, CATEGORY_IDS, [picture])
        found = [(picture, np.array([[2.0, 0, 12, 10], second]), np.array([0.9, 0.8]), np.array([0, 0]))]
        assert twelve(scored(split, found)) == judge(instances(split), as_results(split, found))


def test_the_figures_over_real_annotations_are_those_of_pycocotools_over_the_official_file(shared_data: Path) -> None:
    file = shared_data / "coco2017_sample" / "annotations" / "instances_val2017.json"
    split = read_coco(file, [shared_data / "coco2017_sample" / "val2017"])
    assert any(annotation.crowd.any() for annotation in split.annotations)
    found, results = detect(split, most=200)
    figures = twelve(scored(split, found))
    assert figures == judge(json.loads(file.read_text()), results)
    assert min(figures.values()) > 0 and max(figures.values()) < 1  # small, medium, large: all are there to be found


def test_of_eighty_classes_the_twelve_figures_are_those_of_pycocotools() -> None:
    """Many classes with few objects each, most of them small, and more detections than the limit of a picture."""
    rng = np.random.default_rng(11)
    classes = tuple(f"class {label}" for label in range(80))
    annotations = []
    for annotation in drawn_split(11).annotations:
        boxes = annotation.boxes * (1, 1, 0.3, 0.3)
        labels = rng.integers(0, 80, len(boxes))
        annotations.append(replace(annotation, boxes=boxes, areas=boxes[:, 2] * boxes[:, 3], labels=labels))
    split = AnnotatedSplit(classes, tuple(range(0, 240, 3)), annotations)
    found, results = detect(split, most=400)
    scores = scored(split, found)
    assert twelve(scores) == judge(instances(split), results)
    assert scores["ap_small"] > 0 and len(scores["per_class"]) > 40 and scores["absent"]


def test_the_ap_of_a_class_is_that_of_pycocotools_asked_for_it_alone() -> None:
    split = drawn_split(1)
    found, results = detect(split)
    scores, truth = scored(split, found), instances(split)
    for name, category in zip(CLASSES[:3], truth["categories"], strict=False):
        assert scores["per_class"][name] == judge(truth | {"categories": [category]}, results)["ap"]
    assert scores["absent"] == ["d"]


def test_a_size_of_which_there_is_no_object_has_no_figure_and_none_of_the_judge() -> None:
    split = drawn_split(2)
    small = [replace(annotation, areas=np.full(len(annotation.labels), 9.0)) for annotation in split.annotations]
    found, results = detect(split := split._replace(annotations=small))
    scores = scored(split, found)
    assert scores["ap_large"] is None and scores["ar_medium"] is None
    assert twelve(scores) == judge(instances(split), results)


def test_perfect_detections_score_one() -> None:
    split = drawn_split(3)
    certain = [(a, a.xyxy[~a.crowd], np.ones((~a.crowd).sum()), a.labels[~a.crowd]) for a in split.annotations]
    assert scored(split, certain)["ap"] == pytest.approx(1)


def test_no_detection_at_all_scores_zero_as_it_does_for_pycocotools() -> None:
    split = drawn_split(4)
    nothing = [(a, np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)) for a in split.annotations]
    scores = scored(split, nothing)
    assert scores["ap"] == scores["ar100"] == 0
    assert twelve(scores) == judge(instances(split), [])


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    split = drawn_split(5)
    found, results = detect(split)
    annotation, boxes, marks, labels = found[0]
    faulty = np.array([[0, 0, np.nan, 9], [0, 0, 9, 9], [0, 0, np.inf, 9]], np.float32)
    worse = np.concatenate([boxes, faulty]), np.append(marks, [1, np.nan, 1]), np.append(labels, [0, 1, 2])
    scores = measured(split, [(annotation, *worse), *found[1:]]).compute()
    assert scores["dropped"] == 3
    assert twelve(scores) == judge(instances(split), results)
    assert as_results(split, [(annotation, *worse), *found[1:]]) == as_results(split, found)


def test_an_annotated_box_that_is_not_finite_is_no_object() -> None:
    split = drawn_split(6)
    found, results = detect(split)
    annotation, *rest = found[0]
    faulty = replace(
        annotation,
        boxes=np.concatenate([annotation.boxes, [[0, np.nan, 5, 5]]]),
        areas=np.append(annotation.areas, 25),
        **{key: np.append(getattr(annotation, key), 0) for key in ("labels", "difficult")},
        crowd=np.append(annotation.crowd, False),
    )
    assert twelve(scored(split, [(faulty, *rest), *found[1:]])) == judge(instances(split), results)


def test_tensors_of_any_precision_are_taken() -> None:
    split = drawn_split(7)
    found, _ = detect(split)
    tensors = [(a, *(torch.from_numpy(np.asarray(part)) for part in rest)) for a, *rest in found]
    assert scored(split, tensors) == scored(split, found)
    lossy = [(a, boxes.bfloat16(), marks, labels) for a, boxes, marks, labels in tensors]
    assert 0 < scored(split, lossy)["ap"] < 1


def test_a_split_of_crowds_alone_and_an_empty_one_are_refused() -> None:
    split = drawn_split(8)
    crowds = [replace(annotation, crowd=np.ones(len(annotation.labels), np.bool_)) for annotation in split.annotations]
    found, _ = detect(split._replace(annotations=crowds))
    with pytest.raises(DataError, match="only crowds: there is nothing to detect"):
        scored(split, found)
    with pytest.raises(DataError, match="there is nothing to detect"):
        coco_ap([], CLASSES)


def test_neither_the_metric_nor_the_judge_prints_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    split = drawn_split(9)
    found, results = detect(split)
    scored(split, found)
    judge(instances(split), results)
    assert capsys.readouterr() == ("", "")


def measured(split: AnnotatedSplit, found) -> DetectionMetric:
    """One picture a batch."""
    metric = DetectionMetric(split.classes)
    for annotation, *rest in found:
        batch = DetectionBatch(torch.zeros(0), [], [], [], [annotation])
        metric.update([Detections(*(torch.from_numpy(np.asarray(part)) for part in rest))], batch)
    return metric


def find_one_part(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    split = drawn_split(10)
    metric = measured(split, detect(split)[0][rank::2])
    metric.merge()
    (folder / f"{rank}.json").write_text(json.dumps(metric.compute()))
    distributed.destroy_process_group()


def test_two_processes_score_as_one(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=find_one_part, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
    split = drawn_split(10)
    expected = measured(split, detect(split)[0]).compute()
    assert expected["images"] == 30
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [expected, expected]
