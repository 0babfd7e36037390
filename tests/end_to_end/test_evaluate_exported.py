"""`mbseg evaluate` of exported files: the scores of the weights that they were made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbseg.cli import main

pytest.importorskip("onnxruntime", reason="exported files need the extra `export`")

Exported = Callable[[str], Path]
# untrained boxes move with every rounding; in the network's own size there is none
SIZES = {"segmentation": (), "detection": ("--size", "64", "96"), "joint": ("--size", "64", "96")}
TOLERANCE = 0.02  # class maps of one size are resized to the picture's
FIGURES = {"segmentation": ("miou", "pixel_accuracy"), "detection": ("ap", "ap50"), "joint": ("miou", "ap", "ap50")}


@pytest.fixture(scope="module")
def exported(untrained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """By task, the file of the untrained weights."""
    made: dict[str, Path] = {}

    def file(task: str) -> Path:
        if task not in made:
            made[task] = tmp_path_factory.mktemp("exported") / f"{task}.onnx"
            arguments = ["export", str(untrained(task)), "--format", "onnx", "--output", str(made[task]), *SIZES[task]]
            assert main(arguments) == 0
        return made[task]

    return file


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    scores: dict[str, Any] = json.loads(capsys.readouterr().out)
    return scores


@pytest.mark.parametrize("task", FIGURES)
def test_a_file_scores_as_its_weights_do_and_costs_as_much(
    task: str, untrained: Callable[[str], Path], exported: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, found = evaluate(capsys, untrained(task)), evaluate(capsys, exported(task))
    for name in FIGURES[task]:
        assert plain[name] is not None
        assert found[name] == pytest.approx(plain[name], abs=TOLERANCE)
    for name in ("params", "madds", "image_size", "images"):
        assert found[name] == plain[name]
    assert found["weights"] == str(exported(task))
    assert found["protocol"].startswith(f"{plain['protocol']}, onnxruntime fp32, ")


def test_a_files_boxes_are_those_of_its_weights_and_scored_by_pycocotools_too(
    untrained: Callable[[str], Path], exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(capsys, untrained("detection"), "--predictions", tmp_path / "plain.json")
    scores = evaluate(capsys, exported("detection"), "--predictions", tmp_path / "found.json", "--judge")
    assert scores["pycocotools"]["ap"] == pytest.approx(scores["ap"], abs=1e-6)
    plain, found = (best_boxes(json.loads((tmp_path / name).read_text())) for name in ("plain.json", "found.json"))
    assert plain.keys() == found.keys() and len(found) == scores["images"]
    for image_id, boxes in plain.items():
        np.testing.assert_allclose(found[image_id], boxes, rtol=0, atol=0.05)


def best_boxes(results: list[dict[str, Any]]) -> dict[int, list[list[float]]]:
    """The ten most probable boxes of each picture: x, y, width, height, score, category."""
    best: dict[int, list[list[float]]] = {}
    for one in sorted(results, key=lambda result: -result["score"]):
        boxes = best.setdefault(one["image_id"], [])
        if len(boxes) < 10:
            boxes.append([*one["bbox"], one["score"], one["category_id"]])
    return best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "a.safetensors"], "is an exported file, which holds its weights; leave --weights away"),
        (["evaluate.flip=true"], "evaluate.flip=true has no effect"),
        (["device=cuda"], "device=cuda has no effect"),
        (["--judge"], "--judge is about boxes"),
        (["data.root=nowhere"], "nowhere"),
    ],
)
def test_what_has_no_effect_or_is_missing_is_one_line(
    arguments: list[str], message: str, exported: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported("segmentation")
    capsys.readouterr()
    assert main(["evaluate", str(file), *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.strip().count("\n")) == ("", 0)


def test_a_file_whose_boxes_were_never_compared_is_not_written(
    untrained: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--format", "onnx", "--least-score", "1", "--output", str(tmp_path / "joint.onnx"), *SIZES["joint"]]
    assert main(["export", str(untrained("joint")), *options]) == 2
    assert "nothing is detected in the pictures compared" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
