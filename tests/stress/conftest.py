"""Suites of minutes: files called stress_*.py, which only `make stress` collects."""

import pytest

from tests.stress.figures import FILE, Figures

COUNTS = {  # option: default, help
    "kills": (200, "kill -9 at random moments of a training"),
    "terminations": (50, "SIGTERM at random moments of a training"),
    "shard-kills": (40, "kill -9 at random moments of a prediction's shards"),
    "inputs": (10_000, "mutated inputs over all readers"),
    "rounds": (24, "rounds of training of the engine before and of this one"),
    "seed": (0, "of every random choice"),
}

NOTED = pytest.StashKey[Figures]()


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, (default, text) in COUNTS.items():
        parser.addoption(
            f"--{name}", dest=name.replace("-", "_"), type=int, default=default, help=f"{text} ({default})"
        )
    parser.addoption("--against", default="26ba0d7", help="the commit whose engine is the one before")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    return pytestconfig.stash.setdefault(NOTED, Figures())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if noted := config.stash.get(NOTED, None):
        noted.keep()
        terminalreporter.write_line(f"{noted.table()}\n\nkept in {FILE}")
