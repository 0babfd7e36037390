"""What an exported file says of itself fits together."""

from dataclasses import replace
from pathlib import Path

import pytest

from mbseg.build_common import model_card
from mbseg.config.load import make_experiment
from mbseg.errors import WeightsError
from mbseg.exported_models import exported_experiment
from mbseg.runtime.artifact import Artifact

EXPERIMENT = make_experiment(
    {"data": {"kind": "camvid", "root": "datasets/no-such-folder"}, "train": {"steps": 1}}, source="test"
)
ARTIFACT = Artifact("segmentation", "fp32", None, model_card(EXPERIMENT, {}))
FEWER = replace(ARTIFACT.card, classes=ARTIFACT.card.classes[:1], palette=ARTIFACT.card.palette[:1])


def test_the_experiment_is_that_of_the_card() -> None:
    assert exported_experiment(Path("a.onnx"), ARTIFACT, ["threads=2"]).threads == 2


@pytest.mark.parametrize("artifact", [replace(ARTIFACT, task="detection"), replace(ARTIFACT, card=FEWER)])
def test_a_card_that_contradicts_its_config_is_refused(artifact: Artifact) -> None:
    with pytest.raises(WeightsError, match="not those of its config"):
        exported_experiment(Path("a.onnx"), artifact, [])
