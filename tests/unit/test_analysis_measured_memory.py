import pytest
import torch
from torch import nn

from mbseg.analysis.measured_memory import has_high_water_mark, measure_peak_memory
from mbseg.analysis.profile import profile
from mbseg.create import create_segmenter
from mbseg.detectors import create_detector

SIZE = (257, 257)
NETWORKS = {
    "V1, stride 16, dense": lambda: create_segmenter("mobilenet_v1", aspp="dense", output_stride=16),
    "V2, stride 16, none": lambda: create_segmenter("mobilenet_v2", aspp="none", output_stride=16),
    "V2, stride 8, none": lambda: create_segmenter("mobilenet_v2", aspp="none", output_stride=8),
    "V3-Large, LR-ASPP": lambda: create_segmenter("mobilenet_v3_large", head="lraspp"),
    "V2, DeepLabV3+": lambda: create_segmenter("mobilenet_v2", head="deeplabv3plus"),
    "V2, SSDLite": lambda: create_detector("mobilenet_v2", image_size=SIZE),
}

needs_linux = pytest.mark.skipif(not has_high_water_mark(), reason="no high-water mark that can be set back")


@needs_linux
@pytest.mark.parametrize("name", NETWORKS)
def test_measured_peak_memory_is_the_counted_one(name):
    model = NETWORKS[name]()
    counted = profile(model, image_size=SIZE).peak_activation_bytes
    assert measure_peak_memory(model, SIZE, threads=1) == pytest.approx(counted, rel=0.15)
    assert model.training


@needs_linux
def test_weights_are_not_in_it():
    wide = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2**20, 1))  # 16 MiB of weights
    assert measure_peak_memory(wide, (900, 900), threads=1) == pytest.approx(4 * (3 * 900 * 900 + 2**20), rel=0.15)


def test_where_nothing_can_be_measured_there_is_no_figure():
    with torch.device("meta"):
        model = nn.Conv2d(3, 8, 1)
    assert measure_peak_memory(model, SIZE) is None
