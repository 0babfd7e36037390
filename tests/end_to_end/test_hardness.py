"""The drawn set is hard enough that a wrong pipeline shows: colours swapped, or masks beside their objects."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbseg.config.load import load_experiment
from mbseg.data.shapes import draw_shapes
from mbseg.engine.run_folder import RunFolder
from mbseg.evaluation import evaluate
from mbseg.training import train

SHIFT = 14  # pixels: half an object of mean size
SHORT = ["train.steps=200", "train.evaluate_every=200", "train.samples=0", "data.workers=0", "device=cpu"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hardness") / "shapes"
    draw_shapes(root, train=600, val=60)
    return root


def trained(root: Path, output: Path) -> RunFolder:
    """The quickstart's recipe, cut short."""
    folder = RunFolder(output)
    train(load_experiment("quickstart", [*SHORT, f"data.root={root}"]), folder, resume=False)
    return folder


def miou(folder: RunFolder, root: Path) -> float:
    scores = evaluate(str(folder.best), [f"data.root={root}"], weights=None, run=folder.path)
    return float(scores["miou"])


def swap_red_and_blue(root: Path) -> None:
    for picture in (root / "JPEGImages").glob("val_*"):
        pixels = np.array(Image.open(picture))
        Image.fromarray(pixels[..., ::-1].copy()).save(picture, quality=95)


def shift_masks(root: Path) -> None:
    for file in (root / "SegmentationClass").glob("train_*"):
        mask = np.array(Image.open(file))
        shifted = np.full_like(mask, 255)
        shifted[SHIFT:, SHIFT:] = mask[:-SHIFT, :-SHIFT]
        Image.fromarray(shifted).save(file)


def changed_copy(root: Path, name: str) -> Path:
    return Path(shutil.copytree(root, root.parent / name))


def test_swapped_colours_and_shifted_masks_cost_at_least_a_tenth(drawn: Path, tmp_path: Path) -> None:
    right = trained(drawn, tmp_path / "right")
    score = miou(right, drawn)
    swapped = changed_copy(drawn, "swapped")
    swap_red_and_blue(swapped)
    assert miou(right, swapped) < score - 0.1
    shifted = changed_copy(drawn, "shifted")
    shift_masks(shifted)
    assert miou(trained(shifted, tmp_path / "wrong"), drawn) < score - 0.1
