"""What all tests share: fixed random numbers and, where it is at hand, the real data."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pictures are small here: threads wait for one another, and for others

import pytest
import torch
from hypothesis import settings

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"

settings.register_profile("mbseg", deadline=None, derandomize=True)
settings.load_profile("mbseg")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command that runs in this process lets mbseg speak on the stderr of its test, which is closed behind it."""
    logger = logging.getLogger("mbseg")
    before = logger.level, logger.handlers, logger.propagate
    yield
    logger.level, logger.handlers, logger.propagate = before


@pytest.fixture
def shared_data() -> Path:
    """The folder of real pictures and weights beside the project; tests that need it are skipped without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
