"""Trained networks on real pictures: every engine gives the class maps and boxes that torch gives."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mbseg.cli import main
from mbseg.data.reading import read_image
from mbseg.predictors import load_predictor
from mbseg.runtime.agreement import Agreement
from mbseg.runtime.names import Backend, Precision

PICTURES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imported")


def imported(source: Path, folder: Path, *options: str) -> Path:
    weights = folder / f"{source.stem}.safetensors"
    if not weights.exists():
        assert main(["import-weights", str(source), str(weights), *options]) == 0
    return weights


def shares(weights: Path, pictures: Sequence[Path], backend: Backend, precision: Precision) -> dict[str, float]:
    """Of the pixels, or of the boxes with a score above 0.5, that torch finds in fp32."""
    expected = load_predictor(str(weights), run=Path(), backend="torch").predictor
    found = load_predictor(str(weights), run=Path(), backend=backend, precision=precision).predictor
    agreement = Agreement()
    for picture in pictures:
        image = read_image(picture)
        agreement.add(expected(image), found(image))
    return agreement.shares


@pytest.mark.parametrize(
    ("backend", "precision", "least"),
    [("onnxruntime", "fp32", 0.995), ("openvino", "fp32", 0.995), ("openvino", "bf16", 0.98), ("torch", "bf16", 0.98)],
)
def test_class_maps_are_alike(
    backend: Backend, precision: Precision, least: float, shared_data: Path, folder: Path
) -> None:
    weights = imported(shared_data / "weights" / "deeplabv3_mnv2_pascal_quant.tflite", folder)
    pictures = sorted((shared_data / "VOCdevkit/VOC2012/JPEGImages").iterdir())[:: 111 // PICTURES]
    assert least <= shares(weights, pictures[:PICTURES], backend, precision)["pixels"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_detections_are_alike(backend: Backend, shared_data: Path, folder: Path) -> None:
    pedestrians = shared_data / "pennfudan"
    data = ("data.kind=coco_json", f"data.root={pedestrians}", "data.val=val", "data.classes=[person]")
    weights = imported(shared_data / "weights" / "ssdlite_mobilenet_v2_person_300.pb", folder, *data)
    pictures = sorted(pedestrians.rglob("*.jpg")) or sorted(pedestrians.rglob("*.png"))
    assert shares(weights, pictures[:PICTURES], backend, "fp32")["detections"] >= 0.99
