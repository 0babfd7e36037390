"""`mbseg models`: what it lists is there, and what it prints of papers is what they print."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from torchvision.models import get_model, get_model_weights

from mbseg.analysis.published import ROWS, Network, find
from mbseg.analysis.published_detectors import TORCHVISION
from mbseg.catalogue import Catalogue, describe_backbone, whole_catalogue
from mbseg.catalogue_detectors import usual_maps
from mbseg.catalogue_text import as_markdown
from mbseg.cli import main
from mbseg.config.load import load_experiment
from mbseg.detectors import create_detector
from mbseg.heads.zoo import HeadOptions, plan_head

ROOT = Path(__file__).parents[2]
GOLDEN = yaml.safe_load((ROOT / "tests/golden/paper_tables.yaml").read_text())
TABLES = {"voc2012_mobilenetv2_table7": "voc", "cityscapes_mobilenetv3": "cityscapes"}
PAPER_ROWS = [(data, row) for table, data in TABLES.items() for row in GOLDEN[table]["rows"]]
DETECTOR_TABLE = GOLDEN["coco_ssdlite"]
DETECTOR_KEYS = {"backbone": "", "width_mult": 1.0, "reduced_tail": False, "num_classes": DETECTOR_TABLE["num_classes"]}
DETECTOR_ROWS = {  # of V1 and V2, which are there twice, the later one, that of the V2 paper's classes
    tuple(row.get(key) for key in ("backbone", "width_mult", "reduced_tail")): row for row in DETECTOR_TABLE["rows"]
}.values()
CITYSCAPES = sorted((ROOT / "configs/cityscapes").glob("*_os*.yaml"))


@pytest.fixture(scope="module")
def everything() -> Catalogue:
    return whole_catalogue()


def completed(
    options: HeadOptions, backbone: str, width_mult: float, reduced_tail: bool, output_stride: int
) -> Network:
    head = plan_head(options, backbone).options
    assert head.at is not None and head.channels is not None
    return Network(backbone, head.kind, head.at, head.channels, head.aspp, width_mult, reduced_tail, output_stride)


def test_the_page_of_models_is_true(everything: Catalogue) -> None:
    is_true = (ROOT / "docs/models.md").read_text() == as_markdown(everything) + "\n"
    assert is_true, "docs/models.md is out of date; run: mbseg models --markdown > docs/models.md"


@pytest.mark.parametrize(("data", "row"), PAPER_ROWS, ids=str)
def test_a_papers_row_is_found_and_says_what_the_golden_table_says(data: str, row: dict) -> None:
    kind = "lraspp" if row.get("head") == "lraspp" else "deeplabv3"
    options = HeadOptions(kind, row.get("aspp"), row.get("tap"), channels=row.get("channels"))
    settings = (row.get("width_mult", 1.0), row.get("reduced_tail", False), row.get("output_stride", 16))
    found = find(data, completed(options, row["backbone"], *settings), mf=row.get("mf", False))
    assert found is not None
    assert found.params_millions == row["paper"]["params"]
    assert found.madds_billions == row["paper"]["madds"]
    assert found.miou_percent == row["paper"].get("miou")
    assert list(found.source.image_size) == next(
        GOLDEN[table]["size"] for table, name in TABLES.items() if name == data
    )


def test_no_papers_row_is_beside_the_golden_tables() -> None:
    assert sum(row.source.title.startswith("arXiv") for row in ROWS) == len(PAPER_ROWS)


@pytest.mark.parametrize("config", CITYSCAPES, ids=lambda config: config.stem)
def test_every_recipe_of_cityscapes_finds_the_row_it_aims_at(config: Path) -> None:
    experiment = load_experiment(str(config))
    backbone, head = experiment.model.backbone, experiment.model.head
    options = HeadOptions(head.kind, head.aspp, head.at, head.low_at, head.channels)
    stride = experiment.model.output_stride
    assert find("cityscapes", completed(options, backbone.name, backbone.width_mult, backbone.reduced_tail, stride))


def test_a_network_that_nobody_published_is_not_found() -> None:
    separable = Network("mobilenet_v2", "deeplabv3", "c5", 256, "separable")
    assert find("voc", separable) is None
    assert find("voc", separable._replace(aspp="none"))
    assert find("cityscapes", separable._replace(aspp="none"))
    assert find("voc", separable._replace(aspp="none"), mf=True) is None  # at output stride 8 only


def test_torchvisions_rows_are_its_own_metadata() -> None:
    rows = {row.network.head: row for row in ROWS if row.source.title == "torchvision"}
    for head, row in rows.items():
        meta = get_model_weights(f"{head}_mobilenet_v3_large").DEFAULT.meta
        assert row.params_millions == pytest.approx(meta["num_params"] / 1e6, abs=5e-4)
        assert row.madds_billions == meta["_ops"]
        assert row.miou_percent == meta["_metrics"]["COCO-val2017-VOC-labels"]["miou"]


@pytest.mark.parametrize("row", DETECTOR_ROWS, ids=str)
def test_a_papers_detector_is_printed_and_counted_as_in_the_golden_table(row: dict, everything: Catalogue) -> None:
    """The V3 paper repeats V1's and V2's lines; they are listed once, with the classes of the V2 paper."""
    wanted = tuple(row.get(key, default) for key, default in DETECTOR_KEYS.items())
    entry = next(one for one in everything.detectors if one.printed.network[: len(wanted)] == wanted)
    printed = (entry.printed.params_millions, entry.printed.madds_billions, entry.printed.ap_percent)
    assert entry.printed is not TORCHVISION
    assert printed == tuple(row["paper"].values())
    counted = (entry.params / 1e6, entry.params_without_norm / 1e6, entry.madds / 1e9)
    assert counted == pytest.approx(tuple(row["counted"].values()), abs=5e-4)


def test_no_detector_is_beside_the_golden_table(everything: Catalogue) -> None:
    assert len(everything.detectors) == len(DETECTOR_ROWS) + 1  # torchvision's


def test_torchvisions_detector_is_its_own_metadata(everything: Catalogue) -> None:
    meta = get_model_weights("ssdlite320_mobilenet_v3_large").DEFAULT.meta
    (entry,) = (one for one in everything.detectors if one.printed is TORCHVISION)
    assert entry.params == meta["num_params"]
    assert TORCHVISION.params_millions == pytest.approx(meta["num_params"] / 1e6, abs=5e-4)
    assert TORCHVISION.madds_billions == meta["_ops"]
    assert TORCHVISION.ap_percent == meta["_metrics"]["COCO-val2017"]["box_map"]


def test_the_maps_that_are_listed_are_those_that_a_detector_reads(everything: Catalogue) -> None:
    for backbone in everything.backbones:
        with torch.device("meta"):
            assert create_detector(backbone.name).extras.taps == backbone.maps


def test_a_backbone_without_the_usual_maps_lists_none() -> None:
    assert usual_maps("mobilenet_v2", ["c2", "c4_expansion"]) == ()


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
def test_a_backbone_costs_what_torchvisions_does_without_its_classifier(name: str, everything: Catalogue) -> None:
    ours = next(backbone for backbone in everything.backbones if backbone.name == name)
    with torch.device("meta"):
        theirs = get_model(name)
    classifier = sum(part.weight.numel() for part in theirs.classifier if isinstance(part, torch.nn.Linear))
    billions = torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"]
    assert ours.params == sum(parameter.numel() for parameter in theirs.features.parameters())
    assert (ours.madds + classifier) / 1e9 == pytest.approx(billions, abs=5e-4)


def test_a_taps_strides_are_the_same_in_every_backbone(everything: Catalogue) -> None:
    """The table has one column of them for all."""
    strides = {(tap.name, tuple(tap.strides.items())) for backbone in everything.backbones for tap in backbone.taps}
    assert len(strides) == len({name for name, _ in strides})


def test_timms_mobilenet_v2_has_the_channels_of_ours() -> None:
    ours, theirs = describe_backbone("mobilenet_v2"), describe_backbone("timm:mobilenetv2_100")
    channels = {tap.name: tap.channels for tap in ours.taps}
    assert {tap.name: tap.channels for tap in theirs.taps} == {
        name: channels[name] for name in ("c1", "c2", "c3", "c4", "c5")
    }
    assert not theirs.any_width


def test_models_prints_one_backbone_as_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "mobilenet_v2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [backbone["name"] for backbone in told["backbones"]] == ["mobilenet_v2"]
    assert {row["backbone"] for row in [*told["published"], *told["detectors"]]} == {"mobilenet_v2"}
    assert [row["ap_percent"] for row in told["detectors"]] == [22.1, 13.7, 16.6]
    assert {row["pretraining"] for row in told["published"] if row["data"] == "voc"} == {"ImageNet, COCO"}


def test_models_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resnet101_beta"]) == 0
    said = capsys.readouterr().out
    assert "FEATURE MAPS" in said
    assert "HEADS" not in said
    assert "80.49" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["mobilenet_v4"], "did you mean mobilenet_v"), (["--json", "--markdown"], "ask for one")],
)
def test_a_mistake_is_one_line(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
