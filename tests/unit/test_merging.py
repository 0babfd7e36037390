"""Shards put together: whatever their number, they come to the same bytes, and what is wrong with them is named."""

import errno
import json
from pathlib import Path

import pytest

from mbseg.errors import DataError, RunError
from mbseg.prediction.manifest import Shard
from mbseg.prediction.merging import merge
from mbseg.prediction.picture_list import find_pictures
from mbseg.prediction.predicting import predict
from tests.shards import BROKEN, PICTURES, answerer, answers, draw_pictures, flip, make_shards, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures")


def merged(folder: Path, output: Path, count: int) -> dict[str, bytes]:
    assert merge([make_shards(folder, output, count)]).faulty == [BROKEN]
    return answers(output)


@pytest.mark.parametrize("count", [2, 16, 30])
def test_any_number_of_shards_is_merged_to_the_bytes_of_one(count: int, folder: Path, tmp_path: Path) -> None:
    one = merged(folder, tmp_path / "one", 1)
    assert len(one) == 2 * (len(PICTURES) - 1) + 2
    assert merged(folder, tmp_path / "many", count) == one


def test_shards_are_merged_to_what_predict_writes_without_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=BROKEN):
        list(predict(answerer(), find_pictures(folder, recursive=True), tmp_path / "plain"))
    shards = merged(folder, tmp_path / "shards", 3)
    assert shards.pop("manifest.jsonl")
    assert shards == answers(tmp_path / "plain")


def test_the_merged_boxes_are_numbered_through(folder: Path, tmp_path: Path) -> None:
    boxes = json.loads(merged(folder, tmp_path / "out", 4)["detections.json"])
    readable = [name for name in find_pictures(folder, recursive=True).names if name != BROKEN]
    assert [(image["id"], image["file_name"]) for image in boxes["images"]] == list(enumerate(readable, start=1))
    assert [box["id"] for box in boxes["annotations"]] == list(range(1, len(boxes["annotations"]) + 1))
    for image in boxes["images"]:
        single = json.loads((tmp_path / "out" / image["file_name"]).with_suffix(".json").read_text())
        rows = [box for box in boxes["annotations"] if box["image_id"] == image["id"]]
        assert [box["bbox"] for box in rows] == [box["bbox"] for box in single["annotations"]]


def test_shards_in_several_folders_are_linked_into_one(folder: Path, tmp_path: Path) -> None:
    one = merged(folder, tmp_path / "one", 1)
    places = [tmp_path / f"machine{number}" for number in (1, 2, 3)]
    for number, place in enumerate(places, start=1):
        run(folder, place, Shard(number, 3))
    with pytest.raises(RunError, match="in 3 folders; name one for all of them with --output"):
        merge(places)
    merge(places, tmp_path / "all")
    assert answers(tmp_path / "all") == one
    merge(places, tmp_path / "all")  # as after a merge that was killed
    assert answers(tmp_path / "all") == one


def test_an_output_of_merge_keeps_what_is_in_it(folder: Path, tmp_path: Path) -> None:
    make_shards(folder, tmp_path / "out", 2)
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "5.png").write_text("mine")
    with pytest.raises(RunError, match=r"all/5.png is there already, and another one; name another --output"):
        merge([tmp_path / "out"], tmp_path / "all")
    (tmp_path / "all" / "thesis.txt").touch()
    with pytest.raises(RunError, match=r"all holds 1 files of no shard, such as thesis.txt"):
        merge([tmp_path / "out"], tmp_path / "all")
    assert (tmp_path / "all" / "5.png").read_text() == "mine" and not (tmp_path / "all" / "manifest.jsonl").exists()


def damage(output: Path, how: str) -> None:
    first, second = output / "manifest-1-of-2.jsonl", output / "manifest-2-of-2.jsonl"
    match how:
        case "missing":
            second.unlink()
        case "unfinished":
            second.write_bytes(second.read_bytes()[:-9])
        case "flipped":
            flip(second, 1500)
        case "another":
            first.write_bytes(first.read_bytes().replace(b'"facts": {', b'"facts": {"least_score": 0.3, ', 1))
        case "double":
            (output / "manifest-02-of-2.jsonl").write_bytes(second.read_bytes())
        case "foreign":
            (output / "a" / "99.png").touch()
        case "answer":
            flip(output / "a" / "5.png", -30)
        case "no answer":
            (output / "a" / "5.png").unlink()
        case "exchanged":
            first.rename(output / "third"), second.rename(first), (output / "third").rename(second)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"1 of 2 shards are not whole: mbseg predict --shard 2/2$"),
        ("unfinished", r"1 of 2 shards are not whole: mbseg predict --shard 2/2$"),
        ("flipped", r"1 of 2 shards are not whole: mbseg predict --shard 2/2$"),
        ("another", r"manifest-2-of-2.jsonl was made with least_score None, not 0.3 as in .*manifest-1-of-2.jsonl"),
        ("double", r"shard 2/2 is there twice"),
        ("foreign", r"holds 1 files of no shard, such as a/99.png"),
        ("answer", r"a/5.png is missing or damaged: .* make it again: mbseg predict --shard 2/2"),
        ("no answer", r"a/5.png is missing or damaged: .* make it again: mbseg predict --shard 2/2"),
        ("exchanged", r"shards are not whole|are not those of their list"),
    ],
)
def test_what_is_wrong_with_shards_is_named_and_nothing_is_merged(
    how: str, message: str, folder: Path, tmp_path: Path
) -> None:
    make_shards(folder, tmp_path / "out", 2)
    damage(tmp_path / "out", how)
    with pytest.raises(RunError, match=message):
        merge([tmp_path / "out"])
    assert not {"detections.json", "manifest.jsonl"} & answers(tmp_path / "out").keys()


def test_a_folder_without_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no shard; make one: mbseg predict WEIGHTS PICTURES .* --shard 1/4"):
        merge([tmp_path])


def test_an_answer_that_cannot_be_read_now_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        if path.name == "5.png":
            raise OSError(errno.EIO, "Input/output error")
        return read_bytes(path)

    read_bytes = Path.read_bytes
    make_shards(folder, tmp_path / "out", 2)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(RunError, match=r"^\S*out/5.png: cannot be read \(Input/output error\); run it again$"):
        merge([tmp_path / "out"])
    monkeypatch.undo()
    assert not {"detections.json", "manifest.jsonl"} & answers(tmp_path / "out").keys()
