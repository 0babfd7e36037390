"""check-data: every file read, each faulty one named once."""

import os

import numpy as np
import pytest
from PIL import Image

from mbseg.data import check
from mbseg.data.check import check_dataset
from mbseg.data.description import load_description

FOLDER, LIST = load_description("folder"), load_description("list")
CLASSES = ("background", "thing")


@pytest.fixture
def root(tmp_path):
    """Two splits of four sound pictures each."""
    for split in "train", "val":
        for what in "images", "masks":
            (tmp_path / split / what).mkdir(parents=True)
        for name in "abcd":
            write_picture(tmp_path / split / "images" / f"{name}.png")
            write_mask(tmp_path / split / "masks" / f"{name}.png")
    return tmp_path


def write_picture(file, height: int = 6) -> None:
    Image.fromarray(np.full((height, 8, 3), 99, np.uint8)).save(file)


def write_mask(file, label: int = 1, height: int = 6) -> None:
    Image.fromarray(np.full((height, 8), label, np.uint8)).save(file)


def faults(root, splits=("train", "val"), description=FOLDER) -> dict[str, str]:
    found = check_dataset(description, root, splits, CLASSES, processes=2)
    assert len({file for file, _ in found}) == len(found)
    return {file.relative_to(root).as_posix(): problem for file, problem in found}


def test_a_sound_data_set_has_no_faults(root) -> None:
    assert faults(root) == {}


def test_each_faulty_file_is_named_with_what_is_wrong(root) -> None:
    train, val = root / "train", root / "val"
    (train / "images" / "a.png").write_bytes((train / "images" / "a.png").read_bytes()[:45])
    write_mask(train / "masks" / "b.png", label=2)
    write_mask(train / "masks" / "c.png", height=5)
    (train / "masks" / "d.png").unlink()
    write_picture(val / "masks" / "a.png")
    (val / "images" / "b.png").write_text("not a picture")
    found = faults(root)
    assert "cannot be read" in found.pop("train/images/a.png")
    assert found == {
        "train/masks/b.png": "label 2 is neither in 0..1 nor 255 (ignored)",
        "train/masks/c.png": "the mask is 5 x 8 (height x width), its picture 6 x 8 (height x width)",
        "train/masks/d.png": "there is no such file",
        "val/masks/a.png": "an RGB mask of no palette; save class ids as palette or grey PNG",
        "val/images/b.png": "this is not a picture (JPEG, PNG, BMP, GIF, WEBP, TIFF)",
    }


def test_a_missing_split_does_not_hide_the_faults_of_the_other(root) -> None:
    write_mask(root / "train" / "masks" / "b.png", label=2)
    found = faults(root, ("train", "test"))
    assert set(found) == {".", "train/masks/b.png"}
    assert "test/images" in found["."]


def test_pictures_listed_twice_or_in_two_splits_are_named_once_with_all_that_is_wrong(root) -> None:
    line = "train/images/{0}.png train/masks/{0}.png\n"
    (root / "first.txt").write_text(line.format("a") * 2 + line.format("b"))
    (root / "second.txt").write_text(line.format("b") + line.format("c"))
    (root / "train" / "images" / "b.png").write_text("not a picture")
    assert faults(root, ("first", "second"), LIST) == {
        "train/images/a.png": "listed 2 times in 'first'",
        "train/images/b.png": "both in 'first' and in 'second'; this is not a picture "
        "(JPEG, PNG, BMP, GIF, WEBP, TIFF)",
    }


def test_the_progress_counts_a_pair_once_however_often_it_is_listed(root) -> None:
    seen = []
    (root / "list.txt").write_text("train/images/a.png train/masks/a.png\n" * 2)
    check_dataset(LIST, root, ["list"], CLASSES, processes=1, progress=lambda *done: seen.append(done))
    assert seen == [("reading pictures", 1, 1)]


def test_a_picture_that_ends_its_reader_is_named_and_all_others_are_judged(root, monkeypatch) -> None:
    sound = check.read_image

    def deadly(file):
        return os._exit(1) if file.name in ("b.png", "c.png") and "train" in file.parts else sound(file)

    monkeypatch.setattr(check, "read_image", deadly)  # forked processes have it too
    write_mask(root / "val" / "masks" / "d.png", label=2)
    found = faults(root)
    assert set(found) == {"train/images/b.png", "train/images/c.png", "val/masks/d.png"}
    assert "masks/b.png ended the process: a decoder crashed" in found["train/images/b.png"]
