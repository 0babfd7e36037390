"""The file of a grid: a base experiment, and what its rows change. Imports no torch.

base: camvid/deeplabv3_mobilenet_v2_os16_none
set: {train.steps: 540}                          # of every row
name: "OS {model.output_stride}, {model.head.aspp}"
rows:
  - axes: {model.output_stride: [8, 16], model.head.aspp: [dense, none]}   # four rows
  - set: {model.output_stride: 32}                                         # one row more
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from mbseg.config.load import Tree, explain, locate, merge, nested, read_yaml, with_base
from mbseg.config.schema import Section, Size
from mbseg.errors import ConfigError

MOST_ROWS = 1000
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Changes = dict[str, Any]  # dotted keys of an Experiment
Axis = Annotated[list[Any], Field(min_length=1)] | Annotated[dict[str, Changes], Field(min_length=1)]


class MeasureConfig(Section):
    """At which size costs and latencies are taken."""

    image_size: Size | None = None  # (height, width) of a picture; null: data.crop_size, of detection model.image_size
    accounting: Literal["native", "tf"] = "native"


class BlockConfig(Section):
    """All combinations of some axes."""

    set: Changes = Field(default_factory=dict)
    axes: dict[str, Axis] = Field(default_factory=dict)  # key: its values, or any name: {label: changes}
    skip: tuple[Changes, ...] = ()  # combinations that are left out
    trained_with: Changes = Field(default_factory=dict)  # in the training instead, such as model.output_stride: 16
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None  # null: train.seed alone
    name: str | None = None  # null: the grid's
    group: str | None = None

    @field_validator("seeds")
    @classmethod
    def seeds_are_different(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds and len(set(seeds)) < len(seeds):
            raise ValueError(f"{seeds} names a seed twice")
        return seeds


class GridConfig(Section):
    """A table of experiments. `name`, `group` and `columns` are templates over the row's experiment."""

    base: Annotated[str, Field(min_length=1)]  # a config: relative to this file, or a shipped one
    title: str = ""
    set: Changes = Field(default_factory=dict)
    name: str  # of a row, such as "OS {model.output_stride}, {model.head.aspp} ASPP"
    group: str = "{model.backbone.name}"  # rows of one colour in the chart
    columns: dict[str, str] = Field(default_factory=dict)  # heading: template
    measure: MeasureConfig = MeasureConfig()
    rows: Annotated[list[BlockConfig], Field(min_length=1)]

    @field_validator("title")
    @classmethod
    def title_is_one_line(cls, title: str) -> str:
        if not title.isprintable():
            raise ValueError(f"title {title!r} is more than one line of text")
        return title


class Combination(Section):
    """One choice of every axis of a block."""

    changes: Tree  # nested, to be laid over the base
    choice: dict[str, str]  # axis -> what was chosen, in words


def load_grid(file: str) -> tuple[GridConfig, Path]:
    """The grid of a file, or of a shipped one's name such as `tradeoff/camvid`, and where it lies. ConfigError."""
    path = locate(file)
    tree = read_yaml(path)
    if "rows" not in tree:
        raise ConfigError(f"{path} has no rows, so it is no grid; configs/tradeoff holds some")
    try:
        grid = GridConfig.model_validate(tree)
        for changes in (grid.set, *(block.set for block in grid.rows)):
            nested_tree(changes)
    except ValidationError as error:
        raise ConfigError(explain(error, str(path), GridConfig)) from None
    except RecursionError:
        raise ConfigError(f"{path} holds itself; write every section out") from None
    return grid, path


def base_tree(grid: GridConfig, path: Path) -> Tree:
    """The keys of every row: the base's, under what the grid sets."""
    beside = path.parent / grid.base
    base = read_base(beside if beside.is_file() else locate(grid.base))
    return merge(base, nested_tree(grid.set))


def read_base(path: Path) -> Tree:
    tree = read_yaml(path)
    if "rows" in tree:
        raise ConfigError(f"{path} is a grid itself; a grid's base is the config of one experiment")
    return with_base(tree, path)


def combinations(block: BlockConfig) -> list[Combination]:
    """Every choice of the axes that is not skipped; the last axis changes fastest. ConfigError for too many."""
    axes = [options_of(*axis) for axis in block.axes.items()]
    if (count := math.prod(len(options) for options in axes)) > MOST_ROWS:
        raise ConfigError(f"the axes {', '.join(block.axes)} have {count} combinations; {MOST_ROWS} are the most")
    made = [combination(block, options) for options in itertools.product(*axes)]
    for unwanted in map(nested_tree, block.skip):
        kept = [one for one in made if not holds(one.changes, unwanted)]
        if len(kept) == len(made):
            raise ConfigError(f"skip {unwanted} leaves nothing out; name keys and values that a row has")
        made = kept
    return made


def combination(block: BlockConfig, options: Sequence[tuple[str, Tree]]) -> Combination:
    changes = nested_tree(block.set)
    for _, change in options:
        changes = merge(changes, change)
    labels = (label for label, _ in options)
    return Combination(changes=changes, choice=dict(zip(block.axes, labels, strict=True)))


def options_of(name: str, axis: list[Any] | dict[str, Changes]) -> list[tuple[str, Tree]]:
    """What an axis offers: words and changes."""
    if isinstance(axis, dict):
        return [(label, nested_tree(changes)) for label, changes in axis.items()]
    return [(str(value), nested_tree({name: value})) for value in axis]


def nested_tree(changes: Changes) -> Tree:
    """Dotted keys as sections in sections."""
    tree: Tree = {}
    for key, value in changes.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise ConfigError(f"{key!r} is no key of a config; write one such as model.output_stride")
        tree = merge(tree, nested(key, nested_tree(value) if isinstance(value, dict) else value))
    return tree


def holds(tree: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether all keys of `part` have these values in `tree`."""
    return all(agrees(tree.get(key), value) for key, value in part.items())


def agrees(value: Any, wanted: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        return holds(value, wanted)
    return bool(value == wanted)
