"""`benchmark` as users run it, each part in little; what it says of agreement is tested, its times are not."""

import json
import math
import re

import pytest

import mbseg
from mbseg.analysis import timing
from mbseg.benchmarks import coco_ap
from mbseg.benchmarks.class_map import class_map_speed, noise_logits
from mbseg.benchmarks.coco_ap import coco_ap_speed
from mbseg.benchmarks.comparison import Comparison
from mbseg.benchmarks.detection import detection_speeds, picture_speed, raw_speed
from mbseg.benchmarks.ssdlite_pair import Pair, drawn_pictures, random_pair
from mbseg.benchmarks.training import training_speed
from mbseg.cli import main
from mbseg.metrics.coco_json import judge


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


def test_coco_ap_is_compared_on_the_same_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = coco_ap_speed(4)
    assert_finite(comparison)
    assert "4 pictures, 80 classes, 400 detections, 0 of the 12 figures differ" in comparison.title
    monkeypatch.setattr(coco_ap, "judge", lambda truth, results: judge(truth, results[:350]))
    assert "0 of the 12" not in coco_ap_speed(4).title


def test_benchmark_prints_medians_and_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "coco-ap", "--pictures", "2", "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert list(comparison["ratios"]) == ["pycocotools"]
    assert main(["benchmark", "coco-ap", "--pictures", "2"]) == 0
    assert "medians of 3 turns" in capsys.readouterr().out
    assert main(["benchmark", "coco-ap", "--pictures", "0"]) == 2
