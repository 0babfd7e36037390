"""A tiny drawn data set and a tiny experiment on it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mbseg import build_common
from mbseg.build import builder
from mbseg.config.load import make_experiment
from mbseg.data.shapes import draw_shapes
from mbseg.weights.store import save_weights
from tests.helpers import calibrated

HEADS = {"segmentation": {"kind": "lraspp"}, "detection": {}, "joint": {"kind": "lraspp"}}
NETWORK_SIZE = (64, 96)  # of what finds boxes


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


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: dict[str, Any]) -> Callable[[str], Path]:
    """By task, the weights of a network that finds something everywhere, though it was never trained."""
    made: dict[str, Path] = {}

    def weights(task: str) -> Path:
        if task not in made:
            made[task] = tmp_path_factory.mktemp("weights") / f"{task}.safetensors"
            save_untrained(made[task], task, tiny_experiment)
        return made[task]

    return weights


def save_untrained(file: Path, task: str, tree: dict[str, Any]) -> None:
    size = {} if task == "segmentation" else {"image_size": NETWORK_SIZE}
    model = {"backbone": {"name": "mobilenet_v3_small", "width_mult": 0.35}, "head": HEADS[task], **size}
    data = {name: tree["data"][name] for name in ("kind", "root", "workers")}
    experiment = make_experiment(
        {**tree, "task": task, "model": model, "data": data, "train": {"steps": 1}}, source="test"
    )
    torch.manual_seed(0)
    network = builder(task).task(experiment, weights=False).model
    calibrated(network, torch.nn.functional.interpolate(torch.randn(16, 3, 5, 5), NETWORK_SIZE))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "class_predictors" in name and name.endswith("pointwise.weight"):
                weight.normal_(std=0.5)
            elif name.endswith("low_classifier.weight"):
                weight.zero_()  # what is fine would differ with every rounding
    save_weights(file, network.state_dict(), build_common.model_card(experiment, {}))


@pytest.fixture
def late_signals_do_nothing() -> Iterator[None]:
    """For tests that send Ctrl-C to this very process: if the demo has ended already, it hits nobody else."""
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
