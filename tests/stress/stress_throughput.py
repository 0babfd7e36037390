"""What the engine does for safety costs next to nothing."""

import pytest

from tests.stress.figures import Figures
from tests.stress.throughput import measure

MOST = 1.03  # seconds of this engine over seconds of the one before


def test_a_training_is_as_fast_as_before(figures: Figures, pytestconfig: pytest.Config) -> None:
    commit = pytestconfig.getoption("against")
    found = measure(commit, pytestconfig.getoption("rounds"))
    figures.note(
        "seconds over those before", {"commit before": commit, **{key: str(one) for key, one in found.items()}}
    )
    assert all(ratio.median < MOST for key, ratio in found.items() if key.startswith("steps"))
