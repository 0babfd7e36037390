"""Parameters and multiply-adds against the figures that the MobileNet papers print."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mbseg.analysis.profile import Cost, profile
from mbseg.backbones.zoo import build_backbone
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel

TABLES = yaml.safe_load((Path(__file__).parent / "paper_tables.yaml").read_text())
MF = {"scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), "flip": True}


def name_of(table: str, row: dict[str, Any]) -> str:
    marks = ["mf"] * row.get("mf", False) + ["reduced_tail"] * row.get("reduced_tail", False)
    return "-".join([table, row["tap"], row["aspp"], f"os{row['output_stride']}", *marks])


ROWS = {name_of(table, row): (TABLES[table], row) for table in TABLES for row in TABLES[table]["rows"]}
PRINTED = [name for name, (_, row) in ROWS.items() if "paper" in row]


@cache
def count(name: str, accounting: str) -> Cost:
    table, row = ROWS[name]
    passes = MF if row.get("mf") else {}
    return profile(build(table, row), image_size=tuple(table["size"]), accounting=accounting, **passes)


def build(table: dict[str, Any], row: dict[str, Any]) -> SegmentationModel:
    tap = row["tap"]
    with torch.device("meta"):
        backbone = build_backbone(
            "mobilenet_v2",
            output_stride=row["output_stride"],
            taps=(tap,),
            reduced_tail=row.get("reduced_tail", False),
        )
        head = DeepLabV3(backbone.feature_info[tap], at=tap, num_classes=table["num_classes"], aspp=row["aspp"])
    return SegmentationModel(backbone, head)


@pytest.mark.parametrize("accounting", ["native", "tf"])
@pytest.mark.parametrize("name", ROWS)
def test_cost_meets_the_counted_figure_to_its_last_digit(name, accounting):
    cost, counted = count(name, accounting), ROWS[name][1]["counted"]
    assert f"{cost.params / 1e6:.3f}" == f"{counted['params']:.3f}"
    assert f"{cost.madds / 1e9:.3f}" == f"{counted[accounting]:.3f}"


@pytest.mark.parametrize("name", PRINTED)
def test_cost_meets_the_paper_within_its_tolerance(name):
    cost, (table, row) = count(name, "tf"), ROWS[name]
    assert cost.params / 1e6 == pytest.approx(row["paper"]["params"], rel=table["tolerance"]["params"])
    assert cost.madds / 1e9 == pytest.approx(row["paper"]["madds"], rel=table["tolerance"]["madds_tf"])
