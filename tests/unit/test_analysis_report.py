import pytest
from torch import nn

from mbseg.analysis.latency import Latency
from mbseg.analysis.peaks import Peaks
from mbseg.analysis.profile import profile
from mbseg.analysis.report import (
    cost_summary,
    latency_table,
    layer_table,
    memory_line,
    roofline_summary,
    roofline_table,
    with_unit,
)
from mbseg.analysis.roofline import roofline
from mbseg.analysis.timing import Timing


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (864, "864"), (5397, "5.397 K"), (2_113_557, "2.114 M"), (387_571_451_280, "387.571 B")],
)
def test_large_numbers_carry_a_unit(number, text):
    assert with_unit(number) == text


def test_the_layer_table_has_a_line_for_each_convolution_and_one_for_the_rest(model):
    lines = layer_table(profile(model, image_size=(10, 20))).splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "------", "0", "2", "others", "sum"]
    assert lines[2].split("  ")[-1].strip() == "93.1 %"  # 27 * 8 of 27 * 8 + 8 * 2 multiply-adds a pixel
    assert "8 x 10 x 20" in lines[2]
    assert "BatchNorm2d" in lines[4]


def test_the_summary_says_size_passes_and_accounting(model):
    text = cost_summary(profile(model, image_size=(9, 17), accounting="tf", scales=(0.5, 1.0), flip=True))
    assert "9 x 17 (height x width), 4 passes at scales 0.5, 1, each with its mirror image" in text
    assert "tf accounting" in text


def test_a_latency_names_all_it_holds_for():
    timing = Timing(median_ms=12.34, p95_ms=20.0, runs=9)
    latency = Latency(
        {"net": timing, "boxes": timing}, (513, 257), batch=2, threads=4, device="cpu", backend="torch eager"
    )
    title = latency_table(latency).splitlines()[0]
    assert title == "513 x 257 (height x width), batch 2, 4 threads, cpu, torch eager, 9 runs each"


def test_a_detectors_columns_are_told_apart():
    timings = {"net": Timing(2.0, 3.0, runs=9), "boxes": Timing(4.0, 5.0, runs=9)}
    lines = latency_table(Latency(timings, (320, 320), batch=1, threads=1, device="cpu", backend="torch")).splitlines()
    assert lines[3].split() == ["net", "2.0", "3.0"]
    assert lines[4].startswith("net + boxes")
    assert lines[4].split()[-2:] == ["4.0", "5.0"]


def test_a_sum_of_medians_has_no_percentile():
    latency = Latency({"net": Timing(2.0, None, runs=3)}, (9, 9), batch=1, threads=1, device="cpu", backend="torch")
    assert latency_table(latency).splitlines()[-1].split() == ["net", "2.0"]


def test_bounds_stand_beside_what_was_measured(model):
    peaks = Peaks(2e6, 1e9, 1e9, cache_bytes=2**20, threads=2, precision="fp32")
    bound = roofline(model, peaks, image_size=(10, 20))  # 200 * 27 * 8 and 200 * 8 * 2 multiply-adds
    first, second = roofline_table(bound, {"0": 54.0}).splitlines()[2:]
    assert first.split() == ["0", "conv", "3x3", "compute", "21.600", "54.000", "2.5", "x"]
    assert second.split() == ["2", "conv", "1x1", "compute", "1.600"]
    latency = Latency({"net": Timing(46.4, 50.0, runs=9)}, (10, 20), batch=1, threads=2, device="cpu", backend="torch")
    lines = roofline_summary(bound, latency).splitlines()
    assert "23.20 ms, in layers bound by: compute 100.0 %, cache 0.0 %, memory 0.0 %" in lines[0]
    assert "46.40 ms, 2.0 x the bound" in lines[1]
    assert "2.000 M multiply-adds/s, memory 1.0 GB/s, cache (1 MiB) 1.0 GB/s; fp32, 2 threads" in lines[2]


def test_measured_memory_stands_beside_the_counted(model):
    cost = profile(model, image_size=(100, 200))
    counted = cost.peak_activation_bytes / 1e6
    assert memory_line(cost, 3_200_000).endswith(f"3.2 MB measured, {counted:.1f} MB of activations counted")
