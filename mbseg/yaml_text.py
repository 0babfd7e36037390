"""YAML as people write configs: without what makes a small file endless, or lets one of two equal keys win unseen."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mbseg.errors import first_line
from mbseg.files import read_bounded

LARGEST_FILE = 1_000_000  # bytes; the largest config here has 4,000, one of 10,000 classes 400,000
MOST_NODES = 50_000  # keys and values, which take PyYAML a second
MOST_CHARACTERS = 1_000_000  # of all values, every alias written out
DEEPEST = 32  # values in values
LONGEST_NUMBER = 40  # characters
INTEGER = "tag:yaml.org,2002:int"


class Extent(NamedTuple):
    """Of a value with every alias written out."""

    characters: int
    depth: int


ENDLESS = Extent(MOST_CHARACTERS, DEEPEST)


class Loader(yaml.SafeLoader):
    """PyYAML's safe one, which shares what aliases repeat, and takes the last of equal keys and integers of any length.

    Whoever walks its answer would walk what is shared again and again.
    """

    nodes = 0  # read until now

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_NODES} keys and values")
        return super().compose_node(parent, index)

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            extent(node, {})
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > LONGEST_NUMBER:
            raise refusal(node, f"a number of {len(node.value)} characters")
        return int(super().construct_yaml_int(node))


Loader.add_constructor(INTEGER, Loader.construct_yaml_int)


def read_yaml_file(path: Path) -> Any:
    """The value that a file holds. Raises OSError for one that cannot be read, ValueError for one that is no YAML."""
    return parse_yaml(read_bounded(path, LARGEST_FILE).decode())


def parse_yaml(text: str) -> Any:
    """Raises ValueError, in one line, for what is no YAML, for a key that stands twice and for endless values."""
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem}{line}") from error
    except RecursionError as error:
        raise ValueError(f"values in values, more than {DEEPEST} deep") from error
    except (yaml.YAMLError, ValueError) as error:  # of characters, dates and numbers
        raise ValueError(first_line(error)) from error
    except Exception as error:  # whatever PyYAML stumbles over where a tag stands before a value of another kind
        raise ValueError("a value that is not of the type written before it (!!...)") from error


def extent(node: yaml.Node, known: dict[int, Extent]) -> Extent:
    """Raises yaml.MarkedYAMLError for a value that is too large, too deep or holds itself."""
    if id(node) not in known:
        known[id(node)] = ENDLESS  # where it is met again below itself
        check_keys(node)
        check_text(node)
        parts = [extent(child, known) for child in children(node)]
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        found = Extent(
            1 + own + sum(part.characters for part in parts), 1 + max((part.depth for part in parts), default=0)
        )
        if found.characters > MOST_CHARACTERS:
            raise refusal(
                node, f"an alias that holds itself, or more than {MOST_CHARACTERS} characters with all aliases"
            )
        if found.depth > DEEPEST:
            raise refusal(node, f"values in values, more than {DEEPEST} deep")
        known[id(node)] = found
    return known[id(node)]


def children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def check_keys(node: yaml.Node) -> None:
    """Raises yaml.MarkedYAMLError where one key stands twice: PyYAML would take the last."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
        if name in lines:
            raise refusal(key, f"{key.value} stands twice, first in line {lines[name]}")
        if name is not None:
            lines[name] = key.start_mark.line + 1


def check_text(node: yaml.Node) -> None:
    """Raises yaml.MarkedYAMLError for halves of characters, which no file can hold."""
    if isinstance(node, yaml.ScalarNode) and not node.value.isascii():
        try:
            node.value.encode()
        except UnicodeEncodeError:
            raise refusal(node, "half a character (\\ud800 to \\udfff)") from None


def refusal(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
