"""From a YAML file, at most one `base:` and `key=value` overrides to one frozen Experiment, or one ConfigError."""

import reprlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mbseg.config.schema import Experiment, keys_of_other_tasks
from mbseg.errors import ConfigError
from mbseg.files import is_file, is_special
from mbseg.naming import hint
from mbseg.resources import config_file, config_names
from mbseg.yaml_text import DEEPEST, parse_yaml, read_yaml_file

Tree = dict[str, Any]
ALTERNATIVES = {"steps": "epochs", "epochs": "steps"}  # to say one is to unsay the other


def load_experiment(config: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a config file, or of a shipped config's name such as `voc/deeplabv3_mobilenet_v2_os16_none`.

    Raises ConfigError for a missing file, bad YAML, an unknown key or a value that is not allowed.
    """
    path = locate(config)
    if "rows" in (tree := read_yaml(path)):
        raise ConfigError(f"{path} is a grid of experiments; run it with mbseg tradeoff {config}")
    return make_experiment(with_base(tree, path), overrides, source=str(path))


def locate(config: str) -> Path:
    """The file itself, or the shipped config of that name."""
    path = Path(config)
    if is_file(path):
        return path
    if shipped := config_file(config):
        return shipped
    if is_special(path):
        raise ConfigError(f"{config} cannot be read: it is no regular file")
    raise ConfigError(f"no config file {config}, and no shipped config of that name; {hint(config, config_names())}")


def make_experiment(tree: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str) -> Experiment:
    """The experiment of a tree of keys, overrides laid over it; `source` names the tree in errors."""
    for override in overrides:
        tree = merge(tree, parse_override(override))
    try:
        return Experiment.model_validate(dict(tree))
    except ValidationError as error:
        raise ConfigError(explain(error, blamed(error, overrides) or source)) from None


def to_tree(experiment: Experiment) -> Tree:
    """Every key that the task reads with its resolved value, in plain types: what run folders and weights keep."""
    tree: Tree = experiment.model_dump(mode="json")
    for key in keys_of_other_tasks(experiment.task):
        remove(tree, key)
    return tree


def remove(tree: Tree, key: str) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree[section]
    del tree[name]


def to_yaml(experiment: Experiment) -> str:
    return yaml.safe_dump(to_tree(experiment), sort_keys=False)


def with_base(tree: Tree, path: Path) -> Tree:
    """The tree of the file `path`, laid over its base if it names one."""
    base = tree.pop("base", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base is {reprlib.repr(base)}; it takes one file name, relative to this file")
    base_tree = read_yaml(path.parent / base)
    if "base" in base_tree:
        raise ConfigError(f"{path}: its base {base} has a base itself; one level is allowed")
    return merge(base_tree, tree)


def read_yaml(path: Path) -> Tree:
    try:
        tree = read_yaml_file(path)
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not YAML that can be a config: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds {type(tree).__name__}, not keys and values")
    return tree


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """`over` laid over `under`, section by section; lists and values are replaced whole."""
    merged = {key: value for key, value in under.items() if over.get(ALTERNATIVES.get(key, "")) is None}
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse_override(override: str) -> Tree:
    """`a.b=value` -> {a: {b: value}}; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{override!r} is not an override; write key.path=value, such as train.batch_size=8")
    try:
        return nested(key, parse_yaml(text))
    except ValueError as error:
        raise ConfigError(f"{override!r}: the value is not YAML ({error}); quote it") from None


def nested(key: str, value: Any) -> Tree:
    """`a.b` and a value -> {a: {b: value}}. Raises ConfigError for a key of more parts than any has."""
    if key.count(".") > DEEPEST:
        raise ConfigError(f"no key has {key.count('.') + 1} parts, as {reprlib.repr(key)} has")
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def explain(error: ValidationError, source: str, root: type[BaseModel] = Experiment) -> str:
    """The first mistake in one line, and how many more there are; `root` knows the keys."""
    first, *rest = error.errors()
    more = f" (and {len(rest)} more)" if rest else ""
    return f"{source}: {describe(first, root)}{more}"


def blamed(error: ValidationError, overrides: Sequence[str]) -> str:
    """The last override that the first mistake can be in; "" where it is in none."""
    key = ".".join(map(str, error.errors()[0]["loc"]))
    return next((last for last in reversed(overrides) if f"{key}.".startswith(last.partition("=")[0] + ".")), "")


def describe(detail: ErrorDetails, root: type[BaseModel]) -> str:
    names = [str(part) for part in detail["loc"]]
    key = ".".join(names)
    if detail["type"] == "extra_forbidden":
        return f"unknown key {key}{suggestion(names, root)}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in ("missing", "value_error"):
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, not {reprlib.repr(detail['input'])}"


def suggestion(names: Sequence[str], root: type[BaseModel]) -> str:
    """The nearest key of the section that was meant, or all of its keys."""
    section = section_at(names[:-1], root)
    if section is None:
        return ""
    known = list(section.model_fields)
    nearest = get_close_matches(names[-1], known, n=1)
    if nearest:
        return f"; did you mean {'.'.join([*names[:-1], nearest[0]])}?"
    return f"; this section has {', '.join(known)}"


def section_at(names: Sequence[str], root: type[BaseModel]) -> type[BaseModel] | None:
    section: Any = root
    for name in names:
        field = section.model_fields.get(name) if isinstance(section, type) and issubclass(section, BaseModel) else None
        section = field.annotation if field else None
    return section if isinstance(section, type) and issubclass(section, BaseModel) else None
