import pytest
import torch

from mbseg.analysis.latency import measure_latency, summarize, take_turns, torch_threads
from mbseg.create import create_backbone
from mbseg.detectors import create_detector
from mbseg.errors import ConfigError
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel

CPU = torch.device("cpu")


@pytest.fixture
def segmenter():
    backbone = create_backbone("mobilenet_v2", width_mult=0.35, output_stride=16, taps=("c5",))
    return SegmentationModel(backbone, DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=4))


def test_columns_take_turns():
    calls = []
    times = take_turns({name: lambda name=name: calls.append(name) for name in "abc"}, CPU, seconds=0)
    assert "".join(calls) == "abc" * (len(calls) // 3)
    assert {name: len(column) for name, column in times.items()} == {"a": 5, "b": 5, "c": 5}


def test_median_and_p95_of_known_times():
    timing = summarize([float(number) for number in range(101)])
    assert (timing.median_ms, timing.p95_ms, timing.runs) == (50, 95, 101)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1) as used:
        assert used == before + 1
    assert torch.get_num_threads() == before


def test_a_measurement_says_what_it_holds_for_and_leaves_the_model_alone(segmenter):
    segmenter.train()
    latency = measure_latency(segmenter, (33, 49), batch=2, threads=1, seconds=0)
    assert (latency.image_size, latency.batch, latency.threads, latency.device) == ((33, 49), 2, 1, "cpu")
    assert list(latency.columns) == ["net", "upsampling_argmax", "class_map"]
    assert all(timing.median_ms > 0 for timing in latency.columns.values())
    assert all(module.training for module in segmenter.modules())


def test_a_detector_is_timed_up_to_its_boxes():
    detector = create_detector("mobilenet_v3_small", width_mult=0.35, num_classes=3, image_size=(64, 96))
    latency = measure_latency(detector, detector.image_size, batch=2, threads=1, seconds=0)
    assert list(latency.columns) == ["net", "boxes"]
    assert 0 < latency.columns["net"].median_ms < latency.columns["boxes"].median_ms
    assert all(module.training for module in detector.modules())


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}])
def test_counts_below_one_are_refused(segmenter, wrong):
    with pytest.raises(ConfigError, match="1 or more"):
        measure_latency(segmenter, (33, 49), **wrong)
