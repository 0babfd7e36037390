"""Which line of a paper a row stands for, and which rows have none."""

from functools import cache

import pytest

from mbseg.config.grid import load_grid
from mbseg.config.load import load_experiment
from mbseg.tradeoff.published import Published, published
from mbseg.tradeoff.rows import Row, rows_of
from tests.tradeoff_lines import DETECTOR, line, paper, result, row

SEGMENTER_CONFIG = "voc/deeplabv3_mobilenet_v2_os16_none"
DETECTOR_CONFIG = "coco/ssdlite_mobilenet_v2"
MF_SCALES = "evaluate.scales=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75]"

TABLE_7 = {  # of arXiv:1801.04381: params [M], madds [B], mIoU [%]
    "V1 last map, ASPP, OS 16": (11.15, 14.25, 75.29),
    "V1 last map, ASPP, OS 8, MF": (11.15, 941.9, 78.56),
    "V2 *, ASPP, OS 16": (4.52, 5.8, 75.70),
    "V2 *, ASPP, OS 8, MF": (4.52, 387, 78.42),
    "V2 *, no ASPP, OS 16": (2.11, 2.75, 75.32),
    "V2 *, no ASPP, OS 8, MF": (2.11, 152.6, 77.33),
    "ResNet-101 last map, ASPP, OS 16": (58.16, 81.0, 80.49),
    "ResNet-101 last map, ASPP, OS 8, MF": (58.16, 4870.6, 82.70),
}
ABOVE_THE_PAPER = {"V1 last map, ASPP, OS 8, MF": 1.052}  # the row's note says why
V2, V3 = "arXiv:1801.04381, Table 6", "arXiv:1905.02244, Table 6"
TABLES_6 = {  # source, params [M], madds [B], COCO AP [%] on test-dev
    "V1, 320": (V2, 5.1, 1.3, 22.2),
    "V2, 320": (V2, 4.3, 0.8, 22.1),
    "V2 0.5, 320": (V3, 1.54, 0.27, 16.6),
    "V2 0.35, 320": (V3, 0.93, 0.16, 13.7),
    "V3-Large, 320": (V3, 4.97, 0.62, 22.0),
    "V3-Large reduced, 320": (V3, 3.22, 0.51, 22.0),
    "V3-Small, 320": (V3, 2.49, 0.21, 16.0),
    "V3-Small reduced, 320": (V3, 1.77, 0.16, 16.1),
}


@cache
def rows(grid: str) -> dict[str, Row]:
    return {one.name: one for one in rows_of(*load_grid(f"tradeoff/{grid}"))}


def published_with(config: str, *overrides: str) -> Published | None:
    return published(load_experiment(config, overrides))


@pytest.mark.parametrize("name", TABLE_7)
def test_a_row_of_table_7_costs_what_the_paper_prints(name: str) -> None:
    params, madds, miou = TABLE_7[name]
    found = published(rows("voc_table7")[name].experiment)
    assert found is not None
    assert (found.source, found.split) == ("arXiv:1801.04381, Table 7", "VOC 2012 val")
    assert (found.params_millions, found.madds_billions, found.score_percent) == (params, madds, miou)
    assert found.accounting == found.counted.accounting == "tf"
    assert found.counted.params / 1e6 == pytest.approx(params, abs=0.005)
    assert found.counted.madds / 1e9 == pytest.approx(madds * ABOVE_THE_PAPER.get(name, 1), rel=0.01)
    assert bool(found.note) is (name in ABOVE_THE_PAPER)


def test_the_rows_that_the_paper_left_open_have_no_line_of_it() -> None:
    open_rows = [one for name, one in rows("voc_table7").items() if name not in TABLE_7]
    assert len(open_rows) == 5
    assert [published(one.experiment) for one in open_rows] == [None] * 5


