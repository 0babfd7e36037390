"""`mbseg profile` of a detector."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import mbseg
from mbseg import build_common, build_detection
from mbseg.cli import main
from mbseg.config.load import make_experiment
from mbseg.weights.store import save_weights

TREE = {
    "task": "detection",
    "device": "cpu",
    "threads": 1,
    "model": {
        "backbone": {"name": "mobilenet_v3_small", "width_mult": 0.35},
        "head": {"kind": "ssdlite"},
        "image_size": [96, 128],
    },
    "data": {"kind": "voc", "root": "datasets/voc2012"},
    "train": {"steps": 1},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TREE))
    return tmp_path / "tiny.yaml"


def test_a_config_and_its_weights_cost_what_the_model_does(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = make_experiment(TREE, source="test")
    model = build_detection.model(experiment.model, 20, weights=False)
    save_weights(tmp_path / "tiny.safetensors", model.state_dict(), build_common.model_card(experiment, {}))
    cost = mbseg.profile(model)
    for target in (config, tmp_path / "tiny.safetensors"):
        assert main(["profile", str(target), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["params"], told["madds"], told["image_size"]) == (cost.params, cost.madds, [96, 128])


def test_it_is_timed_with_and_without_its_boxes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    assert main(["profile", str(config), "--image-size", "64", "96", "--latency", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image_size"] == [64, 96]
    assert 0 < told["latency_ms"]["net"] < told["latency_ms"]["boxes"]
    assert told["latency_conditions"]["threads"] == 1
    assert torch.get_num_threads() == before


def test_its_parts_are_shown(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(config)]) == 0
    said = capsys.readouterr().out
    assert "extras.layers.0.reduce.conv" in said
    assert [line.split()[0] for line in said.splitlines()[-3:]] == ["backbone", "extras", "head"]


@pytest.mark.parametrize("passes", ["evaluate.scales=[0.5,1.0]", "evaluate.flip=true"])
def test_several_passes_are_refused_in_one_line(passes: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(config), passes]) == 2
    said = capsys.readouterr()
    assert f"{passes.partition('=')[0]} belongs to segmentation" in said.err
    assert (said.out, said.err.strip().count("\n")) == ("", 0)
