import pytest
import torch
from torch import Tensor, nn

from mbseg.analysis.latency import TimedNetwork, columns_of, measure_latencies, measure_latency, run_once
from mbseg.analysis.timing import Timing
from mbseg.create import create_backbone
from mbseg.detectors import create_detector
from mbseg.errors import ConfigError
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.segmentation import SegmentationModel


@pytest.fixture
def segmenter():
    backbone = create_backbone("mobilenet_v2", width_mult=0.35, output_stride=16, taps=("c5",))
    return SegmentationModel(backbone, DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=4))


@pytest.fixture
def detector():
    return create_detector("mobilenet_v3_small", width_mult=0.35, num_classes=3, image_size=(64, 96))


def sizes_seen(model: nn.Module) -> list[tuple[int, ...]]:
    """Fills with the sizes of the images that come to `model`."""
    sizes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _module, inputs: sizes.append(tuple(inputs[0].shape)))
    return sizes


def test_a_measurement_says_what_it_holds_for_and_leaves_the_model_alone(segmenter):
    segmenter.train()
    latency = measure_latency(segmenter, (33, 49), batch=2, threads=1, seconds=0)
    assert (latency.image_size, latency.batch, latency.threads, latency.device) == ((33, 49), 2, 1, "cpu")
    assert list(latency.columns) == ["net", "upsampling_argmax", "class_map"]
    assert all(timing.median_ms > 0 for timing in latency.columns.values())
    assert all(module.training for module in segmenter.modules())


def test_a_detector_is_timed_up_to_its_boxes(detector):
    latency = measure_latency(detector, detector.image_size, batch=2, threads=1, seconds=0)
    assert list(latency.columns) == ["net", "boxes"]
    assert 0 < latency.columns["net"].median_ms < latency.columns["boxes"].median_ms
    assert all(module.training for module in detector.modules())


def test_networks_are_timed_together_each_with_its_own_passes(segmenter, detector):
    sizes = sizes_seen(segmenter.eval())  # in eval mode, so it is run itself
    networks = [
        TimedNetwork(segmenter, (33, 49), scales=(0.5, 1.0), flip=True, backend="ours"),
        TimedNetwork(detector, (64, 96)),
    ]
    several, single = measure_latencies(networks, seconds=0)
    assert set(sizes) == {(1, 3, 17, 25), (1, 3, 33, 49)}
    assert (several.scales, several.flip, several.backend) == ((0.5, 1.0), True, "ours")
    assert list(several.columns) == ["net", "upsampling_argmax", "class_map"]
    assert all(timing.p95_ms is None for timing in several.columns.values())
    assert list(single.columns) == ["net", "boxes"]


def test_columns_end_with_their_own_step():
    columns = columns_of([([{"net": 10.0, "boxes": 2.0}] * 5, 1)])
    assert columns == {"net": Timing(10, 10, runs=5), "boxes": Timing(12, 12, runs=5)}


def test_passes_add_up_a_mirrored_one_twice():
    fast, slow = [{"net": 10.0, "class_map": 2.0}] * 9, [{"net": 5000.0, "class_map": 7.0}] * 3
    columns = columns_of([(fast, 2), (slow, 2)])
    assert columns == {"net": Timing(10_020, None, runs=3), "class_map": Timing(10_038, None, runs=3)}


@pytest.mark.parametrize(("trained", "deviation"), [(False, 1), (True, 0)])
def test_noise_stands_for_the_logits_of_a_network_that_was_never_trained(segmenter, trained, deviation):
    seen: list[Tensor] = []
    for parameter in segmenter.eval().parameters():
        nn.init.zeros_(parameter)
    with torch.inference_mode():
        run_once(segmenter, torch.zeros(2, 3, 257, 257), {"class_map": seen.append}, trained)
    assert seen[0].shape == (2, 4, 17, 17)
    assert seen[0].std() == pytest.approx(deviation, abs=0.1)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}])
def test_counts_below_one_are_refused(segmenter, wrong):
    with pytest.raises(ConfigError, match="1 or more"):
        measure_latency(segmenter, (33, 49), **wrong)


def test_passes_that_do_not_exist_are_refused_before_anything_is_timed(segmenter, detector):
    with pytest.raises(ConfigError, match="a detector has one pass"):
        measure_latencies([TimedNetwork(detector, (64, 96), flip=True)], seconds=0)
    with pytest.raises(ConfigError, match="scales are"):
        measure_latencies([TimedNetwork(segmenter, (33, 49), scales=())], seconds=0)
