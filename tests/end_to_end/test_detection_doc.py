"""docs/detection.md from its first line to its last, on drawn pictures: every command and the Python run as they stand
there. A training takes one step, and other people's weights are random ones.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

import mbseg
from mbseg.backbones.variant import Variant
from mbseg.boxes.default_boxes import box_shapes
from mbseg.cli import main
from mbseg.config.schema import DetectionLossConfig, ModelConfig, SelectionConfig
from mbseg.data.shapes import draw_shapes
from mbseg.models.detection import DetectionModel
from tests.graphdef_writer import Writer, write_detector

DOC = (Path(__file__).parents[2] / "docs" / "detection.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.replace("\\\n", " ").splitlines()]
(PYTHON,) = (block for language, block in BLOCKS if language == "python")
SMOKE = {
    "train": [
        *("train.steps=1", "train.batch_size=2", "train.samples=0", "model.backbone.weights=null"),
        *("model.image_size=[64, 96]", "data.workers=0", "device=cpu", "threads=1"),
    ],
    "import-weights": ["--weights", "theirs.pth"],  # in place of a download
}
SPLITS = {"train": ["train_000000", "train_000001", "train_000002"], "val": ["val_000000"]}


@pytest.fixture
def my_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the pictures and the weights that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    draw_shapes(Path("datasets/shapes"), train=3, val=1, size=(64, 96))
    draw_shapes(Path("my_boxes"), train=3, val=1, size=(64, 96))
    Path("my_boxes/JPEGImages").rename("my_boxes/images")
    Path("picture.jpg").write_bytes(Path("my_boxes/images/val_000000.jpg").read_bytes())
    for split, names in SPLITS.items():
        Path("my_boxes", f"{split}.json").write_text(json.dumps(coco(names)))
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91)
    torch.save(theirs.state_dict(), "theirs.pth")
    person = mbseg.create_detector(
        "mobilenet_v2", image_size=(64, 64), num_classes=1, scores="sigmoid", variant=Variant(padding="tensorflow")
    )
    write_detector(Writer(), person).save(Path("ssdlite_mobilenet_v2_person_300.pb"))


def coco(names: list[str]) -> dict[str, list[dict[str, object]]]:
    return {
        "images": [{"id": n, "file_name": f"{name}.jpg", "height": 64, "width": 96} for n, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [5, 6, 40, 42]}],
        "categories": [{"id": 7, "name": "person"}],
    }


@pytest.mark.usefixtures("my_folder")
def test_the_commands_of_the_page_run_one_after_the_other_and_then_its_python() -> None:
    for command in COMMANDS:
        program, name, *words = shlex.split(command)
        wants_smoke = name == "train" or words[0].startswith("torchvision:")
        assert program == "mbseg"
        assert main([name, *words, *(SMOKE[name] if wants_smoke else ())]) == 0, command
    said: dict[str, object] = {}
    exec(PYTHON, said)
    raw, boxes = said["raw"], said["boxes"]
    assert isinstance(boxes, torch.Tensor)
    assert f"[{len(boxes)}, 4]: xyxy" in PYTHON
    assert f".class_logits {list(raw.class_logits.shape)}" in PYTHON  # type: ignore[attr-defined]


def test_the_maps_of_the_page_are_those_that_are_built() -> None:
    rows = re.findall(r"^\| .* \| (\d+) x (\d+) \| (\d+) \| (\d) \| (0\.\d+)", DOC, re.MULTILINE)
    model = mbseg.create_detector("mobilenet_v2")
    assert isinstance(model, DetectionModel)
    shapes = box_shapes(len(rows))
    assert [(int(height), int(width)) for height, width, *_ in rows] == model.feature_sizes((320, 320))
    assert [int(row[2]) for row in rows] == model.extras.channels
    assert [int(row[3]) for row in rows] == [len(boxes) for boxes in shapes]
    assert [float(row[4]) for row in rows] == pytest.approx([boxes[0].scale for boxes in shapes])


def test_the_page_names_every_key_of_the_loss_and_the_selection_with_its_default() -> None:
    loss, selection = DetectionLossConfig(), SelectionConfig()
    for key, default in loss:
        (row,) = re.findall(rf"^\| (?:`\w+`, )?`{key}`.*$", DOC, re.MULTILINE)
        assert str(default) in row, key
    for key, default in selection:
        (row,) = re.findall(rf"^\| `evaluate\.selection\.(?:\w+`, `)?{key}`.*$", DOC, re.MULTILINE)
        assert str(default) in row, key
    assert f"`{list(ModelConfig().image_size)}`" in DOC


@pytest.mark.parametrize("plan", ["standard", "torchvision"])
def test_the_page_counts_the_default_boxes(plan: str) -> None:
    model = mbseg.create_detector("mobilenet_v2", box_plan=plan)  # type: ignore[arg-type]
    (row,) = re.findall(r"^\| boxes a position \|.*$", DOC, re.MULTILINE)
    told = dict(zip(("standard", "torchvision"), re.findall(r": (\d{4})", row), strict=True))
    assert int(told[plan]) == len(model.default_boxes((320, 320)))
