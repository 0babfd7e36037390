"""Cityscapes: two archives, two folders, label ids that are not class ids; configs at the paper's cost."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbseg import build_segmentation
from mbseg.cli import main
from mbseg.config.load import make_experiment
from mbseg.data.check import check_dataset
from mbseg.data.description import load_description
from mbseg.data.layouts import find_pairs
from mbseg.data.prepare import prepare
from mbseg.data.reading import read_mask
from mbseg.errors import ConfigError, DataError
from mbseg.resources import config_file, config_names

CITYSCAPES = load_description("cityscapes")
EVERY_LABEL = np.array([*range(34), 255], np.uint8).reshape(5, 7)
PICTURES, MASKS = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
NAMES = {
    "train": ("aachen/aachen_000000_000019", "bochum/bochum_000000_000313"),
    "val": ("lindau/lindau_000000_000019",),
}
CONFIGS = [name for name in config_names() if name.startswith("cityscapes/")]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as target:
        for name, data in {"license.txt": b"terms", **members}.items():
            target.writestr(name, data)
    return file


def archives(folder: Path, labels: np.ndarray = EVERY_LABEL) -> tuple[Path, Path]:
    """Both files as they are offered, with three tiny pictures; the masks have companions that are not read."""
    picture = png(np.full((*labels.shape, 3), 90, np.uint8))
    names = [f"{split}/{name}" for split, listed in NAMES.items() for name in listed]
    pictures = {f"leftImg8bit/{name}_leftImg8bit.png": picture for name in names}
    masks = {f"gtFine/{name}_gtFine_labelIds.png": png(labels) for name in names}
    others = {f"gtFine/{name}_gtFine_{what}": b"" for name in names for what in ("color.png", "polygons.json")}
    return zipped(folder / PICTURES, pictures), zipped(folder / MASKS, masks | others)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    prepare("cityscapes", tmp_path / "cityscapes", *archives(tmp_path))
    return tmp_path / "cityscapes"


def test_two_archives_become_one_data_set(tmp_path: Path) -> None:
    files = archives(tmp_path)
    made = prepare("cityscapes", tmp_path / "data" / "cityscapes", *reversed(files))
    assert made.counts == {"train": 2, "val": 1}
    assert made.expected == {"train": 2975, "val": 500}
    assert made.sha256 == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cityscapes"]
    assert prepare("cityscapes", made.root).found


def test_the_command_takes_both_archives_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for file in archives(tmp_path) for word in ("--archive", str(file))]
    assert main(["prepare-dataset", "cityscapes", "--root", str(tmp_path / "cityscapes"), *options]) == 0
    said = capsys.readouterr().out
    assert "2 pictures (the complete data set has 2975)" in said
    assert f"SHA-256 of {MASKS}: " in said


def test_without_archives_it_is_said_where_they_are_and_which(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"cityscapes-dataset\.com.*--archive {PICTURES} --archive {MASKS}"):
        prepare("cityscapes", tmp_path / "cityscapes")
    assert not list(tmp_path.iterdir())


def test_archives_in_the_downloads_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    archives(tmp_path / "downloads")
    assert prepare("cityscapes", tmp_path / "cityscapes").counts == {"train": 2, "val": 1}


@pytest.mark.parametrize("chosen", [[0], [1], [0, 0]])
def test_one_archive_of_two_is_refused_before_it_is_unpacked(chosen: list[int], tmp_path: Path) -> None:
    files = archives(tmp_path)
    with pytest.raises(ConfigError, match=rf"comes in {PICTURES} and {MASKS}; name each once"):
        prepare("cityscapes", tmp_path / "cityscapes", *(files[index] for index in chosen))


def test_a_picture_without_its_mask_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    pictures, masks = archives(tmp_path)
    with zipfile.ZipFile(masks) as source:
        kept = {name: source.read(name) for name in source.namelist() if "bochum" not in name}
    with pytest.raises(
        DataError, match=r"1 of 2 masks of 'train' are missing, the first: .*bochum_000000_000313_gtFine"
    ):
        prepare("cityscapes", tmp_path / "data" / "cityscapes", pictures, zipped(masks, kept))
    assert not list((tmp_path / "data").iterdir())


def test_pairs_carry_the_names_of_cityscapes_city_by_city(root: Path) -> None:
    pairs = find_pairs(CITYSCAPES, root, "train")
    assert [pair.name for pair in pairs] == ["aachen_000000_000019", "bochum_000000_000313"]
    assert pairs[1].mask == root / "gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png"


def test_label_ids_become_the_19_classes_of_the_benchmark_and_all_others_255(root: Path) -> None:
    (pair,) = find_pairs(CITYSCAPES, root, "val")
    label_map = CITYSCAPES.label_map(19)
    mask = read_mask(pair.mask, label_map)
    names = {
        value: CITYSCAPES.classes[label] for value, label in zip(range(34), mask.ravel(), strict=False) if label < 19
    }
    assert (names[7], names[11], names[17], names[23], names[26], names[33]) == (
        *("road", "building", "pole", "sky", "car", "bicycle"),
    )
    assert sorted(mask[mask < 255].tolist()) == list(range(19))
    assert (mask == 255).sum() == 16
    assert mask[-1, -1] == 255  # license plate, -1


@pytest.mark.parametrize("unknown", [34, 254])
def test_an_unknown_label_id_is_an_error_that_names_the_file(unknown: int, root: Path) -> None:
    file = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    file.write_bytes(png(np.full((5, 7), unknown, np.uint8)))
    with pytest.raises(
        DataError, match=rf"aachen_000000_000019_gtFine_labelIds\.png: label {unknown} is neither in 7\.\.8"
    ):
        read_mask(file, CITYSCAPES.label_map(19))
    faults = check_dataset(CITYSCAPES, root, ("train", "val"), CITYSCAPES.classes, processes=1)
    assert [fault.file for fault in faults] == [file]


def test_masks_of_colours_are_refused_as_two_labels_share_one(root: Path) -> None:
    file = root / "color.png"
    file.write_bytes(png(np.full((5, 7, 3), 153, np.uint8)))
    with pytest.raises(DataError, match="an RGB mask of no palette"):
        read_mask(file, CITYSCAPES.label_map(19))


def test_the_test_split_has_no_masks(root: Path) -> None:
    with pytest.raises(DataError, match="not published; its splits are train and val"):
        find_pairs(CITYSCAPES, root, "test")


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cityscapes has 19 classes; 2 are named in data\.classes"):
        CITYSCAPES.label_map(2)


def test_frequencies_are_counted_over_classes_not_label_ids(tmp_path: Path) -> None:
    prepare("cityscapes", tmp_path / "cityscapes", *archives(tmp_path, np.array([[7, 7, 7, 33, 0]], np.uint8)))
    tree = {"data": {"kind": "cityscapes", "root": str(tmp_path / "cityscapes")}}
    experiment = make_experiment(tree, ["train.steps=1", "train.loss.class_weights=inverse_log"], source="test")
    training = build_segmentation.dataset(experiment, "train", augment=False)
    assert training[0].mask.tolist() == [[0, 0, 0, 18, 255]]
    weights = build_segmentation.class_weights(experiment.train.loss, training)
    assert weights[0] < weights[18] < weights[1] == max(weights)


def test_a_training_takes_cityscapes_from_archive_to_score(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["model.backbone.width_mult=0.35", "model.head.channels=8", "data.crop_size=[33, 33]", "data.workers=0"]
    short = ["train.steps=1", "train.batch_size=2", "train.schedule.warmup_steps=0", "train.samples=0", "device=cpu"]
    recipe = ["cityscapes/deeplabv3_mobilenet_v2_os16_none", f"data.root={root}", *small]
    assert main(["check-data", *recipe]) == 0
    assert main(["train", *recipe, *short, "--output", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(result["per_class"]) == set(CITYSCAPES.classes)


def test_the_configs_are_the_rows_of_the_paper() -> None:
    assert len(CONFIGS) == 12


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_costs_what_the_paper_prints_in_its_header(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = config_file(name)
    assert file is not None
    printed = re.search(r"([\d.]+) M params, ([\d.]+) B madds", file.read_text())
    assert printed is not None
    assert main(["profile", name, "--image-size", "1025", "2049", "--accounting", "tf", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["params"] / 1e6 == pytest.approx(float(printed[1]), rel=0.011)
    assert cost["madds"] / 1e9 == pytest.approx(float(printed[2]), rel=0.01)
