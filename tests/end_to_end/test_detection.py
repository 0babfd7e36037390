"""Detection as users run it: train, resume, evaluate, load; on a few drawn pictures."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mbseg
from mbseg.boxes.detections import RawDetections
from mbseg.build_detection import dataset
from mbseg.cli import main
from mbseg.config.load import load_experiment
from mbseg.data.shapes import draw_shapes
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.fit import Trainer
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import ConfigError, DataError
from mbseg.evaluation import check_boxes_are_asked_of_a_detector
from mbseg.metrics.coco_json import instances, judge
from mbseg.models.detection import DetectionModel
from mbseg.training import train

SHAPES = ("disc", "square", "triangle", "ring", "star", "cross")


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """The quickstart, cut short."""
    draw_shapes(tmp_path / "shapes", train=12, val=4, size=(64, 96))
    return [
        *(f"data.root={tmp_path / 'shapes'}", "data.workers=0", "device=cpu", "model.image_size=[64, 96]"),
        *("train.steps=4", "train.batch_size=4", "train.evaluate_every=2", "train.samples=1"),
    ]


def run(overrides: list[str], output: Path, *, resume: bool = False) -> dict[str, object]:
    return train(load_experiment("quickstart_detection", overrides), RunFolder(output), resume=resume)


def test_a_run_folder_holds_all_that_is_promised(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "quickstart_detection", *overrides, "--output", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"ap", "ap50", "voc_map", "voc07_map", "last_ap", "weights"} <= result.keys()
    folder = RunFolder(tmp_path / "run")
    for path in (folder.config, folder.metrics, folder.last, folder.best, folder.curve, folder.result):
        assert path.stat().st_size > 0, path
    assert {path.name[:6] for path in folder.samples.iterdir()} == {"000002", "000004"}
    with Image.open(next(folder.samples.iterdir())) as sheet:
        assert sheet.size == (3 * 2 * 96 + 2, 3 * 64)  # truth and prediction, enlarged, and a line between them


def test_the_best_weights_are_a_detector_that_knows_its_classes(overrides: list[str], tmp_path: Path) -> None:
    run(overrides, tmp_path / "run")
    model = mbseg.load(tmp_path / "run" / "best.safetensors")
    assert isinstance(model, DetectionModel)
    assert model.image_size == (64, 96)
    assert model.card is not None
    assert model.card.classes == SHAPES  # the background is none of them
    assert len(set(model.card.palette)) == len(SHAPES)
    raw = model(torch.zeros(1, 3, 64, 96))
    assert isinstance(raw, RawDetections)
    assert raw.class_logits.shape[2] == len(SHAPES) + 1


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
    results = tmp_path / "results.json"
    weights = str(tmp_path / "run" / "best.safetensors")
    assert main(["evaluate", weights, "--predictions", str(results), "--judge", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["ap50"] == pytest.approx(trained["ap50"], abs=1e-6)
    assert scores["params"] > 0
    assert scores["madds"] > 0
    split = dataset(load_experiment("quickstart_detection", overrides), "val", augment=False).split
    judged = judge(instances(split), json.loads(results.read_text()))
    assert judged == scores["pycocotools"]
    assert judged["ap50"] > 0
    assert {name: scores[name] for name in judged} == judged
    assert judged["ap_large"] is None
    assert main(["evaluate", weights, "--judge"]) == 0
    told = capsys.readouterr().out
    assert "\nAP large        none of this size\n" in told
    assert told.endswith("pycocotools     the same 12 figures\n")


def test_predictions_are_refused_before_any_work_where_they_cannot_be_written(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(overrides, tmp_path / "run")
    weights = str(tmp_path / "run" / "best.safetensors")
    (tmp_path / "taken.json").write_text("mine")
    assert main(["evaluate", weights, "--predictions", str(tmp_path / "taken.json")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "taken.json").read_text() == "mine"
    assert main(["evaluate", weights, "--predictions", str(tmp_path / "nowhere" / "a.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "boxes"), [("--judge", (None, True)), ("--predictions", (Path("a.json"), False))])
def test_boxes_are_not_asked_of_a_segmenter(option: str, boxes: tuple[Path | None, bool]) -> None:
    with pytest.raises(ConfigError, match=f"{option} is about boxes, and the task here is segmentation"):
        check_boxes_are_asked_of_a_detector(load_experiment("quickstart", []), *boxes)


def test_one_picture_a_batch_can_be_trained_on(overrides: list[str], tmp_path: Path) -> None:
    assert "ap" in run([*overrides, "train.batch_size=1"], tmp_path / "run")


def test_the_classes_of_ones_own_file_are_kept_in_the_weights(tmp_path: Path) -> None:
    """They need not be named in the config, nor is the file needed afterwards."""
    Image.fromarray(np.zeros((70, 80, 3), np.uint8)).save(tmp_path / "a.png")
    tree = {
        "images": [{"id": 7, "file_name": "a.png", "height": 70, "width": 80}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 30, "bbox": [5, 5, 40, 40], "area": 1600, "iscrowd": 0}
        ],
        "categories": [{"id": 30, "name": "bird"}, {"id": 4, "name": "nest"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(tree))
    own = ["data.kind=coco_json", f"data.root={tmp_path}", "data.val=train", "data.workers=0", "device=cpu"]
    run([*own, "train.steps=1", "train.batch_size=1", "train.samples=0"], tmp_path / "run")
    (tmp_path / "train.json").unlink()
    model = mbseg.load(tmp_path / "run" / "best.safetensors")
    assert model.card is not None
    assert model.card.classes == ("nest", "bird")


def test_faulty_boxes_of_a_training_split_are_counted_and_left_out(
    overrides: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("mbseg"), "propagate", True)
    file = next((tmp_path / "shapes" / "Annotations").glob("train_*.xml"))
    faulty = "<xmin>20</xmin><ymin>5</ymin><xmax>10</xmax><ymax>9</ymax>"
    entry = f"<object><name>disc</name><difficult>0</difficult><bndbox>{faulty}</bndbox></object></annotation>"
    file.write_text(file.read_text().replace("</annotation>", entry))
    with caplog.at_level("WARNING", logger="mbseg"):
        dataset(load_experiment("quickstart_detection", overrides), "train", augment=True)
    assert "1 dropped (swapped); `mbseg check-data` names each" in caplog.text


def test_a_split_without_a_single_object_is_refused(overrides: list[str], tmp_path: Path) -> None:
    for file in (tmp_path / "shapes" / "Annotations").glob("val_*.xml"):
        file.write_text("<annotation></annotation>")
    with pytest.raises(DataError, match=r"no picture of split 'val' .* has an object that is neither"):
        run(overrides, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.augment.scale=[0.8, 1.2]", "data.augment.scale belongs to segmentation, and task is detection"),
        ("evaluate.flip=true", "evaluate.flip belongs to segmentation"),
        ("model.head.kind=lraspp", "head is 'lraspp'; it can be ssdlite"),
        ("data.classes=[background, disc]", "name 'background', which detection does not count"),
        ("train.detection_loss.classification=focal", "goes with model.head.scores=sigmoid"),
        ("model.image_size=32", "should be greater than or equal to 64, not 32"),
        ("model.head.maps=[c5, c4]", "the finer ones first"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    overrides: list[str], tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run([*overrides, override], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keys_of_detection_are_refused_for_segmentation() -> None:
    with pytest.raises(ConfigError, match=r"model.image_size belongs to detection, and task is segmentation"):
        load_experiment("quickstart", ["model.image_size=[64, 64]"])


@pytest.mark.parametrize(
    "options",
    [
        ["train.detection_loss.classification=focal", "model.head.scores=sigmoid"],
        ["model.head.box_plan=torchvision", "train.detection_loss.least_negatives=2", "train.precision=fp32"],
        ["model.backbone.name=mobilenet_v3_small", "model.backbone.reduced_tail=true", "train.freeze_norm=true"],
        ["model.backbone.name=mobilenet_v1", "model.backbone.padding=tensorflow", "train.channels_last=false"],
        ["model.head.maps=[c3, c4, c5]", "data.augment.zoom_out=1", "data.augment.iou_crop=false"],
        ["evaluate.selection.detections=5", "evaluate.selection.score_threshold=0.9", "train.ema_decay=null"],
    ],
    ids=lambda options: options[0],
)
def test_every_option_trains_and_evaluates(options: list[str], overrides: list[str], tmp_path: Path) -> None:
    result = run([*overrides, "train.steps=1", "train.evaluate_every=1", *options], tmp_path / "run")
    assert 0 <= float(str(result["ap50"])) <= 1
