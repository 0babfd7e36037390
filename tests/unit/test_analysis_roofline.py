from dataclasses import replace

import pytest
from torch import nn

from mbseg.analysis.latency import measure_latency
from mbseg.analysis.peaks import Peaks, measure_peaks
from mbseg.analysis.profile import profile
from mbseg.analysis.roofline import roofline
from mbseg.create import create_segmenter
from mbseg.detectors import create_detector
from mbseg.errors import ConfigError

FAST = Peaks(1e12, 1e12, 1e12, cache_bytes=10**9, threads=1, precision="fp32")
SIZE = (10, 20)
CONV = nn.Conv2d(3, 8, 3, padding=1, bias=False)  # at SIZE it reads 600 + 216 elements and writes 1600


@pytest.fixture
def segmenter():
    return create_segmenter("mobilenet_v2", width_mult=0.35, aspp="dense", num_classes=4)


def bound(model, peaks, **request):
    (layer,) = roofline(model, peaks, image_size=SIZE, **request).layers
    return layer


def test_a_machine_that_computes_slowly_is_bound_by_it():
    layer = bound(CONV, replace(FAST, madds_per_second=1e6))
    assert (layer.kind, layer.madds, layer.bound_by) == ("conv 3x3", 200 * 27 * 8, "compute")
    assert layer.bound_ms == layer.compute_ms == pytest.approx(43.2)


def test_tensors_that_fit_the_cache_move_at_its_rate():
    layer = bound(CONV, replace(FAST, cache_bytes_per_second=1e6, memory_bytes_per_second=1e-6))
    assert (layer.bytes, layer.memory_bytes, layer.bound_by) == (4 * (600 + 216 + 1600), 0, "cache")
    assert layer.bound_ms == layer.cache_ms == pytest.approx(9.664)


def test_what_exceeds_the_cache_moves_at_the_rate_of_memory():
    layer = bound(CONV, replace(FAST, cache_bytes=1000, memory_bytes_per_second=1e6))
    assert (layer.memory_bytes, layer.bound_by) == (2400 - 1000 + 6400 - 1000, "memory")
    assert layer.bound_ms == layer.memory_ms == pytest.approx(6.8)


def test_bf16_moves_half_the_bytes():
    assert bound(CONV, replace(FAST, precision="bf16")).bytes == 2 * (600 + 216 + 1600)


def test_a_batch_reads_its_weights_once():
    layer = bound(CONV, FAST, batch=3)
    assert (layer.madds, layer.bytes) == (3 * 200 * 216, 4 * (3 * 600 + 216 + 3 * 1600))


def test_pixels_that_a_stride_leaves_out_are_not_read():
    assert bound(nn.Conv2d(3, 8, 1, stride=2, bias=False), FAST).bytes == 4 * (150 + 24 + 400)
    assert bound(nn.Conv2d(3, 8, 2, stride=2, bias=False), FAST).bytes == 4 * (600 + 96 + 400)


def test_a_transposed_convolution_reads_all_its_input():
    assert bound(nn.ConvTranspose2d(3, 2, 2, stride=2), FAST).bytes == 4 * (600 + 24 + 2 + 1600)


def test_a_matrix_product_reads_both_sides_and_the_bias():
    layer = bound(nn.Linear(20, 5), FAST)
    assert (layer.kind, layer.bytes) == ("matrix product", 4 * (600 + 100 + 5 + 150))


def test_what_backends_fuse_is_free():
    rest = (nn.BatchNorm2d(8), nn.ReLU6(), nn.AvgPool2d(3, 1, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
    assert bound(nn.Sequential(CONV, *rest), FAST) == replace(bound(CONV, FAST), name="0")


def test_layers_stand_in_the_order_in_which_they_run_and_add_up(segmenter):
    whole = roofline(segmenter, FAST, image_size=(65, 97))
    assert (whole.layers[0].name, whole.layers[-1].name) == ("backbone.stem.conv", "head.classifier")
    assert sum(layer.bound_ms for layer in whole.layers) == pytest.approx(whole.ms)
    assert sum(whole.share(roof) for roof in ("compute", "cache", "memory")) == pytest.approx(1)


def test_passes_add_up(segmenter):
    peaks = replace(FAST, cache_bytes=10**5)
    single = [roofline(segmenter, peaks, image_size=size) for size in ((33, 49), (113, 169))]
    passes = roofline(segmenter, peaks, image_size=(65, 97), scales=(0.5, 1.75), flip=True)
    assert passes.ms == pytest.approx(2 * sum(one.ms for one in single))
    assert sum(layer.bytes for layer in passes.layers) == 2 * sum(layer.bytes for one in single for layer in one.layers)
    assert len(passes.layers) == len(single[0].layers)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_multiply_adds_are_those_of_the_native_accounting(task, segmenter):
    detector = create_detector("mobilenet_v3_small", width_mult=0.35, num_classes=3, image_size=(96, 64))
    model = segmenter if task == "segmentation" else detector
    cost, whole = profile(model, image_size=(96, 64)), roofline(model, FAST, image_size=(96, 64))
    madds = {layer.name: layer.madds for layer in cost.layers if layer.madds}
    assert {layer.name: layer.madds for layer in whole.layers} == madds


@pytest.mark.parametrize("output_stride", [8, 32])
def test_no_network_runs_faster_than_its_bound(output_stride):
    model = create_segmenter("mobilenet_v2", output_stride=output_stride, num_classes=4)
    peaks = measure_peaks(threads=1, seconds=0.5)
    taken = measure_latency(model, (129, 129), threads=1, seconds=0).columns["net"].median_ms
    assert 0 < roofline(model, peaks, image_size=(129, 129)).ms < taken


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": (0, 9)}, "must be 1 or more"),
        ({"image_size": SIZE, "batch": 0}, "batch is 0; it must be 1 or more"),
        ({"image_size": SIZE, "scales": ()}, "one or more numbers above 0"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        roofline(CONV, FAST, **wrong)
