"""`benchmark` as users run it, each part in little; what it says of agreement is tested, its times are not."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mbseg
from mbseg import predictors
from mbseg.analysis import timing
from mbseg.benchmarks import coco_ap, frames, video
from mbseg.benchmarks.class_map import class_map_speed, noise_logits
from mbseg.benchmarks.coco_ap import coco_ap_speed
from mbseg.benchmarks.comparison import CPU, Comparison
from mbseg.benchmarks.detection import detection_speeds, picture_speed, raw_speed
from mbseg.benchmarks.frames import THEIRS, Subject, frame_speed
from mbseg.benchmarks.joint import Network, joint_speed
from mbseg.benchmarks.ssdlite_pair import Pair, drawn_pictures, random_pair
from mbseg.benchmarks.training import training_speed
from mbseg.cli import main
from mbseg.create import create_segmenter
from mbseg.errors import ConfigError
from mbseg.metrics.coco_json import judge
from mbseg.nn.norm import Normalize
from mbseg.predictors import Loaded
from mbseg.runtime.engines import drawn_frame, usable_engines
from mbseg.runtime.torch_predictor import as_images
from mbseg.weights.foreign import IMAGENET_MEAN, IMAGENET_STD
from tests.helpers import calibrated
from tests.streams import Reader, numbered, recording


@pytest.fixture(autouse=True)
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_UP_ROUNDS", 0)
    monkeypatch.setattr(timing, "FEWEST_ROUNDS", 2)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair(drawn_pictures()[1:])


def assert_finite(comparison: Comparison) -> None:
    assert all(math.isfinite(one) and one > 0 for one in comparison.milliseconds.values())
    assert len(comparison.ratios) == len(comparison.milliseconds) - 1


def logit_difference(comparison: Comparison) -> float:
    """In eager mode."""
    (figure,) = re.findall(r"logits differ by (\S+) of", comparison.title)
    return float(figure)


def boxes_found(comparison: Comparison) -> int:
    """Of torchvision's 300, in eager mode."""
    (figure,) = re.findall(r"300 boxes (\d+) are found in eager mode", comparison.title)
    return int(figure)


def test_training_steps_are_compared_at_the_same_crop_and_batch() -> None:
    training = training_speed(33, 2, seconds=0)
    assert_finite(training)
    assert "torchvision deeplabv3_mobilenet_v3_large, plain" in training.ratios


def test_class_maps_are_compared_on_the_same_logits() -> None:
    noise = class_map_speed(noise_logits((65, 65)), (65, 65), "noise", seconds=0, threads=1)
    assert_finite(noise)
    assert "0 pixels differ" in noise.title


def test_both_detectors_give_the_same_and_are_compared_with_every_number_of_threads() -> None:
    raw, boxes = detection_speeds(seconds=0, threads=(1,))
    for comparison in (raw, boxes):
        assert_finite(comparison)
        assert "1 threads" in comparison.title
    assert logit_difference(raw) < 1e-4
    assert boxes_found(boxes) >= 297


def test_a_detector_with_other_weights_is_told_from_torchvisions(pair: Pair) -> None:
    other = mbseg.create_detector("mobilenet_v3_large", reduced_tail=True, num_classes=90, box_plan="torchvision")
    broken, picture = Pair(other.eval(), pair.theirs), drawn_pictures()[0]
    assert boxes_found(picture_speed(broken, picture, seconds=0, threads=1)) < 30
    assert logit_difference(raw_speed(broken, picture, seconds=0, threads=1)) > 0.1


def test_a_joint_model_is_compared_with_two_that_say_the_same() -> None:
    comparison = joint_speed(Network("mobilenet_v2", "lraspp", 0.35, 97, 7), seconds=0, threads=1)
    assert_finite(comparison)
    assert list(comparison.ratios) == ["a segmenter, then a detector", "the segmenter", "the detector"]
    (figure,) = re.findall(r"predictions differ by (\S+) of", comparison.title)
    assert 0 < float(figure) < 1e-3


