"""What users do wrong: one line on stderr, exit code 2, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbseg.cli import main


@pytest.fixture
def broken(shapes: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to be damaged."""
    return Path(shutil.copytree(shapes, tmp_path / "broken"))


def first(folder: Path) -> Path:
    return sorted(folder.glob("train_*"))[0]


def truncate_picture(root: Path) -> None:
    picture = first(root / "JPEGImages")
    picture.write_bytes(picture.read_bytes()[:300])


def write_no_picture(root: Path) -> None:
    first(root / "JPEGImages").write_text("no picture")


def write_rgb_mask(root: Path) -> None:
    Image.fromarray(np.full((60, 75, 3), 77, np.uint8)).save(first(root / "SegmentationClass"))


def write_mask_of_another_size(root: Path) -> None:
    Image.fromarray(np.zeros((60, 74), np.uint8)).save(first(root / "SegmentationClass"))


def write_label_out_of_range(root: Path) -> None:
    Image.fromarray(np.full((60, 75), 99, np.uint8)).save(first(root / "SegmentationClass"))


def empty_the_list(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("")


def remove_a_mask(root: Path) -> None:
    first(root / "SegmentationClass").unlink()


def remove_the_pictures(root: Path) -> None:
    shutil.rmtree(root / "JPEGImages")


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (truncate_picture, "train_000000.jpg"),
        (write_no_picture, "train_000000.jpg"),
        (write_rgb_mask, "train_000000.png"),
        (write_mask_of_another_size, "train_000000.png"),
        (write_label_out_of_range, "label 99"),
        (empty_the_list, "empty"),
        (remove_a_mask, "train_000000.png"),
        (remove_the_pictures, "JPEGImages"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_data_set_is_named_in_one_line(
    damage: Callable[[Path], None],
    names: str,
    workers: int,
    config: str,
    broken: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(broken)
    overrides = [f"data.root={broken}", f"data.workers={workers}", "train.steps=3", "train.evaluate_every=3"]
    assert main(["train", config, *overrides, "--output", str(tmp_path / "run")]) == 2
    assert names in last_line(capsys)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=nowhere", "data.root nowhere is not a folder"),
        ("data.train=train_aug", r"train_aug.txt; the lists there are train, trainval, val"),
        ("train.stepps=3", "unknown key train.stepps; did you mean train.steps?"),
        ("model.head.at=c9", "no feature map named ['c9']"),
        ("model.output_stride=4", "output stride 4 is not possible; 8, 16 and 32 are"),
        ("data.crop_size=[9, 9]", "smaller than the output stride 16"),
        ("train.batch_size=1", "needs two pictures or more"),
        ("train.batch_size=64", "do not fill one batch of 64"),
        ("model.backbone.name=mobilenet_v9", "no backbone named 'mobilenet_v9'"),
        ("model.head.aspp=dens", "'dense', 'separable' or 'none'"),
        ("data.kind=shape", "no data set named 'shape'"),
        ("data.kind=list", "name them: data.classes="),
        ("model.backbone.weights=nowhere.pth", "nowhere.pth"),
        ("model.weights=nowhere.safetensors", "nowhere.safetensors"),
        ("train.loss.class_weights=[1, 2]", "2 values for 7 classes"),
        ("train.loss.stride=5", "loss.stride 5 needs"),
        ("device=tpu", "tpu"),
    ],
)
def test_a_config_that_cannot_work_is_refused_before_anything_is_written(
    override: str, message: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", config, override, "--output", str(tmp_path / "run")]) == 2
    assert message in last_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_is_never_overwritten(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", config, "train.steps=1", "--output", str(tmp_path / "run")]
    assert main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert main(arguments) == 2
    assert "holds a finished run already; add --resume" in last_line(capsys)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_run_is_not_resumed_with_another_config(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", config, "train.steps=1", "--output", str(tmp_path / "run")]) == 0
    assert main(["train", config, "train.steps=1", "train.seed=5", "--resume", "--output", str(tmp_path / "run")]) == 2
    assert "was started with train.seed=0, not 5" in last_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], 'Did you mean "train"?'),
        (["train"], "CONFIG"),
        (["train", "quickstart", "--otput", "x"], "--otput"),
        (["profile", "quickstart", "--accounting", "flops"], "Choose from"),
        (["profile", "quickstart", "--image-size", "0", "5"], "must be 1 or more"),
        (["evaluate", "nowhere.safetensors"], "nowhere.safetensors"),
        (["evaluate", "quikstart"], "did you mean quickstart?"),
        (["prepare-dataset", "voc2013"], "voc2012"),
        (["prepare-dataset", "camvid", "--archive", "nowhere.zip"], "nowhere.zip"),
        (["benchmark", "--weights", "x"], "go together"),
    ],
)
def test_a_mistyped_command_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The error; progress may stand before it."""
    captured = capsys.readouterr()
    line = captured.err.strip().splitlines()[-1]
    assert line.startswith("error: "), captured.err
    assert "Traceback" not in captured.err
    return line
