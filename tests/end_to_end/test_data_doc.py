"""The commands of docs/data.md run as they stand there, on drawn pictures; a training takes one step."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from mbseg.cli import main
from mbseg.data.recipes import RECIPES
from mbseg.data.shapes import draw_shapes

DOC = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
COMMANDS = [line.removeprefix("mbseg ") for block in BLOCKS for line in block.splitlines()]
SMOKE = ("train.steps=1", "train.batch_size=2", "train.samples=0", "data.workers=0", "device=cpu", "threads=1")
NAMES = {"train": ["train_000000", "train_000001", "train_000002"], "val": ["val_000000"]}


@pytest.fixture
def my_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the folders of pictures that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    for root in "my_pictures", "my_boxes", "my_xml":
        draw_shapes(Path(root), train=3, val=1, size=(40, 48))
    for mask in Path("my_pictures", "SegmentationClass").iterdir():
        Image.open(mask).point(lambda label: min(label, 2)).save(mask)
    for split, names in NAMES.items():
        lines = [f"JPEGImages/{name}.jpg SegmentationClass/{name}.png\n" for name in names]
        Path("my_pictures", f"{split}.txt").write_text("".join(lines))
        Path("my_boxes", f"{split}.json").write_text(json.dumps(coco(names)))
    Path("my_boxes", "JPEGImages").rename("my_boxes/images")
    for file in Path("my_xml", "Annotations").iterdir():
        file.write_text(re.sub("<name>.*?</name>", "<name>dog</name>", file.read_text()))


def coco(names: list[str]) -> dict[str, list[dict[str, object]]]:
    return {
        "images": [{"id": n, "file_name": f"{name}.jpg", "height": 40, "width": 48} for n, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [5, 6, 20, 22]}],
        "categories": [{"id": 7, "name": "disc"}],
    }


@pytest.mark.usefixtures("my_folders")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str) -> None:
    words = shlex.split(command)
    assert main([*words, *(SMOKE if words[0] == "train" else ())]) == 0


def test_the_page_names_every_data_set_that_can_be_prepared() -> None:
    assert set(re.findall(r"mbseg prepare-dataset (\w+)", DOC)) == set(RECIPES)
