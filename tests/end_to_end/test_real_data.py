"""Real VOC and CamVid pictures through the shipped configs, where they lie beside the project."""

import json
from pathlib import Path

import pytest

from mbseg.cli import main

SMALL = [
    "data.crop_size=[65, 65]",
    "data.workers=0",
    "train.batch_size=4",
    "train.steps=1",
    "train.samples=0",
    "device=cpu",
]


@pytest.mark.parametrize(
    ("config", "folder", "train"),
    [
        ("voc/deeplabv3_mobilenet_v2_os16_none", "VOCdevkit/VOC2012", "train"),
        ("camvid/deeplabv3_mobilenet_v2_os16_none", "camvid", "train"),
    ],
)
def test_a_shipped_config_trains_on_the_real_layout_from_real_weights(
    config: str, folder: str, train: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = f"model.backbone.weights={shared_data / 'weights' / 'mobilenet_v2-b0353104.pth'}"
    data = [f"data.root={shared_data / folder}", f"data.train={train}"]
    assert main(["train", config, weights, *data, *SMALL, "--output", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["pixel_accuracy"] < 1
    assert result["images"] == {"camvid": 101}.get(folder, 55)


def test_the_missing_train_aug_list_is_named(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"data.root={shared_data / 'VOCdevkit/VOC2012'}"
    config = "voc/deeplabv3_mobilenet_v2_os16_none"
    assert main(["train", config, root, "model.backbone.weights=null", "--output", str(tmp_path / "run")]) == 2
    assert "train_aug.txt; the lists there are train, val" in capsys.readouterr().err


@pytest.mark.parametrize("config", ["voc/deeplabv3_mobilenet_v2_os16_none", "camvid/deeplabv3_mobilenet_v2_os16_none"])
def test_every_real_file_is_fine(config: str, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shared_data / ("camvid" if config.startswith("camvid") else "VOCdevkit/VOC2012")
    assert main(["check-data", config, f"data.root={root}", "data.train=train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": []}
