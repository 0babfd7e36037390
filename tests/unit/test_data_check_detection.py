"""check-data for detection: every list, annotation, picture and box read, each faulty one told."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbseg.cli import main
from mbseg.data.box_check import BoxReport
from mbseg.data.check_detection import Contents, check_detection_dataset
from mbseg.data.description import load_description
from mbseg.data.shapes import draw_shapes

VOC, COCO = load_description("voc"), load_description("coco_json")
CLASSES = ("cat", "dog")
BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def write_picture(file: Path, height: int = 6) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, 8, 3), 99, np.uint8)).save(file)


def write_xml(root: Path, name: str, *objects: str) -> None:
    (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")


def write_list(root: Path, split: str, names: str) -> None:
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two splits of two pictures of 6 x 8, an object in all but b."""
    (tmp_path / "Annotations").mkdir()
    for name in "abcd":
        write_picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        write_xml(tmp_path, name, *[BOX.format("dog", 1, 1, 8, 6)] * (name != "b"))
    write_list(tmp_path, "train", "ab")
    write_list(tmp_path, "val", "cd")
    return tmp_path


def told(root: Path, description=VOC, splits=("train", "val")) -> tuple[list[tuple[str, str]], Contents]:
    faults, contents = check_detection_dataset(description, root, splits, CLASSES, processes=2)
    return [(file.relative_to(root).as_posix(), problem) for file, problem in faults], contents


def test_a_sound_data_set_has_no_faults_and_pictures_without_objects_are_counted(voc: Path) -> None:
    assert told(voc) == ([], Contents(4, 1, BoxReport(3, Counter())))


def test_each_faulty_file_is_named_and_hides_no_other(voc: Path) -> None:
    (voc / "JPEGImages" / "a.jpg").write_text("not a picture")
    (voc / "JPEGImages" / "b.jpg").unlink()
    write_xml(voc, "c", BOX.format("cow", 1, 1, 8, 6))
    (voc / "Annotations" / "d.xml").write_text("<annotation>")
    write_list(voc, "more", "cz")
    faults, contents = told(voc, splits=("train", "val", "more"))
    assert sorted(faults) == [
        ("Annotations/c.xml", "object 1 is of class 'cow'; the classes are cat, dog"),
        ("Annotations/d.xml", "cannot be read as XML (no element found: line 1, column 12)"),
        ("Annotations/z.xml", "there is no such file"),
        ("JPEGImages/a.jpg", "this is not a picture (JPEG, PNG, BMP, GIF, WEBP, TIFF)"),
        ("JPEGImages/b.jpg", "there is no such file"),
    ]
    assert contents.pictures == 2


def test_every_faulty_box_has_a_line_of_its_own(voc: Path) -> None:
    boxes = [(1, 1, 4, 4), (4, 1, 1, 4), (20, 1, 30, 4), ("nan", 1, 4, 4), (3, 2, 2, 4), (5, 1, 20, 4)]
    write_xml(voc, "a", *(BOX.format("cat", *box) for box in boxes))
    faults, contents = told(voc)
    assert str(contents) == (
        "4 pictures, 1 of them without objects; 8 boxes: 1 dropped (swapped), 1 dropped (outside the picture), "
        "1 dropped (not finite), 1 dropped (thinner than a pixel), 1 cut (partly outside the picture)"
    )
    assert faults == [
        ("JPEGImages/a.jpg", "box 2 (cat) [3, 0, 1, 4] is swapped: dropped"),
        ("JPEGImages/a.jpg", "box 3 (cat) [19, 0, 30, 4] is outside the picture: dropped"),
        ("JPEGImages/a.jpg", "box 4 (cat) [nan, 0, nan, 4] is not finite: dropped"),
        ("JPEGImages/a.jpg", "box 5 (cat) [2, 1, 2, 4] is thinner than a pixel: dropped"),
        ("JPEGImages/a.jpg", "box 6 (cat) [4, 0, 20, 4] is partly outside the picture: cut"),
    ]


def test_pictures_listed_twice_or_in_two_splits_are_named_once_with_all_that_is_wrong(voc: Path) -> None:
    write_list(voc, "train", "aab")
    write_list(voc, "val", "bc")
    (voc / "JPEGImages" / "b.jpg").write_text("not a picture")
    assert told(voc)[0] == [
        ("JPEGImages/a.jpg", "listed 2 times in 'train'"),
        ("JPEGImages/b.jpg", "both in 'train' and in 'val'; this is not a picture (JPEG, PNG, BMP, GIF, WEBP, TIFF)"),
    ]


def coco_tree(height: int = 6) -> dict[str, list[dict[str, object]]]:
    return {
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 9, "bbox": [1, 1, 4, 4]}],
    }


def test_another_size_than_the_json_tells_is_a_fault_and_boxes_are_judged_by_the_json(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "a.png", height=5)
    tree = coco_tree()
    tree["annotations"].append({"id": 2, "image_id": 1, "category_id": 3, "bbox": [1, 1, 0, 4]})
    (tmp_path / "train.json").write_text(json.dumps(tree))
    assert told(tmp_path, COCO, ["train"])[0] == [
        ("train/a.png", f"is 5 x 8 (height x width), but 6 x 8 in {tmp_path / 'train.json'}; was it turned?"),
        ("train/a.png", "box 2 (cat) [1, 1, 1, 5] is thinner than a pixel: dropped"),
    ]


def test_a_faulty_json_and_a_missing_one_are_named_without_hiding_the_other_split(tmp_path: Path) -> None:
    write_picture(tmp_path / "val" / "a.png", height=5)
    (tmp_path / "val.json").write_text(json.dumps(coco_tree(height=5)))
    faults, contents = told(tmp_path, COCO)
    assert [file for file, _ in faults] == ["."]
    assert faults[0][1].startswith("no JSON of split 'train'")
    (tmp_path / "train.json").write_text(json.dumps(coco_tree() | {"annotations": [{"id": 7}]}))
    faults, contents = told(tmp_path, COCO)
    assert faults == [(".", "train.json: annotations[0] (id 7): category_id is null; a whole number is expected")]
    assert contents == Contents(1, 0, BoxReport(1, Counter()))


@pytest.fixture
def detection(tmp_path: Path) -> list[str]:
    """A config for detection on drawn shapes, and what the command line names it by."""
    draw_shapes(tmp_path / "shapes", train=3, val=2, size=(48, 64))
    config = tmp_path / "boxes.yaml"
    config.write_text(
        f"task: detection\nmodel: {{head: {{kind: ssdlite}}}}\ndata: {{kind: shapes, root: {tmp_path / 'shapes'}}}\n"
    )
    return ["check-data", str(config)]


def test_the_command_reads_the_boxes_of_a_detection_config(detection: list[str], capsys) -> None:
    assert main(detection) == 0
    assert "splits train and val: every file is fine (5 pictures, 0 of them without objects" in capsys.readouterr().out
    assert main([*detection, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("boxes") >= 5
    assert result == {"faults": [], "pictures": 5, "without_objects": 0, "faulty_boxes": {}}


def test_a_faulty_box_makes_the_command_fail_and_is_told(detection: list[str], tmp_path: Path, capsys) -> None:
    file = tmp_path / "shapes" / "Annotations" / "train_000001.xml"
    file.write_text(f"<annotation>{BOX.format('disc', 9, 3, 2, 8)}</annotation>")
    assert main(detection) == 2
    captured = capsys.readouterr()
    assert "train_000001.jpg: box 1 (disc) [8, 2, 2, 8] is swapped: dropped" in captured.out
    assert "1 faults in" in captured.err.strip().splitlines()[-1]
