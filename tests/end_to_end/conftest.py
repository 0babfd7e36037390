"""A tiny drawn data set and a tiny experiment on it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mbseg.data.shapes import draw_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, train=14, val=5, size=(60, 75))
    return root


@pytest.fixture(scope="session")
def tiny_experiment(shapes: Path) -> dict[str, Any]:
    """Six steps, three an epoch; nothing in it needs the working directory."""
    return {
        "device": "cpu",
        "threads": 1,
        "model": {"backbone": {"width_mult": 0.35}, "output_stride": 16, "head": {"channels": 16}},
        "data": {"kind": "shapes", "root": str(shapes), "crop_size": [49, 49], "workers": 0},
        "train": {
            "steps": 6,
            "batch_size": 4,
            "evaluate_every": 3,
            "log_every": 2,
            "samples": 1,
            "ema_decay": 0.9,
        },
    }


@pytest.fixture
def config(tmp_path: Path, tiny_experiment: dict[str, Any]) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_experiment))
    return str(path)
