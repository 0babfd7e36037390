"""`evaluate` with every way to run the network: the scores are those of the same weights."""

import json
from pathlib import Path

import pytest

from mbseg.cli import main
from mbseg.data.shapes import draw_shapes

WAYS = {
    (): "",
    ("evaluate.backend=fused",): ", batch norm fused",
    ("evaluate.precision=bf16",): ", bf16",
    ("evaluate.backend=fused", "evaluate.precision=bf16"): ", bf16, batch norm fused",
    ("evaluate.backend=openvino",): ", openvino fp32",
}


def evaluated(capsys: pytest.CaptureFixture[str], weights: Path, *overrides: str) -> dict[str, object]:
    capsys.readouterr()
    assert main(["evaluate", str(weights), *overrides, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("passes", [(), ("evaluate.scales=[0.75, 1.25]", "evaluate.flip=true")], ids=["one", "MF"])
def test_a_segmenters_score_and_cost_hold_for_every_backend(
    passes: tuple[str, ...], config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "run" / "best.safetensors"
    assert main(["train", config, "--output", str(tmp_path / "run")]) == 0
    results = {way: evaluated(capsys, weights, *passes, *way) for way in WAYS}
    plain = results[()]
    for way, result in results.items():
        assert result["protocol"] == f"{plain['protocol']}{WAYS[way]}"
        assert result["pixel_accuracy"] == pytest.approx(plain["pixel_accuracy"], abs=0.03)
        assert all(result[cost] == plain[cost] for cost in ("params", "madds", "image_size"))
    assert results[("evaluate.backend=fused",)]["miou"] == pytest.approx(plain["miou"], abs=1e-3)


def test_a_detectors_score_holds_for_every_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_shapes(tmp_path / "shapes", train=12, val=4, size=(64, 96))
    small = [f"data.root={tmp_path / 'shapes'}", "data.workers=0", "device=cpu", "model.image_size=[64, 96]"]
    short = ["train.steps=8", "train.batch_size=4", "train.evaluate_every=8", "train.samples=0"]
    assert main(["train", "quickstart_detection", *small, *short, "--output", str(tmp_path / "run")]) == 0
    results = {way: evaluated(capsys, tmp_path / "run" / "best.safetensors", *way) for way in WAYS}
    plain = results[()]
    for way, result in results.items():
        assert result["protocol"] == f"{plain['protocol']}{WAYS[way]}"
        assert result["ap50"] == pytest.approx(plain["ap50"], abs=0.05)
        assert all(result[cost] == plain[cost] for cost in ("params", "madds"))
