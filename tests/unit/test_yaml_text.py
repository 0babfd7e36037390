"""YAML that a stranger or a slip of the hand made: one line, soon, and in little memory."""

import os
from pathlib import Path

import pytest

from mbseg.config.load import load_experiment, make_experiment, to_yaml
from mbseg.errors import ConfigError, MbsegError
from mbseg.naming import MOST_CLASSES
from mbseg.yaml_text import LARGEST_FILE, parse_yaml

LEAST = "data: {kind: shapes, root: x}\n"


def laughs(levels: int, *, merged: bool = False) -> str:
    """Ten times the level below in each."""
    lines = ["l0: &l0 {k: 1}" if merged else "l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels + 1):
        below = ", ".join([f"*l{level - 1}"] * 10)
        lines.append(f"l{level}: &l{level} " + (f"{{<<: [{below}], k{level}: 1}}" if merged else f"[{below}]"))
    return "\n".join(lines)


def chain(length: int) -> str:
    return "\n".join(["c0: &c0 [x]", *(f"c{index}: &c{index} [*c{index - 1}]" for index in range(1, length))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(9), "more than 1000000 characters with all aliases"),
        (laughs(9, merged=True), "more than 1000000 characters with all aliases"),
        (chain(40), "more than 32 deep, line 32"),
        ("a: " + "[" * 100 + "]" * 100, "more than 32 deep"),
        ("[" * 20_000, "more than 32 deep"),
        ("&a [*a]", "an alias that holds itself"),
        ("&a {<<: *a}", "an alias that holds itself"),
        ("a: 1\nb: {c: 1, c: 2}", "c stands twice, first in line 2, line 2"),
        ("a: 1\nb: 2\na: 3", "a stands twice, first in line 1, line 3"),
        ("a: " + "9" * 5000, "a number of 5000 characters, line 1"),
        ("a: 0x" + "f" * 5000, "a number of 5002 characters"),
        ("a: 1" + ":59" * 5000, "a number of 15001 characters"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!int ''", "not of the type written before it"),
        ("a: !!timestamp x", "not of the type written before it"),
        ("!!python/object/apply:os.system ['exit 1']", "could not determine a constructor for the tag"),
        ('a: "\\ud800"', "half a character"),
        ("[" + "a," * 50_000 + "]", "more than 50000 keys and values"),
        ("a:\n\tb: 1", "cannot start any token, line 2"),
        ("a: \0", "special characters are not allowed"),
    ],
)
def test_what_no_config_needs_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_aliases_and_merges_of_a_usual_size_are_read() -> None:
    text = "under: &under {a: 1, b: 2}\nover: {<<: *under, b: 3}\nlist: [*under, *under]"
    found = parse_yaml(text)
    assert found["over"] == {"a": 1, "b": 3}
    assert found["list"] == [{"a": 1, "b": 2}] * 2


def test_the_config_of_as_many_classes_as_a_model_may_have_is_read_again(tmp_path: Path) -> None:
    classes = [f"the class of number {number}" for number in range(MOST_CLASSES)]
    experiment = make_experiment({"data": {"kind": "list", "root": "x", "classes": classes}}, source="test")
    (tmp_path / "config.yaml").write_text(to_yaml(experiment))
    assert load_experiment(str(tmp_path / "config.yaml")) == experiment


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match=r"large\.yaml cannot be read: it has 1,000,001 bytes"):
        load_experiment(str(tmp_path / "large.yaml"))


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("/dev/zero", "it is no regular file"),
        ("pipe", "it is no regular file"),
        (".", "Is a directory"),
        ("config.yaml", "has a base itself"),
        ('"a\\0b"', "no config file"),
        ("x" * 300, "no config file|File name too long"),
    ],
)
def test_a_base_that_is_no_file_is_refused_and_not_waited_for(base: str, said: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "config.yaml").write_text(f"base: {base}\n{LEAST}")
    with pytest.raises(ConfigError, match=said):
        load_experiment(str(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    ("config", "said"), [("/dev/zero", "it is no regular file"), ("x" * 300, "no config file xxx")]
)
def test_a_config_that_is_no_file_is_refused_and_not_waited_for(config: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_experiment(config)


def test_a_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(LEAST, encoding="utf-16")
    with pytest.raises(ConfigError, match="cannot be read: 'utf-8' codec"):
        load_experiment(str(tmp_path / "config.yaml"))


def test_a_key_of_thousands_of_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="no key has 5001 parts"):
        make_experiment({}, ["a." * 5000 + "a=1"], source="test")


def test_an_error_is_one_printable_line_whatever_it_quotes() -> None:
    assert str(MbsegError("a\nb\x1b[2J\u202ec\ud800")) == "a b?[2J?c?"
    assert len(str(MbsegError("x" * 10**6))) < 2100
