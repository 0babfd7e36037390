"""Pictures with masks and boxes: which there are, and that all three are augmented as one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbseg.data.check_joint import check_joint_dataset
from mbseg.data.description import DatasetDescription, load_description
from mbseg.data.detection_resize import Resize
from mbseg.data.detection_samples import Annotation, DetectionSample
from mbseg.data.detection_transforms import detection_transform
from mbseg.data.joint_dataset import JointDataset, ResizePicture
from mbseg.data.joint_layouts import find_joint_split
from mbseg.data.joint_samples import JointSample
from mbseg.data.joint_transforms import SeededJointTransform
from mbseg.data.labels import IGNORE_INDEX, LabelMap
from mbseg.data.shape_classes import CLASSES
from mbseg.data.shapes import draw_shapes
from mbseg.errors import DataError

SHAPES = load_description("shapes")
OBJECTS = CLASSES[1:]
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
FILL = (9, 9, 9)
sides = st.integers(64, 200)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw_shapes(tmp_path / "shapes", train=5, val=2, size=(64, 96))
    return tmp_path / "shapes"


def write_list(root: Path, purpose: str, names: list[str], split: str = "train") -> None:
    (root / "ImageSets" / purpose / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def three_objects() -> JointSample:
    """Rectangles of the classes 1, 2 and 3, each in a colour of its own, on background; their labels are 0, 1, 2."""
    boxes = np.array([[10, 10, 50, 40], [60, 20, 100, 110], [110, 60, 150, 100]], np.float32)
    image, mask = np.zeros((120, 160, 3), np.uint8), np.zeros((120, 160), np.uint8)
    for label, (left, top, right, bottom) in enumerate(boxes.astype(int)):
        image[top:bottom, left:right, label] = 255
        mask[top:bottom, left:right] = label + 1
    labels, none = np.arange(3), np.zeros(3, np.bool_)
    annotation = Annotation(Path("a"), Path("a"), 0, None, boxes, labels, labels, none, none)
    return JointSample(DetectionSample(image, boxes, labels, (120, 160), annotation), mask)


@settings(max_examples=60)
@given(sides, sides, st.integers(0, 2**32), st.booleans(), st.sampled_from([1.0, 2.0]))
def test_boxes_and_mask_follow_the_same_objects(
    height: int, width: int, seed: int, crop: bool, zoom_out: float
) -> None:
    transform = detection_transform((height, width), crop=crop, zoom_out=zoom_out, fill=FILL, **STILL)
    changed = SeededJointTransform(transform)(three_objects(), (seed,))
    assert changed.mask.shape == changed.image.shape[:2] == (height, width)
    assert set(np.unique(changed.mask)) <= {0, 1, 2, 3, IGNORE_INDEX}
    assert len(changed.seen.boxes)
    for box, label in zip(changed.seen.boxes, changed.seen.labels, strict=True):
        rows, columns = np.nonzero(changed.mask == label + 1)
        labelled = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert labelled == pytest.approx(box.tolist(), abs=1)


@settings(max_examples=30)
@given(sides, sides, st.integers(0, 2**32))
def test_the_mask_says_what_the_pixels_show_and_255_beside_the_picture(height: int, width: int, seed: int) -> None:
    transform = detection_transform((height, width), crop=True, zoom_out=3.0, fill=FILL, **STILL)
    changed = SeededJointTransform(transform)(three_objects(), (seed,))
    for label in range(3):
        surely, hardly = changed.image[..., label] > 200, changed.image[..., label] < 50
        assert (changed.mask[surely] == label + 1).all()
        assert (changed.mask[hardly] != label + 1).all()
    bare = (changed.image == FILL).all(axis=2)
    assert (changed.mask[bare] == IGNORE_INDEX).all()


def test_the_mask_goes_where_the_detectors_augmentation_takes_the_picture() -> None:
    sample, transform = three_objects(), detection_transform((90, 100))
    for index in range(5):
        expected, changed = transform(sample.seen, (0, index)), SeededJointTransform(transform)(sample, (0, index))
        assert (changed.image == expected.image).all()
        assert (changed.seen.boxes == expected.boxes).all()


def test_in_evaluation_the_mask_keeps_the_size_of_its_file() -> None:
    changed = ResizePicture(Resize((64, 70)))(three_objects())
    assert changed.image.shape == (64, 70, 3)
    assert (changed.mask == three_objects().mask).all()


def test_a_split_is_what_both_lists_name_and_masks_are_only_of_those_that_have_one(root: Path) -> None:
    write_list(root, "Segmentation", ["train_000000", "train_000003"])
    write_list(root, "Main", ["train_000001", "train_000003"])
    found = find_joint_split(SHAPES, root, "train", OBJECTS)
    names = {one.image.stem: mask for one, mask in zip(found.objects.annotations, found.masks, strict=True)}
    assert {name: mask is not None for name, mask in names.items()} == {
        "train_000000": True,
        "train_000001": False,
        "train_000003": True,
    }
    assert [one.image_id for one in found.objects.annotations] == [0, 1, 2]
    data = JointDataset(found, CLASSES, LabelMap(len(CLASSES)), ResizePicture(Resize((64, 96))))
    assert {one.seen.annotation.image.stem for one in map(data.__getitem__, range(3)) if (one.mask < 255).any()} == {
        "train_000000",
        "train_000003",
    }
    assert [pair.name for pair in data.masked.pairs] == [name for name, mask in names.items() if mask]


@pytest.mark.parametrize("missing", ["Segmentation", "Main"])
def test_one_of_the_lists_may_be_missing(root: Path, missing: str) -> None:
    (root / "ImageSets" / missing / "train.txt").unlink()
    found = find_joint_split(SHAPES, root, "train", OBJECTS)
    assert len(found.objects.annotations) == 5
    assert all(found.masks) == (missing == "Main")


def test_a_batch_is_one_of_a_segmenter_and_one_of_a_detector(root: Path) -> None:
    found = find_joint_split(SHAPES, root, "val", OBJECTS)
    data = JointDataset(found, CLASSES, LabelMap(len(CLASSES)))
    batch = data.collate([data[0], data[1]])
    assert batch.labelled.masks.shape == (2, 64, 96)
    assert batch.labelled.names == ["val_000000", "val_000001"]
    assert [len(boxes) for boxes in batch.annotated.boxes] == [len(one.labels) for one in batch.annotations]


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"there is no list .*Segmentation/test.txt; the lists there are train"):
        find_joint_split(SHAPES, root, "test", OBJECTS)
    (root / "SegmentationClass" / "train_000002.png").unlink()
    with pytest.raises(DataError, match=r"1 of 5 masks of 'train' are missing, the first: .*train_000002.png"):
        find_joint_split(SHAPES, root, "train", OBJECTS)
    coco = DatasetDescription(name="boxes", layout="coco")
    with pytest.raises(DataError, match="'boxes' does not have masks and boxes of the same pictures; task=joint needs"):
        find_joint_split(coco, root, "train", OBJECTS)
    with pytest.raises(DataError, match="is not a folder"):
        find_joint_split(SHAPES, root / "nowhere", "train", OBJECTS)


def test_every_faulty_file_and_box_is_named_once(root: Path) -> None:
    (root / "SegmentationClass" / "train_000000.png").write_bytes(b"no picture")
    (root / "JPEGImages" / "train_000001.jpg").unlink()
    (root / "Annotations" / "val_000000.xml").write_text("<annotation><object/></annotation>")
    swapped = "<name>disc</name><bndbox><xmin>9</xmin><ymin>5</ymin><xmax>2</xmax><ymax>9</ymax></bndbox>"
    (root / "Annotations" / "train_000002.xml").write_text(f"<annotation><object>{swapped}</object></annotation>")
    faults, contents = check_joint_dataset(SHAPES, root, ["train", "val"], CLASSES, processes=1)
    assert sorted((fault.file.name, fault.problem.split(" (")[0][:40]) for fault in faults) == [
        ("train_000000.png", "this is not a picture"),
        ("train_000001.jpg", "there is no such file"),
        ("train_000002.jpg", "box 1"),
        ("val_000000.xml", "object 1 is of class ''; the classes are"),
    ]
    assert contents.pictures == 6
    assert contents.boxes.problems == {"swapped": 1}


def test_a_sound_set_has_no_faults_and_a_missing_split_is_one(root: Path) -> None:
    assert check_joint_dataset(SHAPES, root, ["train", "val"], CLASSES, processes=1)[0] == []
    ((file, problem),), _ = check_joint_dataset(SHAPES, root, ["test"], CLASSES, processes=1)
    assert file == root
    assert "there is no list" in problem
