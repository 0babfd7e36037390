"""The figures of docs/reproduction.md are what the commands it names print."""

import json
import re
from pathlib import Path

import pytest

from mbseg.cli import main
from mbseg.resources import config_names

DOC = Path(__file__).parents[2] / "docs" / "reproduction.md"
CONFIGS = {"arXiv:1801.04381": ("voc", []), "arXiv:1905.02244": ("cityscapes", ["--image-size", "1025", "2049"])}
ROW = re.compile(r"\(`(\w+)`\) \|.*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$")


def rows() -> dict[str, tuple[list[str], tuple[str, ...]]]:
    """Config -> the options it is counted with, and our params, native and tf madds as printed."""
    found: dict[str, tuple[list[str], tuple[str, ...]]] = {}
    folder, options = "", []
    for line in DOC.read_text().splitlines():
        for paper, place in CONFIGS.items():
            folder, options = place if line.startswith(f"| {paper}") else (folder, options)
        if row := ROW.search(line):
            found[f"{folder}/{row[1]}"] = (options, row.groups()[1:])
    return found


@pytest.mark.parametrize("config", rows())
def test_a_row_is_what_its_config_costs(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    options, (params, native, tf) = rows()[config]
    for accounting, madds in (("native", native), ("tf", tf)):
        assert main(["profile", config, *options, "--accounting", accounting, "--json"]) == 0
        cost = json.loads(capsys.readouterr().out)
        assert f"{cost['params'] / 1e6:.3f}" == params
        assert f"{cost['madds'] / 1e9:.3f}" == madds


def test_every_recipe_of_both_papers_is_in_the_table() -> None:
    recipes = [name for name in config_names() if name.startswith(("voc/", "cityscapes/"))]
    assert sorted(rows()) == recipes
