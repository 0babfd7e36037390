"""Pictures to calibrate on, what rounding costs, and what to do about it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbseg import build_segmentation, evaluation
from mbseg.config.load import load_experiment
from mbseg.config.schema import Experiment
from mbseg.data.shapes import draw_shapes
from mbseg.errors import DataError
from mbseg.frame_scores import measure_frames
from mbseg.quantizing import CalibrationPictures, ScoreChange, advice, calibration_pictures, scores_before_and_after
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.runtime.torch_predictor import TorchSegmenter

CHANGE = ScoreChange("miou", before=0.7437, after=0.7376, split="val", images=55)


class Numbers:
    """A split whose pictures are their own numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> "Numbers":
        self.image = np.full((4, 6, 3), index % 256, np.uint8)
        return self


class Blind(FramePredictor):
    """Sees one class everywhere."""

    description = "blind"

    def __init__(self, label: int) -> None:
        self.label = label

    def __call__(self, image: UInt8Array) -> Answer:
        return Answer(mask=np.full(image.shape[:2], self.label, np.uint8))

    def input_size(self, picture: tuple[int, int]) -> tuple[int, int]:
        return picture


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    draw_shapes(tmp_path / "shapes", train=7, val=3, size=(60, 75))
    options = ["model.backbone.width_mult=0.35", "model.head.channels=16", "device=cpu", "data.workers=0", "threads=1"]
    return load_experiment("quickstart", [f"data.root={tmp_path / 'shapes'}", *options])


@given(st.integers(1, 300), st.integers(1, 300))
def test_calibration_pictures_are_spread_evenly_and_none_comes_twice(pictures: int, count: int) -> None:
    chosen = CalibrationPictures(Numbers(pictures), count)
    steps = np.diff([*chosen.indices, pictures])
    assert len(chosen) == min(count, pictures) and chosen.indices[0] == 0
    assert steps.min() >= 1 and steps.max() - steps.min() <= 1
    assert [int(image[0, 0, 0]) for image in chosen] == [index % 256 for index in chosen.indices]


def test_calibration_pictures_are_those_of_the_training_list_as_they_are_stored(experiment: Experiment) -> None:
    split = build_segmentation.dataset(experiment, "train", augment=False)
    chosen = calibration_pictures(experiment, 3)
    assert len(chosen) == 3 and len(calibration_pictures(experiment, 100)) == 7
    for image, index in zip(chosen, (0, 2, 4), strict=True):
        assert np.array_equal(image, split[index].image)


def test_for_a_file_of_one_size_they_are_resized(experiment: Experiment) -> None:
    assert {image.shape for image in calibration_pictures(experiment, 2, size=(33, 49))} == {(33, 49, 3)}


def test_missing_pictures_are_one_line_that_says_what_to_do(experiment: Experiment) -> None:
    gone = experiment.model_copy(update={"data": experiment.data.model_copy(update={"root": Path("/nowhere")})})
    with pytest.raises(DataError, match=r"^int8 is calibrated on .*'train'.*/nowhere.*data\.root=FOLDER$"):
        calibration_pictures(gone)


def test_frames_are_scored_as_evaluation_scores_the_split(experiment: Experiment) -> None:
    task = build_segmentation.task(experiment).eval()
    expected = evaluation.score(experiment, task.model.state_dict(), origin="memory")
    split = build_segmentation.dataset(experiment, "val", augment=False)
    predictor = TorchSegmenter(task.predictor, torch.device("cpu"), "torch")
    scores = measure_frames("segmentation", split, predictor, task.metric()).compute()
    assert scores.items() <= expected.items() and scores["images"] == 3


def test_a_change_holds_the_scores_of_both_over_the_validation_list(experiment: Experiment) -> None:
    change = scores_before_and_after(experiment, Blind(0), Blind(1))
    assert (change.score, change.split, change.images) == ("miou", "val", 3)
    assert change.before > change.after  # most pixels are background


def test_a_change_is_told_in_points() -> None:
    assert str(CHANGE) == "miou 0.7437 in fp32, 0.7376 in int8 (-0.61 points) over the 55 pictures of 'val'"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["model.backbone.name=mobilenet_v3_small"], "model.backbone.name=mobilenet_v3_small_minimal"),
        (["model.backbone.name=mobilenet_v3_small_minimal"], "train.quantization_aware=true model.weights="),
        (["model.backbone.name=mobilenet_v2"], "train.quantization_aware=true model.weights="),
        (["train.quantization_aware=true"], "more steps"),
    ],
    ids=lambda value: str(value),
)
def test_advice_is_given_for_a_large_drop_alone(options: list[str], words: str) -> None:
    experiment = load_experiment("quickstart", options)
    assert advice(experiment, CHANGE) is None
    told = advice(experiment, CHANGE._replace(after=0.7))
    assert told is not None and words in told and "\n" not in told
