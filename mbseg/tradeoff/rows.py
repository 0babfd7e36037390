"""From a grid to its rows: every one an experiment that could be run, checked before any is."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mbseg.config.grid import (
    MOST_ROWS,
    BlockConfig,
    Combination,
    GridConfig,
    base_tree,
    combinations,
    nested_tree,
)
from mbseg.config.load import Tree, make_experiment, merge, parse_override
from mbseg.config.schema import Experiment, Section
from mbseg.errors import ConfigError
from mbseg.models.framing import fit_longer_side

Size = tuple[int, int]  # (height, width)
FIELD = re.compile(r"\{([a-z0-9_.]+)(?:\[([^\[\]{}]+)\])?\}")  # {model.output_stride}, {choice[axis]}


@dataclass(frozen=True)
class Row:
    """One line of the table, and one mark in the chart."""

    name: str  # of no other row
    group: str
    columns: Mapping[str, str]  # heading -> what stands there
    experiment: Experiment  # as it is measured and scored
    trainings: Mapping[int, Experiment] = field(repr=False)  # seed -> as it is trained
    image_size: Size  # of costs and latencies


def rows_of(grid: GridConfig, path: Path, overrides: Sequence[str] = ()) -> list[Row]:
    """The rows in the grid's order. Raises ConfigError that names the row for what cannot be built."""
    base = base_tree(grid, path)
    for override in overrides:
        base = merge(base, parse_override(override))
        check_some_row_obeys(grid, override)
    rows = [row for block in grid.rows for row in rows_of_block(grid, block, base, str(path))]
    if not rows:
        raise ConfigError(f"{path}: every combination is skipped, so there are no rows")
    if len(rows) > MOST_ROWS:
        raise ConfigError(f"{path} has {len(rows)} rows; {MOST_ROWS} are the most")
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise ConfigError(f"{path}: two rows are named {twice[0]!r}; put what tells them apart into the name")
    for key in ("device", "threads"):
        if len({getattr(row.experiment, key) for row in rows}) > 1:
            raise ConfigError(f"{path}: {key} differs between rows, whose times could not be compared; set it for all")
    return rows


def check_some_row_obeys(grid: GridConfig, override: str) -> None:
    """A row's own value wins. Raises ConfigError where all rows have one."""
    key = override.partition("=")[0]
    if all(has(one.changes, key) for block in grid.rows for one in combinations(block)):
        raise ConfigError(f"{override} changes no row, as all of them choose {key} themselves")


def has(tree: Tree, key: str) -> bool:
    first, _, rest = key.partition(".")
    return first in tree and (not rest or (isinstance(tree[first], dict) and has(tree[first], rest)))


def rows_of_block(grid: GridConfig, block: BlockConfig, base: Tree, source: str) -> Iterator[Row]:
    for combination in combinations(block):
        where = f"{source}, row {combination.choice or block.set}"
        experiment = make_experiment(merge(base, combination.changes), source=where)
        check_task(experiment, where)
        words = Words(experiment, combination, where)
        yield Row(
            name=words.fill(grid.name if block.name is None else block.name),
            group=words.fill(grid.group if block.group is None else block.group),
            columns={heading: words.fill(template) for heading, template in grid.columns.items()},
            experiment=experiment,
            trainings=trainings(block, combination, base, where),
            image_size=seen_size(experiment, grid.measure.image_size),
        )


def check_task(experiment: Experiment, source: str) -> None:
    if experiment.task == "joint":
        raise ConfigError(
            f"{source}: task is joint; rows are compared by one score, so make it segmentation or detection"
        )


def trainings(block: BlockConfig, combination: Combination, base: Tree, source: str) -> dict[int, Experiment]:
    """The experiments that give the weights. How a row is evaluated does not change how it was trained."""
    changes = {key: value for key, value in combination.changes.items() if key != "evaluate"}
    tree = merge(merge(base, changes), nested_tree(block.trained_with))
    first = make_experiment(tree, source=source)
    return {seed: with_seed(first, seed) for seed in block.seeds or [first.train.seed]}


def with_seed(experiment: Experiment, seed: int) -> Experiment:
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"seed": seed})})


def seen_size(experiment: Experiment, picture: Size | None) -> Size:
    """At which the network sees a picture of that size, None: as large as the training's crops."""
    if experiment.task == "detection":
        return experiment.model.image_size
    protocol = experiment.evaluate
    return protocol.pad_to or fit_longer_side(picture or experiment.data.crop_size, protocol.resize_longer_side)


def key_of(experiment: Experiment, key: str) -> object:
    """Keys of the schema alone. Raises KeyError for another one."""
    section: object = experiment
    for name in key.split("."):
        if not isinstance(section, Section) or name not in type(section).model_fields:
            raise KeyError(name)
        section = getattr(section, name)
    return section


@dataclass(frozen=True)
class Words:
    """What the templates of a row may name: the keys of its experiment, and `choice[axis]`."""

    experiment: Experiment
    combination: Combination
    source: str

    def fill(self, template: str) -> str:
        """In one line. Raises ConfigError for a key that is not there, and for what no file could hold."""
        if any(brace in FIELD.sub("", template) for brace in "{}"):
            raise self.refusal(template, "write {key.of.the.config} or {choice[axis]}")
        text = " ".join(FIELD.sub(partial(self.value, template), template).split())
        if not text or not text.isprintable():
            raise self.refusal(template, "it gives nothing that can be read")
        return text

    def value(self, template: str, field: re.Match[str]) -> str:
        key, index = field.groups()
        try:
            found: Any = self.combination.choice if key == "choice" else key_of(self.experiment, key)
            return str(found if index is None else found[int(index) if isinstance(found, tuple) else index])
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            raise self.refusal(template, f"there is no {field[0]}") from None

    def refusal(self, template: str, why: str) -> ConfigError:
        return ConfigError(f"{self.source}: {template!r} cannot be filled in: {why}")
