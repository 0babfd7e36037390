"""`mbseg quickstart`, small: what it leaves, and that it does nothing twice."""

from pathlib import Path

import pytest

from mbseg.cli import main
from mbseg.data.shapes import draw_shapes


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    draw_shapes(tmp_path / "shapes", train=8, val=3, size=(64, 64))
    overrides = ["train.steps=2", "train.batch_size=4", "data.crop_size=[33, 33]", "data.workers=0", "device=cpu"]
    return ["quickstart", f"data.root={tmp_path / 'shapes'}", *overrides, "--output", str(tmp_path / "run")]


def test_the_quickstart_ends_with_scores_costs_and_a_report_with_pictures(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "mIoU" in said
    assert "multiply-adds" in said
    report = (tmp_path / "run" / "report.md").read_text()
    pictures = [line.partition("](")[2].rstrip(")") for line in report.splitlines() if line.startswith("![")]
    assert len(pictures) == 2  # the curve, and the sheet of validation pictures
    for picture in pictures:
        assert (tmp_path / "run" / picture).stat().st_size > 0


def test_the_quickstart_run_again_repeats_nothing_and_says_the_same(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    first = capsys.readouterr().out
    kept = [tmp_path / "run" / name for name in ("last.pt", "best.safetensors", "evaluation.json", "result.json")]
    before = [path.stat().st_mtime_ns for path in kept]
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    assert [path.stat().st_mtime_ns for path in kept] == before
