"""Scores that are kept, and which files of weights serve which rows."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mbseg.build_common import labels
from mbseg.config.load import load_experiment
from mbseg.errors import RunError
from mbseg.tradeoff.results import Result, Results
from mbseg.tradeoff.rows import Row
from mbseg.tradeoff.scores import Given
from tests.tradeoff_lines import result, row

SEGMENTER = "voc/deeplabv3_mobilenet_v2_os16_none"
DETECTOR = "coco/ssdlite_mobilenet_v2"
KEPT = replace(result(3, miou=0.7123456789012345, boundary_iou=None), address="0123456789abcdef")
TEXT = json.dumps(asdict(KEPT))


def keep(folder: Path, text: str) -> Results:
    folder.mkdir(exist_ok=True)
    (folder / f"{KEPT.address}.json").write_text(text)
    return Results(folder)


def test_a_result_is_found_as_it_was_written(tmp_path: Path) -> None:
    results = Results(tmp_path / "new" / "results")
    assert results.find(KEPT.address) is None
    results.write(KEPT)
    assert results.find(KEPT.address) == KEPT
    assert [path.name for path in results.own.iterdir()] == [f"{KEPT.address}.json"]


def test_ones_own_result_goes_before_a_shipped_one(tmp_path: Path) -> None:
    own, shipped, last = tmp_path / "own", tmp_path / "shipped", tmp_path / "last"
    for folder, row_name in ((shipped, "shipped"), (last, "last")):
        Results(folder).write(replace(KEPT, row=row_name))
    results = Results(own, (shipped, last))
    assert found(results).row == "shipped"
    results.write(replace(KEPT, row="own"))
    assert found(results).row == "own"
    assert found(Results(shipped)).row == "shipped"  # nothing is written there


def found(results: Results) -> Result:
    result = results.find(KEPT.address)
    assert result is not None
    return result


@pytest.mark.parametrize("text", ["", TEXT[:-9], "[]", "{}", "null", TEXT.replace('"row"', '"line"'), f"{TEXT}{TEXT}"])
def test_a_damaged_result_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    results = keep(tmp_path, text)
    with pytest.raises(RunError, match=r"0123456789abcdef\.json is damaged; remove it") as caught:
        results.find(KEPT.address)
    assert "\n" not in str(caught.value)


def test_a_result_under_anothers_name_is_refused_in_one_line(tmp_path: Path) -> None:
    results = keep(tmp_path, TEXT.replace(KEPT.address, "fedcba9876543210"))
    with pytest.raises(RunError, match="is of fedcba9876543210; remove it") as caught:
        results.find(KEPT.address)
    assert "\n" not in str(caught.value)


def test_a_damaged_shipped_result_is_not_asked_for_where_one_has_ones_own(tmp_path: Path) -> None:
    keep(tmp_path / "shipped", "{")
    results = Results(tmp_path / "own", (tmp_path / "shipped",))
    results.write(KEPT)
    assert results.find(KEPT.address) == KEPT


def test_a_score_that_is_no_number_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Results(tmp_path).write(replace(KEPT, scores={"miou": float("nan")}))
    assert list(tmp_path.iterdir()) == []


def given(*overrides: str, config: str = SEGMENTER) -> Given:
    return Given(Path("weights.safetensors"), load_experiment(config, overrides))


def row_of(*overrides: str, config: str = SEGMENTER) -> Row:
    return row(experiment=load_experiment(config, overrides))


@pytest.mark.parametrize(
    "override",
    [
        "model.backbone.padding=tensorflow",
        "model.backbone.weights=null",
        "model.weights=elsewhere.safetensors",
        "model.head.channels=null",  # 256, which the row names
        "model.head.kind=null",
        "data.mean=[0.5, 0.5, 0.5]",
        "data.root=elsewhere",
        "train.steps=1",
        "evaluate.flip=true",
        "threads=1",
    ],
)
def test_a_file_serves_the_row_of_its_network_however_it_came_to_be(override: str) -> None:
    assert given(override).fits(row_of())


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.head.refine=true",),
        ("model.head.aspp=dense",),
        ("model.head.aspp=dense", "model.head.rates=[3, 6, 9]"),
        ("model.head.at=last_conv",),
        ("model.head.channels=128",),
        ("model.output_stride=8",),
        ("model.backbone.width_mult=0.5",),
        ("model.backbone.bottleneck=activated",),
        ("model.backbone.dilation_plan=torchvision",),
        ("data.classes=[background, thing]",),
        ("data.kind=camvid",),
    ],
)
def test_another_network_does_not_serve_it(overrides: tuple[str, ...]) -> None:
    assert not given(*overrides).fits(row_of())


def test_another_rate_is_another_network() -> None:
    dense = row_of("model.head.aspp=dense")
    assert given("model.head.aspp=dense").fits(dense)
    assert not given("model.head.aspp=dense", "model.head.rates=[3, 6, 9]").fits(dense)


def test_a_row_that_is_trained_at_another_stride_takes_the_weights_of_that() -> None:
    fine, trained = load_experiment(SEGMENTER, ["model.output_stride=8"]), load_experiment(SEGMENTER)
    both = replace(row(experiment=fine), trainings={0: trained})
    assert given().fits(both)
    assert not given("model.output_stride=8").fits(both)


def test_classes_that_are_named_are_those_that_the_data_has() -> None:
    names = ", ".join(repr(name) for name in labels(load_experiment(DETECTOR)).classes)
    assert given(f"data.classes=[{names}]", config=DETECTOR).fits(row_of(config=DETECTOR))


@pytest.mark.parametrize(
    "override", ["model.backbone.padding=tensorflow", "model.backbone.weights=null", "data.mean=[0.5, 0.5, 0.5]"]
)
def test_a_detector_from_elsewhere_serves_the_row_of_its_network(override: str) -> None:
    assert given(override, config=DETECTOR).fits(row_of(config=DETECTOR))


@pytest.mark.parametrize("override", ["model.head.maps=[c4_expansion, last_conv]", "model.head.kind=null"])
def test_a_detector_that_names_what_the_row_leaves_open_is_the_same(override: str) -> None:
    """Imported ones name their maps."""
    assert given(override, config=DETECTOR).fits(row_of(config=DETECTOR))


@pytest.mark.parametrize(
    "override",
    ["model.image_size=[300, 300]", "model.head.maps=[c4, c5]", "model.head.scores=sigmoid", "data.kind=voc"],
)
def test_another_detector_does_not_serve_it(override: str) -> None:
    assert not given(override, config=DETECTOR).fits(row_of(config=DETECTOR))


def test_a_segmenter_serves_no_detector() -> None:
    assert not given().fits(row_of(config=DETECTOR))
    assert not given(config=DETECTOR).fits(row_of())
