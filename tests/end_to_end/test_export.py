"""`mbseg export`: from weights to a file that others run; what does not agree with PyTorch gets no name."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mbseg import build, build_common, build_segmentation
from mbseg.cli import main
from mbseg.config.load import make_experiment
from mbseg.exporting import LEAST_AGREEMENT
from mbseg.runtime.artifact import read_artifact
from mbseg.weights.store import save_weights
from tests.helpers import calibrated

TREE = {
    "device": "cpu",
    "data": {"kind": "camvid", "root": "datasets/no-such-folder"},
    "model": {"backbone": {"name": "mobilenet_v1", "width_mult": 0.25}, "head": {"channels": 8}},
    "train": {"steps": 1},
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "deployment.md"


def documented_script() -> str:
    """The ten lines that open a file without mbseg."""
    return DOCUMENT.read_text().split("```python\n")[1].split("```")[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that sees differences, though it was never trained."""
    torch.manual_seed(0)
    experiment = make_experiment(TREE, source="test")
    patches = torch.nn.functional.interpolate(torch.randn(16, 3, 5, 5), (65, 65))
    model = calibrated(build_segmentation.model(experiment.model, 11, weights=False), patches)
    with torch.no_grad():
        model.head.classifier.weight.normal_()
        model.head.classifier.bias -= model(patches).mean((0, 2, 3))
    file = tmp_path_factory.mktemp("export") / "small.safetensors"
    save_weights(file, model.state_dict(), build_common.model_card(experiment, {"miou": 0.25}))
    return file


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index, size in enumerate([(96, 64), (80, 100)]):
        blots = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
        blots.resize(size, Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def exported(weights: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "small.onnx"
    arguments = ["export", str(weights), "--format", "onnx", "--output", str(file), "--pictures", str(pictures)]
    assert main(arguments) == 0
    return file


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that fails."""
    assert main(["export", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_a_plain_script_runs_the_file_without_mbseg(
    exported: Path, weights: Path, pictures: Path, tmp_path: Path
) -> None:
    script, result = tmp_path / "script.py", tmp_path / "classes.png"
    picture = pictures / "1.png"
    (tmp_path / "best.onnx").write_bytes(exported.read_bytes())
    Image.open(picture).save(tmp_path / "photo.png")
    alone = 'import sys\nassert "torch" not in sys.modules and "mbseg" not in sys.modules\n'
    script.write_text(f"{documented_script()}\n{alone}")
    subprocess.run([sys.executable, script], check=True, cwd=tmp_path)
    model = build.load(weights)
    task = build_segmentation.task(make_experiment(TREE, source="test"), weights=False)
    task.predict_with(model)
    pixels = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)[None]
    mask = task.predictor(pixels)[0].numpy()
    assert len(np.unique(mask)) > 1
    assert (np.array(Image.open(result)) == mask).mean() > 0.995


def test_the_file_carries_its_card(exported: Path) -> None:
    artifact = read_artifact(exported)
    assert (artifact.task, artifact.precision, artifact.size) == ("segmentation", "fp32", None)
    assert artifact.card.classes[:2] == ("sky", "building")
    assert artifact.card.metrics == {"miou": 0.25}
    assert artifact.card.config["model"]["backbone"]["name"] == "mobilenet_v1"
    assert artifact.agreement["pixels"] >= 0.995


def test_a_file_is_not_replaced_unasked(exported: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = exported.read_bytes()
    line = refused(capsys, weights, "--format", "onnx", "--output", exported)
    assert "exists already" in line and "--overwrite" in line
    assert exported.read_bytes() == before


def test_openvino_of_one_size(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.xml"
    options = ["--size", "64", "96", "--pictures", str(pictures), "--output", str(file), "--json"]
    assert main(["export", str(weights), "--format", "openvino", *options]) == 0
    captured = capsys.readouterr()
    result: dict[str, Any] = json.loads(captured.out)
    assert captured.err == ""
    assert result["input_size"] == [64, 96] and result["agreement"]["pixels"] >= 0.995
    assert read_artifact(file).size == (64, 96)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "small.bin", file]


def test_what_does_not_agree_leaves_nothing_behind(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEAST_AGREEMENT["fp32"], "pixels", 1.01)
    line = refused(
        capsys, weights, "--format", "onnx", "--output", tmp_path / "a.onnx", "--pictures", pictures, "--size", 64, 64
    )
    assert "of PyTorch's pixels" in line and "nothing was written" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "onnx", "--precision", "bf16"], "--format openvino"),
        (["--format", "onnx", "--output", "file.xml"], r"*.onnx"),
        (["--format", "onnx", "--output", "no/folder/a.onnx"], "no folder"),
        (["--format", "onnx", "--size", "8", "8"], "--size is 8 x 8"),
        (["--format", "onnx", "--size", "64", "100000"], "sides have 32 to 4096 pixels"),
        (["--format", "onnx", "--calibration", "4"], "--calibration is for int8"),
        (["device=cuda", "--format", "onnx"], "device=cuda has no effect"),
        (["--format", "onnx", "--least-score", "0.5"], "--least-score is for detection"),
        (["evaluate.flip=true", "--format", "onnx"], "evaluate.flip=false"),
        (["--format", "tflite"], "tflite"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], words: str, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, weights, *options)
    assert [weights] == list(weights.parent.iterdir())
