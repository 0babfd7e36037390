"""`mbseg profile --latency`: the roofline bound beside what was measured."""

import json

import pytest

from mbseg.cli import main


def test_every_layer_has_a_bound_and_a_time(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", config, "--image-size", "65", "97", "--latency", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    bound = told["roofline"]
    assert 0 < bound["bound_ms"] < told["latency_ms"]["net"]
    assert (bound["peaks"]["threads"], bound["peaks"]["precision"]) == (1, "fp32")
    assert sum(layer["madds"] for layer in bound["layers"]) == told["madds"]
    assert sum(layer["bound_ms"] for layer in bound["layers"]) == pytest.approx(bound["bound_ms"])
    assert {layer["bound_by"] for layer in bound["layers"]} <= {"compute", "cache", "memory"}
    assert all(layer["measured_ms"] > 0 for layer in bound["layers"])
    assert told.get("measured_peak_bytes", 1) > 0  # Linux alone can tell


def test_nothing_is_measured_without_being_asked(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", config, "--json"]) == 0
    counted = {"params", "madds", "peak_activation_bytes", "image_size", "accounting", "scales", "flip"}
    assert json.loads(capsys.readouterr().out).keys() == counted