def test_coco_ap_is_compared_on_the_same_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = coco_ap_speed(4)
    assert_finite(comparison)
    assert "4 pictures, 80 classes, 400 detections, 0 of the 12 figures differ" in comparison.title
    monkeypatch.setattr(coco_ap, "judge", lambda truth, results: judge(truth, results[:350]))
    assert "0 of the 12" not in coco_ap_speed(4).title


def test_a_video_is_played_overlapped_and_one_by_one_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((12, 16, 3), number, np.uint8))
    loaded = Loaded(
        Reader(0.004), "segmentation", ("a", "b"), ((0, 0, 0), (9, 9, 9)), "reader", torch.device("cpu"), {}
    )
    monkeypatch.setattr(predictors, "load_predictor", lambda _weights, **_options: loaded)
    arguments = ["benchmark", "video", "--weights", "a.safetensors", "--source", str(tmp_path), "--seconds", "0.1"]
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    alone = result["one_by_one"]
    assert alone["frames"] == result["overlapped"]["frames"] == 6 * result["turns"]
    slowest = max(*alone["stages_ms"].values(), alone["cpu_ms"] / result["cores"])
    assert result["bound_fps"] == pytest.approx(1000 / slowest)
    assert result["of_bound"] == pytest.approx(result["overlapped"]["fps"] / result["bound_fps"])
    assert main(arguments) == 0
    assert "of the bound" in capsys.readouterr().out
    assert main(["benchmark", "video", "--weights", "a.safetensors"]) == 2
    assert "--weights and --source" in capsys.readouterr().err


def test_a_stream_is_not_played_twice_and_its_password_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replace(recording(numbered(1)), live=True)
    monkeypatch.setattr(video, "open_source", lambda _text: stream)
    with pytest.raises(ConfigError, match=r"rtsp://\*\*\*@camera: only what has an end"):
        video.recording("rtsp://user:secret@camera")


def test_frames_are_answered_in_every_engine_and_the_fastest_stands_first() -> None:
    frame, normalize = drawn_frame((65, 65)), Normalize(IMAGENET_MEAN, IMAGENET_STD)
    model = create_segmenter("mobilenet_v3_small", head="lraspp", width_mult=0.35, num_classes=21)
    calibrated(model, normalize(as_images(frame, CPU)))
    comparison = frame_speed(Subject(model.eval(), normalize, frame, "small"), [], seconds=0, threads=1)
    assert_finite(comparison)
    ours = [name for name in comparison.milliseconds if name != THEIRS and not name.endswith("argmax")]
    assert len(comparison.milliseconds) == 2 * len(ours) + 1
    assert {name.split()[1] for name in ours} == set(usable_engines("fp32", CPU))
    assert list(comparison.milliseconds.values()) == sorted(comparison.milliseconds.values())
    figures = re.findall(r" fp32 ([0-9.]+)%", comparison.title)
    assert len(figures) == len(usable_engines("fp32", CPU)) - 1
    assert all(float(figure) > 99.5 for figure in figures)


def test_another_task_cannot_be_compared_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Loaded(Reader(0), "detection", ("a",), ((0, 0, 0),), "reader", CPU, {})
    monkeypatch.setattr(frames, "load_predictor", lambda _file, **_options: detector)
    with pytest.raises(ConfigError, match=r"--exported a\.onnx: name an exported file of a segmenter"):
        frames.exported_segmenter(Path("a.onnx"))


def test_benchmark_prints_medians_and_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "coco-ap", "--pictures", "2", "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert list(comparison["ratios"]) == ["pycocotools"]
    assert main(["benchmark", "coco-ap", "--pictures", "2"]) == 0
    assert "medians of 3 turns" in capsys.readouterr().out
    assert main(["benchmark", "coco-ap", "--pictures", "0"]) == 2
