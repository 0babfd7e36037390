"""Annotations from COCO's JSON, where files of all layouts are found, and samples made of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mbseg.data import coco
from mbseg.data.box_check import box_faults
from mbseg.data.coco import read_coco
from mbseg.data.description import load_description
from mbseg.data.detection_dataset import DetectionDataset, read_detection_sample
from mbseg.data.detection_layouts import find_annotations, list_annotations
from mbseg.data.shapes import draw_shapes, shapes_scene
from mbseg.errors import DataError


def coco_tree() -> dict[str, Any]:
    """Two categories whose ids begin with 0, have gaps and no order; the second picture is empty."""
    return {
        "categories": [{"id": 90, "name": "dog"}, {"id": 0, "name": "cat"}],
        "images": [
            {"id": 7, "file_name": "b.jpg", "height": 20, "width": 30},
            {"id": 5, "file_name": "a.jpg", "height": 10, "width": 40},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3.5, 4], "area": 9.25, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 0, "bbox": [0.1, 0, 8, 8], "iscrowd": 1},
        ],
    }


def read_json(folder: Path, tree: object, classes=None):
    (folder / "a.json").write_text(json.dumps(tree))
    return read_coco(folder / "a.json", [folder], classes)


def test_gaps_in_coco_ids_leave_none_in_the_labels(tmp_path: Path) -> None:
    classes, category_ids, (empty, full) = read_json(tmp_path, coco_tree())
    assert (classes, category_ids) == (("cat", "dog"), (0, 90))
    assert (empty.image_id, empty.image, empty.size, empty.boxes.shape) == (5, tmp_path / "a.jpg", (10, 40), (0, 4))
    assert full.labels.tolist() == [1, 0]
    assert full.boxes.tolist() == [[1, 2, 3.5, 4], [0.1, 0, 8, 8]]
    assert full.areas.tolist() == [9.25, 64]
    assert full.crowd.tolist() == [False, True]


def test_named_classes_decide_the_labels_and_may_be_unknown_to_the_file(tmp_path: Path) -> None:
    classes, category_ids, (_, full) = read_json(tmp_path, coco_tree(), ("dog", "cow", "cat"))
    assert (classes, category_ids) == (("dog", "cow", "cat"), (90, None, 0))
    assert full.labels.tolist() == [0, 2]


def test_a_category_that_no_box_has_need_not_be_a_class(tmp_path: Path) -> None:
    tree = coco_tree()
    tree["categories"].append({"id": 1, "name": "animals"})
    assert read_json(tmp_path, tree, ("dog", "cat")).classes == ("dog", "cat")


FAULTS = [
    ("annotations", 1, {"bbox": [1, 2, 3]}, r"annotations\[1\] \(id 2\): bbox is \[1, 2, 3\]; expected \[x, y, width"),
    ("annotations", 1, {"bbox": None}, r"annotations\[1\] \(id 2\): bbox is null"),
    ("annotations", 1, {"bbox": [1, 2, 3, "4"]}, r"annotations\[1\] \(id 2\): bbox holds \"4\"; a number is expected"),
    ("annotations", 0, {"area": "big"}, r"annotations\[0\] \(id 1\): area holds \"big\"; a number is expected"),
    ("images", 0, {"file_name": "/etc/passwd"}, r"images\[0\]: file_name is \"/etc/passwd\"; a path below the folder"),
    ("images", 0, {"file_name": "../a.jpg"}, r"images\[0\]: file_name is \"\.\./a\.jpg\"; a path below the folder"),
    ("images", 0, {"file_name": "x" * 5000}, r"images\[0\]: file_name is \"x{36}\.\.\.; a path below the folder"),
    ("annotations", 0, {"area": float("nan")}, r"annotations\[0\] \(id 1\): area is nan; a number of pixels"),
    ("annotations", 0, {"area": -1}, r"annotations\[0\] \(id 1\): area is -1; a number of pixels is expected"),
    ("annotations", 0, {"iscrowd": 2}, r"annotations\[0\] \(id 1\): iscrowd is 2; 0 or 1 is expected"),
    ("annotations", 0, {"iscrowd": [0]}, r"annotations\[0\] \(id 1\): iscrowd is \[0\]; 0 or 1 is expected"),
    ("annotations", 0, {"image_id": 6}, r"annotations\[0\] \(id 1\) is of picture 6, which is not among the images"),
    ("annotations", 0, {"image_id": "7"}, r"annotations\[0\] \(id 1\): image_id is \"7\"; a whole number is expected"),
    ("annotations", 0, {"category_id": 4}, r"annotations\[0\] \(id 1\) is of category 4, which is not among"),
    ("images", 1, {"width": 0}, r"images\[1\] \(id 5\) is 10 x 0; sides are 1 to 65536 pixels"),
    ("images", 1, {"height": 1 << 20}, r"images\[1\] \(id 5\) is 1048576 x 40; sides are"),
    ("images", 1, {"width": 40.5}, r"images\[1\]: width is 40\.5; a whole number is expected"),
    ("images", 1, {"file_name": 3}, r"images\[1\]: file_name is 3; a text is expected"),
    ("images", 1, {"id": 7}, r"images\[1\] has the id of another picture: 7"),
    ("images", 1, {"id": True}, r"images\[1\]: id is true; a whole number is expected"),
    ("images", 1, {"id": 1 << 70}, r"images\[1\]: id is 1180591620717411303424; a whole number is expected"),
    ("categories", 1, {"name": "dog"}, r"categories\[1\] has the id or the name of another one: 0, 'dog'"),
    ("categories", 1, {"name": "dog\n"}, r"categories\[1\]: name is \"dog\\n\"; a text is expected"),
    ("annotations", 0, {"id": "x\n" * 9999, "area": -1}, r"annotations\[0\]: area is -1"),
    ("categories", 1, {"name": "dog\u2028"}, r"categories\[1\]: name is \"dog\\u2028\"; a text is expected"),
    ("categories", 1, {"name": ""}, r"categories\[1\]: name is \"\"; a text is expected"),
]


@pytest.mark.parametrize(("key", "index", "change", "said"), FAULTS)
def test_a_faulty_entry_is_one_line_that_names_the_file_and_the_entry(key, index, change, said, tmp_path: Path) -> None:
    tree = coco_tree()
    tree[key][index] |= change
    with pytest.raises(DataError, match=rf"a\.json: {said}") as caught:
        read_json(tmp_path, tree)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("space", ["\u202f", "\u00a0", "\u3000"])  # the first is macOS's in "1.02.03 PM.png"
def test_a_name_may_have_any_space(space: str, tmp_path: Path) -> None:
    tree = coco_tree()
    tree["images"][1]["file_name"] = f"Screenshot{space}PM.png"
    tree["categories"][0]["name"] = f"dog{space}s"
    classes, _, (first, _) = read_json(tmp_path, tree)
    assert classes == ("cat", f"dog{space}s")
    assert first.image == tmp_path / f"Screenshot{space}PM.png"


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([], r"expected an object with images, annotations and categories, not \[\]"),
        (coco_tree() | {"annotations": {}}, r"'annotations' is \{\}; a list is expected"),
        ({"categories": coco_tree()["categories"]}, r"'images' is missing; a list is expected"),
        (coco_tree() | {"images": [5]}, r"images\[0\] is 5; an object is expected"),
        (coco_tree() | {"categories": []}, r"'categories' is empty"),
    ],
)
def test_a_file_of_another_shape_is_refused(tree: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.json: {said}"):
        read_json(tmp_path, tree)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 200_000])
def test_a_file_that_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json: cannot be read as JSON") as caught:
        read_coco(tmp_path / "a.json", [tmp_path])
    assert "\n" not in str(caught.value)


def test_a_list_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(coco_tree())[:-1] + ', "images": []}')
    with pytest.raises(DataError, match="'images' stands there twice"):
        read_coco(tmp_path / "a.json", [tmp_path])


def test_a_list_of_another_name_may_be_long_but_not_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "MOST_UNREAD", 10)
    assert read_json(tmp_path, coco_tree() | {"notes": [0] * 10}).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r'"notes" has more than 10 entries'):
        read_json(tmp_path, coco_tree() | {"notes": [0] * 11})


def test_the_lists_of_a_file_may_come_in_any_order(tmp_path: Path) -> None:
    turned = dict(reversed(coco_tree().items()))
    assert str(read_json(tmp_path, turned)) == str(read_json(tmp_path, coco_tree()))


def test_a_category_that_is_no_class_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"annotations\[0\] .* 'dog', which is none of the 2 classes; did you mean 'dogs'"
    ):
        read_json(tmp_path, coco_tree(), ("cat", "dogs"))


def write_picture(file: Path, height: int, width: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 99, np.uint8)).save(file)


def test_a_sample_has_no_faulty_boxes_and_no_crowds_but_the_annotation_as_it_was(tmp_path: Path) -> None:
    tree = coco_tree()
    tree["annotations"].append({"id": 3, "image_id": 7, "category_id": 0, "bbox": [np.nan, 0, 5, 5]})
    tree["annotations"].append({"id": 4, "image_id": 7, "category_id": 90, "bbox": [20, 10, 50, 50]})
    write_picture(tmp_path / "b.jpg", 20, 30)
    sample = read_detection_sample(read_json(tmp_path, tree).annotations[1])
    assert sample.image.shape == (20, 30, 3)
    assert sample.size == (20, 30)
    assert sample.boxes.dtype == np.float32
    assert sample.boxes.tolist() == [[1, 2, 4.5, 6], [20, 10, 30, 20]]
    assert sample.labels.tolist() == [1, 1]
    assert len(sample.annotation.boxes) == 4


def test_a_picture_of_another_size_than_annotated_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "b.jpg", 30, 20)
    with pytest.raises(DataError, match=r"b\.jpg is 30 x 20 .*, but 20 x 30 in .*a\.json"):
        read_detection_sample(read_json(tmp_path, coco_tree()).annotations[1])


def test_a_batch_keeps_each_pictures_own_number_of_boxes(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(tmp_path / f"{name}.jpg", 20, 30)
    tree = coco_tree()
    tree["images"][1] |= {"height": 20, "width": 30}
    dataset = DetectionDataset(read_json(tmp_path, tree))
    batch = dataset.collate([dataset[0, index] for index in range(len(dataset))])
    assert batch.images.shape == (2, 3, 20, 30)
    assert [tuple(boxes.shape) for boxes in batch.boxes] == [(0, 4), (1, 4)]
    assert [labels.tolist() for labels in batch.labels] == [[], [1]]
    assert [annotation.image_id for annotation in batch.annotations] == [5, 7]


@pytest.mark.parametrize(
    "place", ["train.json", "instances_train.json", "annotations/instances_train.json", "train/_annotations.coco.json"]
)
@pytest.mark.parametrize("folder", ["train", "images", ".", "train/images", "images/train"])
def test_custom_coco_json_is_found_in_the_usual_places(place: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(json.dumps(coco_tree()))
    for name in "ab":
        write_picture(tmp_path / folder / f"{name}.jpg", 2, 3)
    split = find_annotations(load_description("coco_json"), tmp_path, "train")
    assert split.classes == ("cat", "dog")
    assert split.annotations[0].image.parent == tmp_path / folder


def test_a_file_named_with_its_path_is_taken(tmp_path: Path) -> None:
    (tmp_path / "my boxes.json").write_text(json.dumps(coco_tree()))
    split = list_annotations(load_description("coco_json"), tmp_path, "my boxes.json", ("dog", "cat"))
    assert split.classes == ("dog", "cat")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    custom, camvid = load_description("coco_json"), load_description("camvid")
    with pytest.raises(DataError, match=r"data\.root .*nowhere is not a folder"):
        find_annotations(custom, tmp_path / "nowhere", "train")
    with pytest.raises(
        DataError, match=r"no JSON of split 'train' in .*; looked for train\.json, instances_train\.json"
    ):
        find_annotations(custom, tmp_path, "train")
    (tmp_path / "train.json").write_text(json.dumps(coco_tree()))
    with pytest.raises(DataError, match=r"2 of 2 pictures of 'train' are missing, the first: .*a\.jpg"):
        find_annotations(custom, tmp_path, "train")
    (tmp_path / "train.json").write_text(json.dumps(coco_tree() | {"images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"split 'train' in .* is empty"):
        find_annotations(custom, tmp_path, "train")
    with pytest.raises(DataError, match=r"'camvid' has masks, but no boxes; detection needs one of layout voc or coco"):
        find_annotations(camvid, tmp_path, "train")


def test_the_boxes_of_drawn_shapes_are_those_that_were_drawn(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", train=2, val=1, size=(64, 80))
    split = find_annotations(load_description("shapes"), tmp_path / "shapes", "train")
    assert split.classes == ("disc", "square", "triangle", "ring", "star", "cross")
    for index, annotation in enumerate(split.annotations):
        placed = shapes_scene(0, "train", index, (64, 80)).objects
        inclusive = annotation.xyxy - (0, 0, 1, 1)
        assert inclusive.tolist() == [list(item.box) for item in placed]
        assert [split.classes[label] for label in annotation.labels] == [item.shape.name for item in placed]
        assert not box_faults(annotation, (64, 80), split.classes)


def test_the_background_is_no_class_of_a_detector() -> None:
    for kind in ("voc", "voc2007"):
        assert len(load_description(kind).object_classes or ()) == 20
    assert len(load_description("coco").object_classes or ()) == 80
    assert load_description("coco_json").object_classes is None


@pytest.mark.parametrize(
    ("kind", "folder", "split", "pictures", "boxes"),
    [
        ("voc", "VOCdevkit/VOC2012", "train", 66, 186),
        ("coco", "coco2017_sample", "val2017", 50, 382),
        ("coco_json", "pennfudan", "train", 90, 224),
    ],
)
def test_the_real_samples_are_found_whole(kind, folder, split, pictures, boxes, shared_data: Path) -> None:
    found = find_annotations(load_description(kind), shared_data / folder, split)
    assert len(found.annotations) == pictures
    assert sum(len(annotation.labels) for annotation in found.annotations) == boxes


def test_the_shipped_classes_of_coco_stand_in_the_order_of_its_ids(shared_data: Path) -> None:
    file = shared_data / "coco2017_sample" / "annotations" / "instances_val2017.json"
    assert read_coco(file, [file.parent]).classes == load_description("coco").classes
