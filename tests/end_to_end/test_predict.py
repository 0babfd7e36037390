"""`mbseg predict`: a model's answers for pictures, as files that other programs read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from mbseg.cli import main
from mbseg.predictors import load_predictor
from mbseg.runtime.answers import Answer

SIZES = {"9.jpg": (48, 64), "10.png": (70, 50)}
Weights = Callable[[str], Path]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        patches = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(patches).resize((width, height), Image.Resampling.NEAREST).save(folder / name)
    return folder


def answer(weights: Path, picture: Path) -> Answer:
    return load_predictor(str(weights), run=Path()).predictor(np.array(Image.open(picture).convert("RGB")))


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_class_maps_are_palette_pictures_whose_indices_are_the_predictors_classes(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(untrained("segmentation"), pictures, tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [["9.jpg", "9.png"], ["10.png", "10.png"]]
    assert names_in(tmp_path / "out") == {"9.png", "10.png"}
    palette = load_predictor(str(untrained("segmentation")), run=Path()).palette
    for name, size in SIZES.items():
        expected = answer(untrained("segmentation"), pictures / name).mask
        with Image.open(tmp_path / "out" / f"{Path(name).stem}.png") as written:
            assert written.mode == "P"
            indices, colours = np.array(written), np.array(written.convert("RGB"))
        assert expected is not None and indices.shape == size and len(np.unique(expected)) > 1
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_array_equal(colours, np.array(palette, np.uint8)[expected])


def test_boxes_are_cocos_and_one_file_holds_those_of_all_pictures(
    untrained: Weights, pictures: Path, tmp_path: Path
) -> None:
    assert predict(untrained("detection"), pictures, tmp_path / "out", "--least-score", "0.3") == 0
    assert names_in(tmp_path / "out") == {"9.json", "10.json", "detections.json"}
    every = COCO(tmp_path / "out" / "detections.json")
    classes = load_predictor(str(untrained("detection")), run=Path()).classes
    assert [category["name"] for category in every.loadCats(every.getCatIds())] == list(classes)
    predictor = load_predictor(str(untrained("detection")), run=Path(), least_score=0.3).predictor
    for image_id, (name, size) in enumerate(SIZES.items(), start=1):
        (image,) = every.loadImgs([image_id])
        assert (image["file_name"], image["height"], image["width"]) == (name, *size)
        found = predictor(np.array(Image.open(pictures / name).convert("RGB"))).detections
        assert found is not None and len(found.boxes) > 0
        rows = every.loadAnns(every.getAnnIds([image_id]))
        left_top, sides = torch.tensor([row["bbox"] for row in rows]).split(2, dim=1)
        torch.testing.assert_close(torch.cat([left_top, left_top + sides], dim=1), found.boxes, atol=1e-3, rtol=0)
        assert [row["category_id"] - 1 for row in rows] == found.labels.tolist()
        assert [row["score"] for row in rows] == found.scores.tolist()
        single = json.loads((tmp_path / "out" / f"{Path(name).stem}.json").read_text())
        assert single["images"] == [{**image, "id": 1}]
        assert single["annotations"] == [{**row, "id": n, "image_id": 1} for n, row in enumerate(rows, start=1)]


def test_a_joint_model_writes_both_and_boxes_are_never_of_the_background(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(untrained("joint"), pictures, tmp_path / "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [one["files"] for one in result["pictures"]] == [["9.png", "9.json"], ["10.png", "10.json"]]
    assert names_in(tmp_path / "out") == {"9.png", "9.json", "10.png", "10.json", "detections.json"}
    expected = answer(untrained("joint"), pictures / "9.jpg")
    assert expected.mask is not None and expected.detections is not None
    with Image.open(tmp_path / "out" / "9.png") as written:
        np.testing.assert_array_equal(np.array(written), expected.mask)
    content = json.loads((tmp_path / "out" / "9.json").read_text())
    called = {category["id"]: category["name"] for category in content["categories"]}
    classes = load_predictor(str(untrained("joint")), run=Path()).classes
    assert tuple(called.values()) == classes[1:] and "background" not in called.values()
    labels = [called[row["category_id"]] for row in content["annotations"]]
    assert labels == [classes[1 + label] for label in expected.detections.labels.tolist()] and labels


def test_a_single_picture_is_enough(untrained: Weights, pictures: Path, tmp_path: Path) -> None:
    assert predict(untrained("segmentation"), pictures / "10.png", tmp_path / "deep" / "out") == 0
    assert names_in(tmp_path / "deep" / "out") == {"10.png"}


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_written(
    options: tuple[str, ...], untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "1.png").write_bytes((pictures / "10.png").read_bytes()[:80])
    assert predict(untrained("detection"), pictures, tmp_path / "out", *options) == 2
    said = capsys.readouterr()
    left_out, error = said.err.strip().splitlines()
    assert "1.png" in left_out and left_out.endswith("; it is left out")
    assert error == "error: 1 of 3 pictures cannot be read: 1.png"
    assert names_in(tmp_path / "out") == {"9.json", "10.json", "detections.json"}
    if options:
        assert [one["picture"] for one in json.loads(said.out)["pictures"]] == ["9.jpg", "10.png"]


def test_a_folder_that_holds_something_is_only_written_to_if_told(
    untrained: Weights, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "9.png").write_text("old")
    (output / "other").write_text("kept")
    assert predict(untrained("segmentation"), pictures, output) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (output / "9.png").read_text() == "old"
    assert predict(untrained("segmentation"), pictures, output, "--overwrite") == 0
    with Image.open(output / "9.png") as written:
        assert written.mode == "P"
    assert names_in(output) == {"9.png", "10.png", "other"}


@pytest.mark.parametrize(
    ("extra", "output", "message"),
    [
        ("9.png", "out", "two answers would be called 9"),
        ("detections.jpg", "out", "two answers would be called detections"),
        (None, "pictures", "holds the pictures themselves"),
        (None, "pictures/9.jpg", "is a file; name a folder"),
        (None, "pictures/9.jpg/out", "cannot be made"),
    ],
)
def test_nothing_is_written_where_answers_would_replace_one_another_or_a_picture(
    extra: str | None,
    output: str,
    message: str,
    untrained: Weights,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if extra:
        (pictures / extra).write_bytes((pictures / "10.png").read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert predict(untrained("segmentation"), pictures, tmp_path / output, "--overwrite") == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.strip().count("\n")) == ("", 0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_without_pictures_one_line_says_so(
    source: str, untrained: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert predict(untrained("segmentation"), tmp_path / source, tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / source}: there is no ")
    assert not (tmp_path / "out").exists()
