"""Parameters and multiply-adds of SSDLite against the figures that the MobileNet papers print."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import mbseg
from mbseg.analysis.profile import Cost, profile
from mbseg.cli import main

TABLE = yaml.safe_load((Path(__file__).parent / "paper_tables.yaml").read_text())["coco_ssdlite"]
BUILD = ("backbone", "width_mult", "reduced_tail", "num_classes")


def name_of(row: dict[str, Any]) -> str:
    """For example mobilenet_v2-0.5 and mobilenet_v3_large-reduced_tail."""
    return "-".join(key if value is True else str(value) for key, value in row.items() if key in BUILD)


ROWS = {name_of(row): row for row in TABLE["rows"]}


@cache
def count(name: str) -> tuple[Cost, int]:
    """The cost, and the parameters without batch norm's."""
    asked = {key: value for key, value in ROWS[name].items() if key in BUILD}
    return count_detector(**{"num_classes": TABLE["num_classes"], **asked})


def count_detector(**asked: Any) -> tuple[Cost, int]:
    with torch.device("meta"):
        model = mbseg.create_detector(**asked)
    norms = (part for part in model.modules() if isinstance(part, nn.BatchNorm2d))
    cost = profile(model)
    assert list(cost.image_size) == TABLE["size"]
    return cost, cost.params - sum(parameter.numel() for norm in norms for parameter in norm.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_cost_meets_the_counted_figure_to_its_last_digit(name: str) -> None:
    (cost, without_norm), counted = count(name), ROWS[name]["counted"]
    assert f"{cost.params / 1e6:.3f}" == f"{counted['params']:.3f}"
    assert f"{without_norm / 1e6:.3f}" == f"{counted['params_without_bn']:.3f}"
    assert f"{cost.madds / 1e9:.4f}" == f"{counted['native']:.4f}"


@pytest.mark.parametrize("name", ROWS)
def test_cost_meets_the_paper_within_its_tolerance(name: str) -> None:
    (cost, without_norm), paper, tolerance = count(name), ROWS[name]["paper"], TABLE["tolerance"]
    assert without_norm / 1e6 == pytest.approx(paper["params"], rel=tolerance["params"])
    assert cost.madds / 1e9 == pytest.approx(paper["madds"], rel=tolerance["madds_native"])


def test_torchvisions_boxes_cost_what_its_metadata_says() -> None:
    cost, _ = count_detector(backbone="mobilenet_v3_large", reduced_tail=True, num_classes=90, box_plan="torchvision")
    assert cost.params == TABLE["torchvision"]["params"]
    assert f"{cost.madds / 1e9:.3f}" == f"{TABLE['torchvision']['madds']:.3f}"


@pytest.mark.parametrize("name", ROWS)
def test_the_command_line_counts_the_same(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row, counted = ROWS[name], ROWS[name]["counted"]
    backbone = {"name": row["backbone"], **{key: row[key] for key in ("width_mult", "reduced_tail") if key in row}}
    classes = [f"class {number}" for number in range(row.get("num_classes", TABLE["num_classes"]))]
    config = {
        "task": "detection",
        "model": {"backbone": backbone, "head": {"kind": "ssdlite"}},
        "data": {"kind": "coco_json", "root": "datasets/own", "classes": classes},
    }
    (tmp_path / "row.yaml").write_text(yaml.safe_dump(config))
    assert main(["profile", str(tmp_path / "row.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image_size"] == TABLE["size"]
    assert f"{told['params'] / 1e6:.3f}" == f"{counted['params']:.3f}"
    assert f"{told['madds'] / 1e9:.4f}" == f"{counted['native']:.4f}"
