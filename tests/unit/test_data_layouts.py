"""From a root and a split to pairs of files."""

from pathlib import Path

import pytest

from mbseg.data.description import DatasetDescription, load_description
from mbseg.data.layouts import find_pairs, list_pairs
from mbseg.errors import DataError

VOC, CAMVID, LIST, FOLDER = (load_description(kind) for kind in ("voc", "camvid", "list", "folder"))


def touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def write_list(root: Path, split: str, text: str) -> None:
    (folder := root / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.txt").write_text(text)


def test_a_voc_list_keeps_its_order_and_ignores_blank_lines(tmp_path) -> None:
    touch(tmp_path, "JPEGImages/b.jpg", "JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationClass/b.png")
    write_list(tmp_path, "train", "b\n  \n a \n")
    assert [pair.name for pair in find_pairs(VOC, tmp_path, "train")] == ["b", "a"]


def test_masks_of_sbd_stand_in_only_where_voc_has_none(tmp_path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "SegmentationClass/a.png")
    touch(tmp_path, "SegmentationClassAug/a.png", "SegmentationClassAug/b.png")
    write_list(tmp_path, "train_aug", "a\nb\n")
    masks = [pair.mask.relative_to(tmp_path).as_posix() for pair in find_pairs(VOC, tmp_path, "train_aug")]
    assert masks == ["SegmentationClass/a.png", "SegmentationClassAug/b.png"]


def test_a_missing_voc_list_is_named_beside_those_there_are(tmp_path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg")
    write_list(tmp_path, "train", "a")
    write_list(tmp_path, "val", "a")
    with pytest.raises(DataError, match=r"no list .*train_aug\.txt; the lists there are train, val"):
        find_pairs(VOC, tmp_path, "train_aug")


def test_a_root_too_high_is_answered_with_the_right_one(tmp_path) -> None:
    touch(tmp_path, "VOCdevkit/VOC2012/JPEGImages/a.jpg")
    with pytest.raises(DataError, match=r"no folder JPEGImages.*set data\.root=.*VOCdevkit/VOC2012"):
        find_pairs(VOC, tmp_path, "train")


@pytest.mark.parametrize("description", [VOC, CAMVID, LIST, FOLDER])
def test_a_missing_root_is_named(description: DatasetDescription, tmp_path) -> None:
    with pytest.raises(DataError, match=r"data\.root .*nowhere is not a folder"):
        find_pairs(description, tmp_path / "nowhere", "train")


def test_an_empty_list_is_refused(tmp_path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg")
    write_list(tmp_path, "train", "\n")
    with pytest.raises(DataError, match=r"'train' in .* is empty"):
        find_pairs(VOC, tmp_path, "train")


def test_a_picture_without_mask_is_named_and_counted(tmp_path) -> None:
    touch(tmp_path, "train/a.png", "train/b.jpg", "train/c.png", "trainannot/a.png")
    with pytest.raises(DataError, match=r"2 of 3 masks of 'train' are missing, the first: .*trainannot/b\.png"):
        find_pairs(CAMVID, tmp_path, "train")
    assert len(list_pairs(CAMVID, tmp_path, "train")) == 3


def test_camvid_pairs_have_one_stem_and_leave_other_files_alone(tmp_path) -> None:
    touch(tmp_path, "val/b.jpg", "val/a.PNG", "val/Thumbs.db", "valannot/a.png", "valannot/b.png", "valannot/c.png")
    pairs = find_pairs(CAMVID, tmp_path, "val")
    assert [(pair.image.name, pair.mask.name) for pair in pairs] == [("a.PNG", "a.png"), ("b.jpg", "b.png")]


def test_a_missing_folder_is_named(tmp_path) -> None:
    touch(tmp_path, "train/a.png")
    with pytest.raises(DataError, match=r"no folder .*trainannot"):
        find_pairs(CAMVID, tmp_path, "train")


def test_folder_pairs_lie_in_images_and_masks(tmp_path) -> None:
    touch(tmp_path, "train/images/a.jpeg", "train/masks/a.png")
    (pair,) = find_pairs(FOLDER, tmp_path, "train")
    assert pair == ("a", tmp_path / "train/images/a.jpeg", tmp_path / "train/masks/a.png")


def test_a_list_file_takes_blanks_tabs_quotes_and_comments(tmp_path) -> None:
    touch(tmp_path, "p/a.jpg", "p/b c.jpg", "m/a.png", "m/b c.png")
    (tmp_path / "train.txt").write_text("# pictures\np/a.jpg\tm/a.png\n\n'p/b c.jpg' \"m/b c.png\"  # quoted\n")
    pairs = find_pairs(LIST, tmp_path, "train")
    assert [pair.name for pair in pairs] == ["p/a", "p/b c"]
    assert pairs == find_pairs(LIST, tmp_path, "train.txt")


def test_paths_of_a_list_file_start_at_its_folder_or_at_the_root(tmp_path) -> None:
    touch(tmp_path, "lists/a.jpg", "a.png")
    (tmp_path / "lists" / "train.txt").write_text("a.jpg a.png")
    (pair,) = find_pairs(LIST, tmp_path, "lists/train.txt")
    assert (pair.image, pair.mask) == (tmp_path / "lists/a.jpg", tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["coco", "coco_json"])
def test_a_data_set_of_boxes_has_no_masks_to_pair(kind: str, tmp_path) -> None:
    with pytest.raises(DataError, match=rf"'{kind}' has boxes, but no masks; set task=detection, or name a data"):
        find_pairs(load_description(kind), tmp_path, "train")


@pytest.mark.parametrize("line", ["a.jpg", "a b.jpg a.png", "'a.jpg a.png"])
def test_a_line_that_is_no_pair_is_named_by_number(line: str, tmp_path) -> None:
    (tmp_path / "train.txt").write_text(f"# header\n{line}\n")
    with pytest.raises(DataError, match=r"train\.txt, line 2: "):
        find_pairs(LIST, tmp_path, "train")


def test_a_list_that_is_no_text_is_refused(tmp_path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"train\.txt is not a text file"):
        find_pairs(LIST, tmp_path, "train")


@pytest.mark.parametrize("name", ["x" * 5000, "x\0y"])
def test_a_name_that_no_file_can_have_is_a_missing_file(name: str, tmp_path) -> None:
    (tmp_path / "train.txt").write_text(f"{name} a.png\n")
    with pytest.raises(DataError, match=r"1 of 1 pictures of 'train' are missing") as caught:
        find_pairs(LIST, tmp_path, "train")
    assert str(caught.value).isprintable()


def test_a_list_may_have_the_marks_and_line_ends_of_windows(tmp_path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png")
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa.jpg a.png\r\nb.jpg b.png\r\n")
    assert [pair.name for pair in find_pairs(LIST, tmp_path, "train")] == ["a", "b"]


@pytest.mark.parametrize(
    ("description", "folder", "counts"),
    [(VOC, "VOCdevkit/VOC2012", {"train": 49, "val": 55}), (CAMVID, "camvid", {"train": 367, "val": 101})],
)
def test_the_real_samples_are_found_whole(description, folder, counts, pytestconfig) -> None:
    root = pytestconfig.rootpath.parent / "shared" / "data" / folder
    if not root.is_dir():
        pytest.skip("no real pictures here")
    assert {split: len(find_pairs(description, root, split)) for split in counts} == counts
