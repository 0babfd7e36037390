"""`mbseg tradeoff` of a tiny SSDLite, on drawn shapes."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mbseg.cli import main
from mbseg.data.shapes import draw_shapes
from mbseg.engine.run_folder import RunFolder
from mbseg.tradeoff import measures

NAMES = ["64, fp32", "64, bf16", "96, fp32", "96, bf16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole sweep of two sizes in two precisions, which are two trainings of a few steps."""
    made = tmp_path_factory.mktemp("detection")
    draw_shapes(made / "shapes", train=8, val=3, size=(64, 96))
    small = {"device": "cpu", "threads": 1, "data.root": str(made / "shapes"), "data.workers": 0}
    short = {"train.steps": 4, "train.batch_size": 4, "train.evaluate_every": 4, "train.samples": 0}
    tree = {
        "base": "quickstart_detection",
        "title": "drawn shapes",
        "set": {**small, **short},
        "name": "{model.image_size[0]}, {evaluate.precision}",
        "rows": [{"axes": {"model.image_size": [64, 96], "evaluate.precision": ["fp32", "bf16"]}}],
    }
    (made / "grid.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SECONDS_PER_ROW", 0.5)
        assert main(["tradeoff", str(made / "grid.yaml"), "--train", "--output", str(made / "table")]) == 0
    return made / "table"


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "table.json").read_text())["rows"]
    return found


def test_every_size_and_precision_has_its_row(folder: Path) -> None:
    assert [row["name"] for row in rows(folder)] == NAMES
    assert [row["image_size"] for row in rows(folder)] == [[64, 64], [64, 64], [96, 96], [96, 96]]
    small, _, large, _ = rows(folder)
    assert large["params"] == small["params"]
    assert large["madds"] > small["madds"] > 0


def test_a_precision_is_of_the_evaluation_and_trains_nothing(folder: Path) -> None:
    assert len(list((folder / "runs").glob("*/result.json"))) == 2
    small, small_bf16, large, large_bf16 = (row["weights"] for row in rows(folder))
    assert small == small_bf16 != large == large_bf16
    assert len(list((folder / "results").glob("*.json"))) == 4


def test_the_scores_are_those_of_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row in rows(folder):
        assert 0 <= row["ap"] <= row["ap50"] <= 1 and row["seeds"] == [0]
        assert "miou" not in row
    _, bf16, *_ = rows(folder)
    best = RunFolder(folder / "runs" / bf16["weights"][0]).best
    assert main(["evaluate", str(best), "evaluate.precision=bf16", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert (evaluated["ap"], evaluated["ap50"], evaluated["protocol"]) == (bf16["ap"], bf16["ap50"], bf16["protocol"])


def test_boxes_are_the_last_of_the_times(folder: Path) -> None:
    for row in rows(folder):
        assert list(row["latency_ms"]) == ["net", "boxes"]
        assert row["latency_ms"]["boxes"] > row["latency_ms"]["net"] > 0 and row["bound_ms"] > 0
        assert row["peaks"]["precision"] == row["name"].split(", ")[1]
        assert (row["measured_peak_activation_bytes"] is None) is ("bf16" in row["name"])


def test_table_and_charts_speak_of_detection(folder: Path) -> None:
    text = (folder / "table.md").read_text()
    for word in ("| + boxes |", "| COCO AP % |", "| AP50 % |", *(f"| {name} |" for name in NAMES)):
        assert word in text
    assert "mIoU" not in text and "class map" not in text
    with (folder / "table.csv").open() as file:
        assert [line["name"] for line in csv.DictReader(file)] == NAMES
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "pareto.html").read_text()
    assert "COCO AP" in page and "AP50" in page
