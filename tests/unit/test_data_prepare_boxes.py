"""Data sets for detection laid out from their archives: several of them become one folder."""

import json
from pathlib import Path

import pytest

from mbseg.data.prepare import prepare
from mbseg.errors import ConfigError, DataError
from tests.archives import left_behind, picture, tarred, zipped


def boxes_members(top: str, lists: dict[str, bytes], names: str) -> dict[str, bytes]:
    """VOC's files for detection: a list a split, a picture and an XML a name, an object in each but b."""
    thing = (
        b"<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>6</ymax></bndbox></object>"
    )
    members = {f"{top}/ImageSets/Main/{split}.txt": text for split, text in lists.items()}
    for name in names:
        objects = b"" if name == "b" else thing
        members[f"{top}/JPEGImages/{name}.jpg"] = picture("jpg")
        members[f"{top}/Annotations/{name}.xml"] = b"<annotation>" + objects + b"</annotation>"
    return members


def voc2007_archives(folder: Path, missing: str = "") -> list[Path]:
    """The two archives as the hosts have them: both begin with VOCdevkit/VOC2007."""
    top = "VOCdevkit/VOC2007"
    both = {
        "trainval.tar": boxes_members(top, {"trainval": b"a\nb\n", "train": b"a\n", "val": b"b\n"}, "ab"),
        "test.tar": boxes_members(top, {"test": b"c\n"}, "c"),
    }
    return [
        tarred(
            folder / name, {member: data for member, data in members.items() if not missing or missing not in member}
        )
        for name, members in both.items()
    ]


def coco_json(*ids: int) -> bytes:
    images = [{"id": number, "file_name": f"{number:012}.jpg", "height": 6, "width": 8} for number in ids]
    boxes = [{"id": 1, "image_id": ids[0], "category_id": 90, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}]
    categories = [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories}).encode()


def coco_archives(folder: Path) -> list[Path]:
    """The three archives as the host has them: pictures by split, all JSON in one."""
    pictures = {"train2017": (3, 9), "val2017": (4,)}
    zips = [
        zipped(folder / f"drawn_{split}.zip", {f"{split}/{number:012}.jpg": picture("jpg") for number in ids})
        for split, ids in pictures.items()
    ]
    described = {f"annotations/instances_{split}.json": coco_json(*ids) for split, ids in pictures.items()}
    return [*zips, zipped(folder / "annotations.zip", described | {"annotations/captions_val2017.json": b"{}"})]


def test_a_complete_voc_2012_is_counted_for_masks_and_for_boxes(tmp_path) -> None:
    top = "VOCdevkit/VOC2012"
    members = boxes_members(top, {"train": b"a\nb\nc\n", "val": b"d\n"}, "abcd")
    members |= {f"{top}/SegmentationClass/{name}.png": picture("png") for name in "ad"}
    members |= {f"{top}/ImageSets/Segmentation/{split}.txt": name for split, name in (("train", b"a"), ("val", b"d"))}
    made = prepare("voc2012", tmp_path / "voc", tarred(tmp_path / "voc.tar", members))
    assert made.counts == {"train": 1, "val": 1, "train (boxes)": 3, "val (boxes)": 1}
    assert made.expected == {"train": 1464, "val": 1449, "train (boxes)": 5717, "val (boxes)": 5823}
    assert prepare("voc2012", tmp_path / "voc").found
    (tmp_path / "voc" / "Annotations" / "c.xml").unlink()
    with pytest.raises(DataError, match=r"voc is there, but is not the complete data set \(.*c\.xml: there is no such"):
        prepare("voc2012", tmp_path / "voc")


def test_the_two_archives_of_voc_2007_become_one_folder_in_whatever_order_they_are_named(tmp_path) -> None:
    archives = voc2007_archives(tmp_path)
    for root, files in (("one", archives), ("other", archives[::-1])):
        made = prepare("voc2007", tmp_path / "data" / root, *files)
        assert made.counts == {"trainval": 2, "test": 1}
        assert made.expected == {"trainval": 5011, "test": 4952}
        assert set(made.sha256) == {"trainval.tar", "test.tar"}
        assert prepare("voc2007", tmp_path / "data" / root).found
    assert not left_behind(tmp_path / "data", "one", "other")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("Annotations/c", r"c\.xml: there is no such file"),
        ("JPEGImages/b", "1 of 2 pictures"),
        ("Main/test", "test.txt"),
    ],
)
def test_an_incomplete_voc_2007_leaves_nothing_behind(missing: str, said: str, tmp_path) -> None:
    archives = voc2007_archives(tmp_path, missing)
    with pytest.raises(DataError, match=rf"trainval\.tar and .*test\.tar is not the complete data set: .*{said}"):
        prepare("voc2007", tmp_path / "data" / "voc2007", *archives)
    assert not left_behind(tmp_path / "data")


def test_the_three_archives_of_coco_2017_become_one_folder(tmp_path) -> None:
    made = prepare("coco2017", tmp_path / "data" / "coco2017", *coco_archives(tmp_path))
    assert made.counts == {"train2017": 2, "val2017": 1}
    assert made.expected == {"train2017": 118287, "val2017": 5000}
    assert prepare("coco2017", tmp_path / "data" / "coco2017").found
    assert not left_behind(tmp_path / "data", "coco2017")


def test_a_part_of_the_archives_is_refused_with_the_names_of_all(tmp_path) -> None:
    train, val, annotations = coco_archives(tmp_path)
    names = r"train2017\.zip, val2017\.zip and annotations_trainval2017\.zip; name each once .* \({} given\)"
    for given in ([val, annotations], [train, val, val]):
        with pytest.raises(ConfigError, match=names.format(len(given))):
            prepare("coco2017", tmp_path / "data" / "coco2017", *given)
    assert not (tmp_path / "data").exists()


def test_a_coco_without_one_of_its_pictures_is_not_complete(tmp_path) -> None:
    train, _, annotations = coco_archives(tmp_path)
    val = zipped(tmp_path / "val.zip", {"val2017/000000000005.jpg": picture("jpg")})
    with pytest.raises(DataError, match=r"not the complete data set: 1 of 1 pictures of 'val2017' .*0004\.jpg"):
        prepare("coco2017", tmp_path / "data" / "coco2017", train, val, annotations)
    assert not left_behind(tmp_path / "data")
