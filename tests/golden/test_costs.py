"""Parameters and multiply-adds against the figures that the MobileNet papers print."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mbseg.analysis.profile import Cost, profile
from mbseg.create import create_backbone, create_segmenter
from mbseg.models.segmentation import SegmentationModel

TABLES = yaml.safe_load((Path(__file__).parent / "paper_tables.yaml").read_text())
FD_MOBILENET = TABLES.pop("fd_mobilenet")
TABLES.pop("coco_ssdlite")  # in test_detection_costs.py
MF = {"scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), "flip": True}
ONE_OPERATION_SHORT = "voc2012_mobilenetv2_table7-mobilenet_v1-c5-dense-os8-mf"


def name_of(table: str, row: dict[str, Any]) -> str:
    """For example cityscapes_mobilenetv3-mobilenet_v2-0.5-reduced_tail-lraspp128-os16."""
    head = f"{row['head']}{row['channels']}" if "head" in row else f"{row['tap']}-{row['aspp']}"
    width = [str(row["width_mult"])] if "width_mult" in row else []
    marks = ["reduced_tail"] * row.get("reduced_tail", False)
    passes = ["mf"] * row.get("mf", False)
    return "-".join([table, row["backbone"], *width, *marks, head, f"os{row.get('output_stride', 16)}", *passes])


ROWS = {name_of(table, row): (TABLES[table], row) for table in TABLES for row in TABLES[table]["rows"]}
PRINTED = [name for name, (_, row) in ROWS.items() if "paper" in row and name != ONE_OPERATION_SHORT]


@cache
def count(name: str, accounting: str) -> Cost:
    table, row = ROWS[name]
    passes = MF if row.get("mf") else {}
    return profile(build(table, row), image_size=tuple(table["size"]), accounting=accounting, **passes)


def build(table: dict[str, Any], row: dict[str, Any]) -> SegmentationModel:
    head = "lraspp" if row.get("head") == "lraspp" else "deeplabv3"  # the paper's R-ASPP is DeepLabV3's without ASPP
    with torch.device("meta"):
        return create_segmenter(
            row["backbone"],
            head=head,
            aspp=row.get("aspp"),
            head_at=row.get("tap"),
            output_stride=row.get("output_stride", 16),
            width_mult=row.get("width_mult", 1.0),
            reduced_tail=row.get("reduced_tail", False),
            head_channels=row.get("channels"),
            num_classes=table["num_classes"],
        )


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


def test_the_row_that_misses_the_paper_misses_it_by_one_padded_convolution() -> None:
    table, row = ROWS[ONE_OPERATION_SHORT]
    padded, channels = 144, (1024, 256)  # the map of scale 1.75, 113 x 113, padded to multiples of rate 36
    operation = padded**2 * 9 * channels[0] * channels[1]
    cost = count(ONE_OPERATION_SHORT, "tf")
    assert cost.params / 1e6 == pytest.approx(row["paper"]["params"], rel=table["tolerance"]["params"])
    assert (cost.madds - operation) / 1e9 == pytest.approx(row["paper"]["madds"], abs=0.1)


def test_fd_mobilenet_with_its_classifier_costs_what_its_paper_prints() -> None:
    with torch.device("meta"):
        backbone = create_backbone("fd_mobilenet", taps=["c5"])
    classifier = (1024 + 1) * 1000
    cost = profile(backbone, image_size=(224, 224))
    params, madds = (cost.params + classifier) / 1e6, (cost.madds + 1024 * 1000) / 1e9
    assert f"{params:.3f}" == f"{FD_MOBILENET['counted']['params']:.3f}"
    assert f"{madds:.4f}" == f"{FD_MOBILENET['counted']['native']:.4f}"
    assert params == pytest.approx(FD_MOBILENET["paper"]["params"], rel=0.01)
    assert madds == pytest.approx(FD_MOBILENET["paper"]["madds"], rel=0.01)
