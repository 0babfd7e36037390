"""What a shard is, what its manifest may say, and the order of its pictures."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mbseg.errors import ConfigError, RunError
from mbseg.prediction.manifest import Header, Record, read_shard, record_from
from mbseg.prediction.open_manifest import open_manifest
from mbseg.prediction.picture_list import find_pictures


@pytest.mark.parametrize("name", ["../9.png", "/9.png", "a/../../9.png", "8.png", "9.txt"])
def test_a_line_that_leads_elsewhere_is_no_line(name: str) -> None:
    line = {"picture": "9.jpg", "picture_sha256": "", "files": {"9.png": ""}, "found": "", "fault": ""}
    assert record_from(json.dumps(line).encode() + b"\n")
    assert not record_from(json.dumps(line | {"files": {name: ""}}).encode() + b"\n")
    assert not record_from(json.dumps(line | {"picture": "../9.jpg", "files": {"../9.png": ""}}).encode() + b"\n")


@pytest.mark.parametrize("text", ["0/4", "5/4", "a/b", "1/0", "", "1", "1/4/4", "-1/4", "1/4 ", "٣/٤", "1/513"])
def test_a_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--shard is .*; 3/16 is the third of 16"):
        read_shard(text)


def test_shards_have_every_picture_once() -> None:
    names = [str(number) for number in range(23)]
    parts = [read_shard(f"{number}/5").own(names) for number in range(1, 6)]
    assert sorted([name for part in parts for name in part], key=int) == names and {len(part) for part in parts} == {
        4,
        5,
    }


def test_pictures_come_in_one_order_whatever_the_folder_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["7.jpg", "07.jpg", "10.jpg", "a/2.png", "a/10.PNG", "b.jpg"]
    for name in [*names, "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = ["07.jpg", "7.jpg", "10.jpg", "a/2.png", "a/10.PNG", "b.jpg"]
    assert find_pictures(tmp_path, recursive=True).names == expected
    monkeypatch.setattr("mbseg.prediction.picture_list.files_below", lambda *_, **__: iter(names))
    assert find_pictures(tmp_path, recursive=True).names == expected
    monkeypatch.undo()
    assert find_pictures(tmp_path).names == [name for name in expected if "/" not in name]


def test_a_manifest_says_first_how_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "manifest-1-of-1.jsonl"
    with open_manifest(path, Header({"engine": "colours"}, "mbseg predict"), anew=False) as manifest:
        assert manifest.known("1.png") is None
    assert json.loads(path.read_text()) == {"format": 1, "command": "mbseg predict", "facts": {"engine": "colours"}}


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    path, record = tmp_path / "manifest-1-of-1.jsonl", Record("1.png", "0" * 64, {}, "sky", "")

    def append() -> None:
        with open_manifest(path, Header({"pictures": 1}), anew=False) as manifest:
            manifest.append(record)

    with pytest.raises(RunError, match=r"cannot write .*1-of-1.jsonl: File too large; run it again"), small_disk():
        append()
    append()
    assert path.read_bytes() == Header({"pictures": 1}).line() + record.line()
