"""The grids that come with mbseg, beside the configs and the results that come with it."""

from functools import cache
from pathlib import Path

import pytest

from mbseg.config.grid import load_grid
from mbseg.config.load import load_experiment
from mbseg.resources import config_names, shipped_folder
from mbseg.tradeoff.addresses import score_address, training_address
from mbseg.tradeoff.results import Results
from mbseg.tradeoff.rows import Row, rows_of

ROOT = Path(__file__).parents[2]
GRIDS = [name for name in config_names() if name.startswith("tradeoff/")]
VOC = "voc/deeplabv3_"
RECIPES = {  # row of voc_table7: the configs that train it, and that evaluate it
    "V1 last map, ASPP, OS 16": ("mobilenet_v1_os16_dense", "mobilenet_v1_os16_dense"),
    "V1 last map, ASPP, OS 8, MF": ("mobilenet_v1_os16_dense", "mobilenet_v1_os8_dense_mf"),
    "V2 *, ASPP, OS 16": ("mobilenet_v2_os16_dense", "mobilenet_v2_os16_dense"),
    "V2 *, ASPP, OS 8, MF": ("mobilenet_v2_os16_dense", "mobilenet_v2_os8_dense_mf"),
    "V2 *, no ASPP, OS 16": ("mobilenet_v2_os16_none", "mobilenet_v2_os16_none"),
    "V2 *, no ASPP, OS 8, MF": ("mobilenet_v2_os16_none", "mobilenet_v2_os8_none_mf"),
    "ResNet-101 last map, ASPP, OS 16": ("resnet101_beta_os16_dense", "resnet101_beta_os16_dense"),
    "ResNet-101 last map, ASPP, OS 8, MF": ("resnet101_beta_os16_dense", "resnet101_beta_os8_dense_mf"),
    "V2 last map, ASPP, OS 16": ("mobilenet_v2_os16_dense_last_conv", "mobilenet_v2_os16_dense_last_conv"),
    "V2 last map, no ASPP, OS 16": ("mobilenet_v2_os16_none_last_conv", "mobilenet_v2_os16_none_last_conv"),
    "V2 *, separable ASPP, OS 16": ("mobilenet_v2_os16_separable", "mobilenet_v2_os16_separable"),
}
COCO = "coco/ssdlite_mobilenet_"
DETECTORS = {  # row of coco_ssdlite: the config that trains and evaluates it
    "V1, 320": "v1",
    "V2, 320": "v2",
    "V2 0.5, 320": "v2_050",
    "V2 0.35, 320": "v2_035",
    "V3-Large, 320": "v3_large",
    "V3-Large reduced, 320": "v3_large_reduced",
    "V3-Small, 320": "v3_small",
    "V3-Small reduced, 320": "v3_small_reduced",
}


@cache
def rows(grid: str) -> dict[str, Row]:
    return {row.name: row for row in rows_of(*load_grid(grid))}


def score_addresses(row: Row) -> dict[int, str]:
    """By seed."""
    return {seed: score_address(training_address(one), row.experiment) for seed, one in row.trainings.items()}


def assert_same(row: Row, *, trained: str, evaluated: str) -> None:
    """A training of the recipe is found by the grid, and so is its score."""
    ((seed, training),) = row.trainings.items()
    address = training_address(load_experiment(trained))
    assert training_address(training) == address
    assert score_addresses(row)[seed] == score_address(address, load_experiment(evaluated))


@pytest.mark.parametrize("name", RECIPES)
def test_table_7_is_trained_and_evaluated_as_the_configs_of_voc_do(name: str) -> None:
    trained, evaluated = RECIPES[name]
    assert_same(rows("tradeoff/voc_table7")[name], trained=VOC + trained, evaluated=VOC + evaluated)


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_are_trained_and_evaluated_as_the_configs_of_coco_do(name: str) -> None:
    config = COCO + DETECTORS[name]
    assert_same(rows("tradeoff/coco_ssdlite")[name], trained=config, evaluated=config)


def test_every_config_of_these_has_its_row() -> None:
    voc = {VOC + evaluated for _, evaluated in RECIPES.values()}
    coco = {COCO + name for name in DETECTORS.values()}
    assert voc == {name for name in config_names() if name.startswith(VOC)}
    assert coco == {name for name in config_names() if name.startswith("coco/")}


def test_the_address_of_a_shipped_training_stays_what_it_is() -> None:
    """A change orphans the results in configs/tradeoff/camvid: what asks for another training needs other results."""
    assert training_address(rows("tradeoff/camvid")["OS 16, none, c5"].trainings[0]) == "0aaa29e010a540c2"


@pytest.mark.parametrize("grid", GRIDS)
def test_every_shipped_result_is_of_a_row_and_a_seed_of_its_grid(grid: str) -> None:
    folder = shipped_folder("configs") / grid
    known = {
        address: (row.name, seed, training_address(row.trainings[seed]))
        for row in rows(grid).values()
        for seed, address in score_addresses(row).items()
    }
    for file in folder.glob("*"):
        assert file.suffix == ".json" and file.stem in known, file.name
        result = Results(folder).find(file.stem)
        assert result is not None
        assert (result.row, result.seed, result.weights) == known[file.stem], file.name


def test_the_grid_of_the_documentation_has_the_rows_that_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs/tradeoffs.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "my_grid.yaml").write_text(text)
    names = [row.name for row in rows_of(*load_grid(str(tmp_path / "my_grid.yaml")))]
    widths = [f"width {width}, {head}" for width in ("0.5", "1.0") for head in ("no ASPP", "LR-ASPP")]
    assert names == [*widths, "batch norm fused, fp32", "batch norm fused, bf16"]