@pytest.mark.parametrize("name", TABLES_6)
def test_a_detector_of_the_tables_6_costs_what_its_paper_prints(name: str) -> None:
    """The V2 paper counts 80 outputs, the V3 paper 90, and ours are counted as each does."""
    source, params, madds, ap = TABLES_6[name]
    found = published(rows("coco_ssdlite")[name].experiment)
    assert found is not None
    assert (found.source, found.split, found.accounting) == (source, "COCO test-dev", "native")
    assert (found.params_millions, found.madds_billions, found.score_percent) == (params, madds, ap)
    assert found.counted.params / 1e6 == pytest.approx(params, rel=0.02)
    assert found.counted.madds / 1e9 == pytest.approx(madds, rel=0.05)
    assert bool(found.note) is (source == V3)  # batch norm's params


def test_a_detector_of_another_size_or_on_other_maps_has_no_line() -> None:
    others = [one for name, one in rows("coco_ssdlite").items() if name not in TABLES_6]
    assert len(others) == 5
    assert [published(one.experiment) for one in others] == [None] * 5


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.head.refine=true",),
        ("model.head.aspp=dense", "model.head.rates=[6, 12, 24]"),
        ("model.head.channels=128",),
        ("model.output_stride=32",),
        ("evaluate.scales=[0.5, 1.0]", "evaluate.flip=true"),
        ("evaluate.flip=true",),
        ("model.output_stride=8", MF_SCALES),
        ("model.output_stride=16", MF_SCALES, "evaluate.flip=true"),
        ("model.backbone.bottleneck=activated",),
        ("model.backbone.shortcut=none",),
        ("model.backbone.dilation_plan=torchvision",),
        ("model.backbone.width_mult=0.75",),
        ("data.classes=[cat, dog]",),
        ("data.kind=camvid",),
    ],
)
def test_a_segmenter_that_no_paper_has_stands_for_no_line(overrides: tuple[str, ...]) -> None:
    assert published_with(SEGMENTER_CONFIG, *overrides) is None


@pytest.mark.parametrize(
    "override",
    [
        "data.kind=voc",
        "data.classes=[cat, dog]",
        "model.head.box_plan=torchvision",
        "model.backbone.width_mult=0.75",
        "model.backbone.bottleneck=activated",
    ],
)
def test_a_detector_that_no_paper_has_stands_for_no_line(override: str) -> None:
    assert published_with(DETECTOR_CONFIG, override) is None


@pytest.mark.parametrize("override", ["model.backbone.weights=null", "model.backbone.padding=tensorflow"])
def test_what_no_paper_tells_takes_no_line_away(override: str) -> None:
    plain, changed = published_with(SEGMENTER_CONFIG), published_with(SEGMENTER_CONFIG, override)
    assert plain is not None and changed is not None
    assert (changed.source, changed.score_percent) == (plain.source, plain.score_percent)


def test_our_score_is_set_against_the_papers_on_its_own_split() -> None:
    ours = line(None, result(0, miou=0.70), result(1, miou=0.72), published=paper())
    assert ours.points_above_paper == pytest.approx(71 - 75.32)


def test_scores_on_another_split_are_not_compared() -> None:
    on_train = load_experiment(SEGMENTER_CONFIG, ["data.val=train"])
    assert line(row(experiment=on_train), result(miou=0.9), published=paper()).points_above_paper is None
    assert DETECTOR.data.val == "val2017"
    on_test_dev = paper(split="COCO test-dev", score_percent=22.1)
    assert line(row(experiment=DETECTOR), result(ap=0.2), published=on_test_dev).points_above_paper is None
    on_val = paper(split="COCO val2017", score_percent=21.3)
    ours = line(row(experiment=DETECTOR), result(ap=0.2), published=on_val)
    assert ours.points_above_paper == pytest.approx(-1.3)


@pytest.mark.parametrize("printed", [None, paper(score_percent=None)])
def test_without_a_printed_score_there_is_no_difference(printed: Published | None) -> None:
    assert line(None, result(miou=0.7), published=printed).points_above_paper is None


def test_without_a_score_of_our_own_there_is_no_difference() -> None:
    assert line(published=paper()).points_above_paper is None
