"""`mbseg export --precision int8` as users run it: calibrated, scored before and after, usable without mbseg."""

import json
from pathlib import Path

import numpy as np
import pytest

from mbseg.cli import main
from mbseg.config.load import load_experiment
from mbseg.engine.run_folder import RunFolder
from mbseg.training import train


@pytest.fixture
def weights(config: str, tmp_path: Path) -> Path:
    train(load_experiment(config, ["train.steps=6", "train.samples=0"]), RunFolder(tmp_path / "run"), resume=False)
    return tmp_path / "run" / "best.safetensors"


def test_an_int8_file_tells_the_scores_before_and_after_and_runs_in_plain_onnxruntime(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "int8.onnx"
    arguments = ["--format", "onnx", "--precision", "int8", "--calibration", "4", "--output", str(file), "--json"]
    assert main(["export", str(weights), *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(weights), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(file), "--json"]) == 0
    rounded = json.loads(capsys.readouterr().out)
    scores = result["scores"]
    assert scores["score"] == "miou" and scores["images"] == 5
    assert scores["before"] == pytest.approx(plain["miou"], abs=1e-3)
    assert scores["after"] == pytest.approx(rounded["miou"], abs=1e-3)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (class_map,) = session.run(["class_map"], {"image": np.zeros((1, 40, 50, 3), np.uint8)})
    assert class_map.shape == (1, 40, 50)


def test_without_the_training_pictures_one_line_says_what_is_missing(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "int8.onnx"
    arguments = ["--format", "onnx", "--precision", "int8", "--output", str(file), "data.root=/nowhere"]
    capsys.readouterr()
    assert main(["export", str(weights), *arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "int8 is calibrated on pictures of 'train', and data.root /nowhere is not a folder" in message
    assert message.endswith("data.root=FOLDER") and not file.exists()
