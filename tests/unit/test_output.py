"""Scores as a reader sees them."""

from pathlib import Path
from typing import Any

from mbseg.engine.run_folder import RunFolder
from mbseg.output import scores_text

SCORES = {
    "miou": 0.75,
    "per_class": {"sky": 0.5, "pedestrian": 1.0},
    "pixel_accuracy": 0.875,
    "absent": ["car"],
    "boundary_iou": 0.25,
    "per_class_boundary_iou": {"sky": 0.125, "pedestrian": 0.375},
}


def test_boundary_iou_stands_beside_iou() -> None:
    assert scores_text(SCORES).splitlines() == [
        "mIoU            0.7500",
        "Boundary IoU    0.2500",
        "pixel accuracy  0.8750",
        "IoU and Boundary IoU of each class",
        "  sky         0.5000  0.1250",
        "  pedestrian  1.0000  0.3750",
        "  not in this split, and so not in the mean: car",
    ]


def test_a_finished_run_of_an_older_version_is_shown_without_boundary_iou(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    older = {name: value for name, value in SCORES.items() if "boundary" not in name}
    folder.write_result({**older, "weights": "best.safetensors"})
    result: dict[str, Any] | None = folder.read_result()
    assert result is not None
    assert scores_text(result).splitlines() == [
        "mIoU            0.7500",
        "pixel accuracy  0.8750",
        "IoU of each class",
        "  sky         0.5000",
        "  pedestrian  1.0000",
        "  not in this split, and so not in the mean: car",
    ]
