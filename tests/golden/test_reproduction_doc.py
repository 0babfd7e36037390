"""The figures of docs/reproduction.md are what the commands it names print."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mbseg.cli import main
from mbseg.config.load import load_experiment
from mbseg.resources import config_names

DOC = Path(__file__).parents[2] / "docs" / "reproduction.md"
ROW = re.compile(r"\(`(\w+)`\) \| (.*) \|$")


class Table(NamedTuple):
    """Where the configs of a table lie, and the options they are counted with."""

    folder: str
    options: tuple[str, ...] = ()


VOC, CITYSCAPES, COCO = Table("voc"), Table("cityscapes", ("--image-size", "1025", "2049")), Table("coco")
TABLES = {"arXiv:1801.04381": VOC, "arXiv:1905.02244": CITYSCAPES, "SSDLite": COCO}  # by the first cell's beginning


def rows(*tables: Table) -> dict[str, tuple[Table, list[str]]]:
    """Config -> the table it stands in, and its cells as printed."""
    found: dict[str, tuple[Table, list[str]]] = {}
    table = None
    for line in DOC.read_text().splitlines():
        table = next((one for start, one in TABLES.items() if line.startswith(f"| {start}")), table)
        if (row := ROW.search(line)) and table in tables:
            found[f"{table.folder}/{row[1]}"] = (table, [cell.strip() for cell in row[2].split("|")])
    return found


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    assert main([*words, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("config", rows(VOC, CITYSCAPES))
def test_a_row_is_what_its_config_costs(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    table, cells = rows(VOC, CITYSCAPES)[config]
    params, native, tf = cells[-3:]
    for accounting, madds in (("native", native), ("tf", tf)):
        cost = told(capsys, "profile", config, *table.options, "--accounting", accounting)
        assert f"{cost['params'] / 1e6:.3f}" == params
        assert f"{cost['madds'] / 1e9:.3f}" == madds


@pytest.mark.parametrize("config", rows(COCO))
def test_a_detectors_row_is_what_its_config_costs(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    *paper, classes, params, without_norm, native = rows(COCO)[config][1]
    names = ",".join(f"class{number}" for number in range(int(classes)))
    cost = told(capsys, "profile", config, f"data.classes=[{names}]")
    assert f"{cost['params'] / 1e6:.3f}" == params
    assert f"{cost['madds'] / 1e9:.4f}" == native
    backbone = load_experiment(config).model.backbone
    settings = {"width_mult": backbone.width_mult, "reduced_tail": backbone.reduced_tail, "box_plan": "standard"}
    (entry,) = [one for one in told(capsys, "models", backbone.name)["detectors"] if settings.items() <= one.items()]
    assert f"{entry['params_without_norm'] / 1e6:.3f}" == without_norm
    assert [entry[key] for key in ("params_millions", "madds_billions", "ap_percent")] == [float(one) for one in paper]


def test_every_recipe_of_the_papers_is_in_a_table() -> None:
    recipes = [name for name in config_names() if name.startswith(("voc/deeplab", "cityscapes/", "coco/"))]
    assert sorted(rows(*TABLES.values())) == recipes
