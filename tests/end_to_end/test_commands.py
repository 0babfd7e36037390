"""`profile`, `prepare-dataset` and `check-data` as users run them."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from mbseg.cli import main
from mbseg.config.load import read_yaml
from mbseg.resources import shipped_folder

ROOT = Path(__file__).parents[2]


def test_profile_prints_one_json_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "voc/deeplabv3_mobilenet_v2_os16_none", "--accounting", "tf", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["params"] == 2_113_557
    assert round(cost["madds"] / 1e9, 3) == 2.747  # arXiv:1801.04381, Table 7: 2.75
    assert cost["image_size"] == [513, 513]


def test_profile_sums_over_the_passes_of_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    costs = []
    for overrides in ([], ["evaluate.flip=true"]):
        assert main(["profile", "voc/deeplabv3_mobilenet_v2_os16_none", *overrides, "--json"]) == 0
        costs.append(json.loads(capsys.readouterr().out)["madds"])
    assert costs[1] == 2 * costs[0]


def test_profile_shows_every_layer_and_times_the_network(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", config, "--image-size", "33", "49", "--latency"]) == 0
    said = capsys.readouterr().out
    assert "backbone.blocks.16.project.conv" in said
    assert "33 x 49" in said
    assert "net + class_map" in said


def test_check_data_names_each_fault_and_exits_with_2(
    config: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-data", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": []}
    lists = tmp_path / "lists"
    lists.mkdir()
    picture, mask = (sorted((shapes / name).iterdir())[0] for name in ("JPEGImages", "SegmentationClass"))
    (lists / "train.txt").write_text(f"{picture} {mask}\n{picture} {lists / 'absent.png'}\n")
    (lists / "val.txt").write_text(f"{picture} {mask}\n")
    own = ["data.kind=list", f"data.root={lists}", f"data.classes={[str(number) for number in range(7)]}"]
    assert main(["check-data", config, *own, "--json"]) == 2
    captured = capsys.readouterr()
    faults = {Path(fault["file"]).name for fault in json.loads(captured.out)["faults"]}
    assert faults == {"absent.png", picture.name}
    assert captured.err.startswith("error: 2 faults")


def test_shapes_are_prepared_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prepare-dataset", "shapes", "--root", str(tmp_path / "shapes"), "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    again = json.loads(capsys.readouterr().out)
    assert (first["found"], again["found"]) == (False, True)
    assert first["counts"] == again["counts"]


def test_training_on_a_list_file_of_ones_own_works(config: str, shapes: Path, tmp_path: Path) -> None:
    names = (shapes / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    lines = [f"{shapes}/JPEGImages/{name}.jpg {shapes}/SegmentationClass/{name}.png" for name in names]
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    own = ["data.kind=list", f"data.root={tmp_path}", "data.classes=[a, b, c, d, e, f, g]", "train.steps=1"]
    assert main(["train", config, *own, "--output", str(tmp_path / "run")]) == 0


def test_a_trained_model_starts_another_number_of_classes_only_when_asked(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", config, "train.steps=1", "--output", str(tmp_path / "first")]) == 0
    start = f"model.weights={tmp_path / 'first' / 'best.safetensors'}"
    more = [start, "data.classes=[a, b, c, d, e, f, g, h]", "train.steps=1", "--output", str(tmp_path / "second")]
    assert main(["train", config, *more]) == 2
    assert "head.classifier.weight" in capsys.readouterr().err
    assert main(["train", config, *more, "model.new_classifier=true"]) == 0


@pytest.mark.parametrize("config_path", sorted(shipped_folder("configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_opens_with_its_command_and_what_to_expect(config_path: Path) -> None:
    head = config_path.read_text().splitlines()[:3]
    name = config_path.relative_to(shipped_folder("configs")).with_suffix("").as_posix()
    assert head[0].startswith(tuple(f"# mbseg {command} {name}" for command in ("train", "evaluate", "tradeoff")))
    assert any("expected:" in line or "not run here" in line for line in head)
    assert "to be measured" not in "".join(head)
    assert read_yaml(config_path)


def test_the_wheel_carries_every_data_set_description() -> None:
    packaging = (ROOT / "pyproject.toml").read_text()
    for description in (ROOT / "datasets").glob("*.yaml"):
        assert f'"datasets/{description.name}"' in packaging
        assert yaml.safe_load(description.read_text())["name"]


def test_overlays_of_every_evaluation_show_picture_truth_and_prediction(config: str, tmp_path: Path) -> None:
    assert main(["train", config, "train.steps=1", "--output", str(tmp_path / "run")]) == 0
    (sample,) = (tmp_path / "run" / "samples").iterdir()
    with Image.open(sample) as picture:
        assert picture.size == (3 * 75 + 2 * 2, 60)
