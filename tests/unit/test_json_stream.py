"""JSON read value by value, wherever the windows end."""

import json
from pathlib import Path

import pytest

from mbseg.data import json_stream
from mbseg.data.json_stream import JsonStream

TREE = {"a": [1, 23, -4.5e-3, "ü€😀", '\\"]}', {"b": [True, None]}, [], {}], "ключ": [], "c": {"d": [[[]]]}, "e": 7}


def read(path: Path) -> dict[str, object]:
    """Lists by their elements, as those who use it do."""
    with JsonStream(path) as stream:
        found = {key: list(stream.elements()) if stream.peek() == "[" else stream.value() for key in stream.members()}
        stream.finish()
    return found


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("window", [1, 2, 3, 5, 7, 11, 64, 1000])
def test_windows_of_any_size_read_the_same(
    window: int, indent: int | None, ascii_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", window)
    (tmp_path / "a.json").write_text(json.dumps(TREE, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    assert read(tmp_path / "a.json") == TREE


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}", encoding="utf-8-sig")
    assert read(tmp_path / "a.json") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is cut short, at character 1"),
        ('{"a": 1} x', "the file goes on behind its value"),
        ('{"a": 1,}', "expected, not '}'"),
        ('{"a": [1 2]}', "expected, not '2'"),
        ('{"a": nul}', "Expecting value, at character 6"),
        ('{"a": ' + "[" * 5000 + "]}", "lists in lists"),
        ('{"a": ' + "9" * 5000 + "}", "4300"),
        ("{1: 2}", "expected, not '1'"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "a.json")


def test_a_missing_comma_is_told_where_it_is_however_long_the_file_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", 100)
    monkeypatch.setattr(json_stream, "LARGEST_VALUE", 1000)
    entries = '{"id": 1, "name": "a"}, ' * 20 + '{"id": 1 "name": "a"}' + ', {"id": 1, "name": "a"}' * 1000
    (tmp_path / "a.json").write_text('{"a": [' + entries + "]}")
    with pytest.raises(ValueError, match="Expecting ',' delimiter, at character 496"):
        read(tmp_path / "a.json")


def test_a_value_without_measure_is_refused_before_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", 100)
    monkeypatch.setattr(json_stream, "LARGEST_VALUE", 1000)
    (tmp_path / "a.json").write_text('{"a": {"b": [' + "[]," * 1000 + "[]]}}")
    with pytest.raises(ValueError, match="a value of more than 1,000 characters, at character 6"):
        read(tmp_path / "a.json")
