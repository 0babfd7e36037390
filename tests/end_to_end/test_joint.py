"""Two answers of one network as users get them: train, resume, evaluate, load, profile; on a few drawn pictures."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import mbseg
from mbseg.build_joint import dataset
from mbseg.cli import main
from mbseg.config.load import load_experiment
from mbseg.data.shapes import draw_shapes
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.fit import Trainer
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import ConfigError, DataError
from mbseg.metrics.coco_json import instances, judge
from mbseg.models.joint import JointModel, JointPredictions
from mbseg.training import train

SHAPES = ("disc", "square", "triangle", "ring", "star", "cross")


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """The quickstart, cut short."""
    draw_shapes(tmp_path / "shapes", train=12, val=4, size=(64, 96))
    return [
        *(f"data.root={tmp_path / 'shapes'}", "data.workers=0", "device=cpu", "model.image_size=[65, 97]"),
        *("train.steps=4", "train.batch_size=4", "train.evaluate_every=2", "train.samples=1"),
    ]


def run(overrides: list[str], output: Path, *, resume: bool = False) -> dict[str, object]:
    return train(load_experiment("quickstart_joint", overrides), RunFolder(output), resume=resume)


def test_a_run_folder_holds_all_that_is_promised(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "quickstart_joint", *overrides, "--output", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"miou", "pixel_accuracy", "ap", "ap50", "voc_map", "last_joint_score", "weights"} <= result.keys()
    assert result["joint_score"] == pytest.approx((result["miou"] + result["ap50"]) / 2)
    folder = RunFolder(tmp_path / "run")
    for path in (folder.config, folder.metrics, folder.last, folder.best, folder.curve, folder.result):
        assert path.stat().st_size > 0, path
    losses = next(line for line in folder.read_metrics() if line["part"] == "train")
    assert {"cross_entropy", "classification", "boxes"} <= losses.keys()
    with Image.open(next(folder.samples.iterdir())) as sheet:
        assert sheet.size == (3 * 3 * 96 + 4, 3 * 64)  # picture, truth and prediction, enlarged, lines between them


def test_the_best_weights_are_a_model_of_both_that_knows_its_classes(overrides: list[str], tmp_path: Path) -> None:
    run(overrides, tmp_path / "run")
    model = mbseg.load(tmp_path / "run" / "best.safetensors")
    assert isinstance(model, JointModel)
    assert model.image_size == (65, 97)
    assert model.card is not None
    assert model.card.classes == ("background", *SHAPES)
    predictions = model(torch.zeros(1, 3, 65, 97))
    assert isinstance(predictions, JointPredictions)
    assert predictions.logits.shape[1] == predictions.raw.class_logits.shape[2] == len(SHAPES) + 1


def test_a_resumed_training_ends_in_the_bits_of_an_uninterrupted_one(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(overrides, tmp_path / "whole")
    step_once = Trainer._step

    def step(self: Trainer, module: torch.nn.Module, batches: object, step: int) -> dict[str, torch.Tensor]:
        if step == 3:
            raise InterruptedError
        return step_once(self, module, batches, step)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(InterruptedError):
        run(overrides, tmp_path / "stopped")
    monkeypatch.undo()
    run(overrides, tmp_path / "stopped", resume=True)
    whole, resumed = (load_checkpoint(tmp_path / name / "last.pt").model for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_evaluate_gives_the_scores_of_the_training_and_predictions_that_pycocotools_scores_alike(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run([*overrides, "train.steps=40", "train.evaluate_every=40"], tmp_path / "run")
    results, weights = tmp_path / "results.json", str(tmp_path / "run" / "best.safetensors")
    assert main(["evaluate", weights, "--predictions", str(results), "--judge", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    for name in ("miou", "ap50", "joint_score"):
        assert scores[name] == pytest.approx(trained[name], abs=1e-6)
    assert (scores["images"], scores["masks"], scores["image_size"]) == (4, 4, [65, 97])
    split = dataset(load_experiment("quickstart_joint", overrides), "val", augment=False).split
    assert judge(instances(split), json.loads(results.read_text())) == scores["pycocotools"]
    assert main(["evaluate", weights]) == 0
    told = capsys.readouterr().out
    assert told.startswith("joint score     ")
    assert "\nIoU and Boundary IoU and COCO AP of each class\n  background  " in told
    assert "pictures resized to 65 x 97; logits upsampled to the pictures' own size" in told


def test_its_costs_are_counted_at_its_own_size(overrides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "quickstart_joint", *overrides, "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["image_size"] == [65, 97]
    assert main(["profile", "quickstart_joint", *overrides, "threads=1", "--latency", "--json"]) == 0
    timed = json.loads(capsys.readouterr().out)
    assert timed["params"] == cost["params"]
    assert timed["latency_ms"]["class_map_boxes"] > timed["latency_ms"]["net"] > 0


def test_its_data_are_checked_for_masks_and_boxes(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-data", "quickstart_joint", *overrides]) == 0
    assert "every file is fine (16 pictures, 0 of them without objects" in capsys.readouterr().out
    (tmp_path / "shapes" / "SegmentationClass" / "val_000001.png").unlink()
    assert main(["check-data", "quickstart_joint", *overrides]) == 2
    assert "val_000001.png: there is no such file" in capsys.readouterr().out


def test_a_new_number_of_classes_starts_both_classifiers_afresh(overrides: list[str], tmp_path: Path) -> None:
    run(overrides, tmp_path / "run")
    weights = tmp_path / "run" / "best.safetensors"
    root = tmp_path / "shapes"
    for file in (root / "Annotations").iterdir():
        for name in SHAPES:
            file.write_text(file.read_text().replace(f"<name>{name}</name>", "<name>thing</name>"))
    for file in (root / "SegmentationClass").iterdir():
        with Image.open(file) as mask:
            one = mask.point(lambda label: min(label, 1))
        one.save(file)
    again = [f"model.weights={weights}", "model.new_classifier=true", "data.classes=[background, thing]"]
    run([*overrides, *again], tmp_path / "again")
    card = mbseg.load(tmp_path / "again" / "best.safetensors").card
    assert card is not None and card.classes == ("background", "thing")


@pytest.mark.parametrize(
    "options",
    [
        ["train.joint_weights.segmentation=3", "train.loss.class_weights=inverse_log", "train.loss.dice=1"],
        ["model.output_stride=8", "model.head.kind=deeplabv3", "model.align_corners=false", "train.loss.stride=1"],
        ["model.backbone.name=mobilenet_v3_small", "data.augment.zoom_out=2", "data.augment.iou_crop=true"],
    ],
    ids=lambda options: options[0],
)
def test_every_option_trains_and_evaluates(options: list[str], overrides: list[str], tmp_path: Path) -> None:
    result = run([*overrides, "train.steps=1", "train.evaluate_every=1", *options], tmp_path / "run")
    assert 0 <= float(str(result["joint_score"])) <= 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.crop_size=[65, 65]", "data.crop_size belongs to segmentation, and task is joint"),
        ("data.augment.scale=[0.8, 1.2]", "data.augment.scale belongs to segmentation"),
        ("evaluate.flip=true", "evaluate.flip belongs to segmentation"),
        ("model.head.kind=ssdlite", "no head named 'ssdlite'"),
        ("data.classes=[disc, square]", "the classes are disc, square; of task=joint they begin with background"),
        ("train.batch_size=1", "needs two pictures or more; use 2, and halve model.image_size"),
        ("model.image_size=64", r"a model.image_size of 2 \* k \+ 1, not \[64, 64\]"),
        ("train.detection_loss.classification=focal", "goes with model.head.scores=sigmoid"),
        ("data.kind=camvid", "the classes are sky"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    overrides: list[str], tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run([*overrides, override], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keys_of_the_joint_task_are_refused_for_others() -> None:
    with pytest.raises(ConfigError, match=r"train.joint_weights belongs to joint, and task is segmentation"):
        load_experiment("quickstart", ["train.joint_weights.detection=2"])


def test_a_split_without_a_mask_is_refused(overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "shapes" / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"no picture of split 'train' .* has a mask; task=detection needs none"):
        run(overrides, tmp_path / "run")


def test_a_grid_of_joint_models_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "grid.yaml"
    tree = {"base": "quickstart_joint", "title": "seeds", "name": "{train.seed}", "columns": {}}
    grid.write_text(yaml.safe_dump({**tree, "rows": [{"axes": {"train.seed": [0, 1]}}]}))
    assert main(["tradeoff", str(grid), "--counts-only"]) == 2
    assert "task is joint; rows are compared by one score" in capsys.readouterr().err
