import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mbseg.data.labels import IGNORE_INDEX, voc_palette
from mbseg.data.samples import UInt8Array
from mbseg.data.shape_classes import CLASSES, SHAPES
from mbseg.data.shapes import draw_shapes, shapes_scene
from mbseg.errors import DataError

TRAIN, VAL = 12, 6
SIZE = (96, 120)
SCENES = [shapes_scene(0, "train", index, SIZE) for index in range(30)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "shapes"
    assert draw_shapes(folder, train=TRAIN, val=VAL, size=SIZE) == {"train": TRAIN, "val": VAL}
    return folder


def names(root: Path, split: str, purpose: str = "Segmentation") -> list[str]:
    return (root / "ImageSets" / purpose / f"{split}.txt").read_text().split()


def read_mask(root: Path, name: str) -> UInt8Array:
    with Image.open(root / "SegmentationClass" / f"{name}.png") as image:
        assert image.mode == "P"
        return np.array(image)


def read_boxes(root: Path, name: str) -> Iterator[tuple[str, list[int]]]:
    for entry in ElementTree.parse(root / "Annotations" / f"{name}.xml").iter("object"):
        corners = [int(entry.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
        yield entry.findtext("name", ""), corners


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def extent(chosen: np.ndarray) -> list[int]:
    """The box of the true pixels as VOC writes it: inclusive, counted from 1."""
    rows, columns = np.nonzero(chosen)
    return [int(edge) + 1 for edge in (columns.min(), rows.min(), columns.max(), rows.max())]


def test_every_listed_name_has_its_three_files_and_no_file_is_unlisted(root: Path) -> None:
    listed = sorted(names(root, "train") + names(root, "val"))
    assert len(set(listed)) == TRAIN + VAL
    for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png"), ("Annotations", ".xml")):
        assert sorted(path.name for path in (root / folder).iterdir()) == [name + ending for name in listed]


@pytest.mark.parametrize("purpose", ["Segmentation", "Main"])
def test_trainval_is_train_and_val(root: Path, purpose: str) -> None:
    train, val = names(root, "train", purpose), names(root, "val", purpose)
    assert (len(train), len(val)) == (TRAIN, VAL)
    assert names(root, "trainval", purpose) == train + val


def test_pictures_masks_and_annotations_have_the_size_asked_for(root: Path) -> None:
    height, width = SIZE
    for name in names(root, "trainval"):
        with Image.open(root / "JPEGImages" / f"{name}.jpg") as image:
            assert (image.mode, image.size) == ("RGB", (width, height))
        tree = ElementTree.parse(root / "Annotations" / f"{name}.xml")
        assert read_mask(root, name).shape == SIZE
        assert [tree.findtext(f"size/{key}") for key in ("height", "width", "depth")] == [str(height), str(width), "3"]
        assert tree.findtext("filename") == f"{name}.jpg"


def test_masks_hold_class_ids_and_the_ignored_border_in_the_colours_of_voc(root: Path) -> None:
    for name in names(root, "trainval"):
        assert set(np.unique(read_mask(root, name))) <= {*range(len(CLASSES)), IGNORE_INDEX}
        with Image.open(root / "SegmentationClass" / f"{name}.png") as image:
            palette = image.getpalette()
        assert palette == [value for colour in voc_palette() for value in colour]


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_class_occurs_in_a_split_of_six_or_more(root: Path, split: str) -> None:
    found = np.concatenate([np.unique(read_mask(root, name)) for name in names(root, split)])
    assert set(found) == {*range(len(CLASSES)), IGNORE_INDEX}


def test_the_boxes_of_a_class_span_exactly_its_pixels(root: Path) -> None:
    for name in names(root, "trainval"):
        mask, boxes = read_mask(root, name), list(read_boxes(root, name))
        assert {CLASSES.index(kind) for kind, _ in boxes} == set(np.unique(mask)) - {0, IGNORE_INDEX}
        for kind in {kind for kind, _ in boxes}:
            corners = np.array([box for other, box in boxes if other == kind])
            spanned = [*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist()]
            assert spanned == extent(mask == CLASSES.index(kind))


def test_the_box_of_an_object_is_the_extent_of_its_visible_pixels() -> None:
    for scene in SCENES:
        for number, item in enumerate(scene.objects, start=1):
            left, top, right, bottom = item.box
            assert [left + 1, top + 1, right + 1, bottom + 1] == extent(scene.instances == number)
            assert set(scene.mask[scene.instances == number]) == {CLASSES.index(item.shape.name)}


def test_an_object_is_occluded_exactly_if_a_nearer_one_takes_of_its_pixels() -> None:
    occluded = []
    for scene in SCENES:
        for number, item in enumerate(scene.objects, start=1):
            assert item.occluded == (((item.coverage >= 128) & (scene.instances != number)).any())
            occluded.append(item.occluded)
    assert 0.1 < np.mean(occluded) < 0.6


def test_an_object_that_does_not_touch_the_edge_is_not_truncated() -> None:
    height, width = SIZE
    truncated = [item for scene in SCENES for item in scene.objects if item.truncated]
    for item in truncated:
        left, top, right, bottom = extent(item.coverage > 0)
        assert left == 1 or top == 1 or right == width or bottom == height
    assert truncated


def test_different_classes_never_touch_without_a_border() -> None:
    for scene in SCENES:
        for first, second in ((scene.mask[1:], scene.mask[:-1]), (scene.mask[:, 1:], scene.mask[:, :-1])):
            labelled = (first != IGNORE_INDEX) & (second != IGNORE_INDEX)
            assert (first == second)[labelled].all()


def test_a_scene_holds_two_to_six_objects_of_any_size() -> None:
    counts = [len(scene.objects) for scene in SCENES]
    assert set(counts) <= set(range(2, 7))
    sides = [max(np.ptp(item.box[::2]), np.ptp(item.box[1::2])) for scene in SCENES for item in scene.objects]
    assert min(sides) < 0.3 * min(SIZE)
    assert max(sides) > 0.7 * min(SIZE)


def test_the_nearest_objects_take_the_classes_in_turn() -> None:
    assert [scene.objects[0].shape for scene in SCENES[:6]] == list(SHAPES)


def test_swapping_red_and_blue_gives_a_class_the_hue_of_another() -> None:
    for shape in SHAPES:
        swapped = 240 - shape.hue
        distances = {other.name: abs((swapped - other.hue + 180) % 360 - 180) for other in SHAPES}
        nearest = min(distances, key=distances.__getitem__)
        assert nearest != shape.name
        assert distances[nearest] < 15


def test_a_picture_does_not_depend_on_how_many_are_drawn(root: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", train=3, val=2, size=SIZE)
    whole = contents(root)
    drawn = {name: content for name, content in contents(tmp_path / "shapes").items() if "ImageSets" not in name}
    assert len(drawn) == 15
    assert all(whole[name] == content for name, content in drawn.items())


def test_another_process_draws_the_same_files(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    code = (
        "import sys, pathlib; from mbseg.data.shapes import draw_shapes;"
        f"draw_shapes(pathlib.Path(sys.argv[1]), train={TRAIN}, val={VAL}, size={SIZE})"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert contents(folder) == contents(root)


def test_seeds_and_splits_draw_different_pictures() -> None:
    images = [shapes_scene(seed, split, 0, SIZE).image for seed in (0, 1) for split in ("train", "val")]
    for position, image in enumerate(images):
        assert all((image != other).any() for other in images[position + 1 :])


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "shapes" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        draw_shapes(tmp_path / "shapes", train=1, val=1)
    assert contents(tmp_path) == {"shapes/precious.txt": b"mine"}


def test_an_interrupted_drawing_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mbseg.data.shapes.shapes_scene", interrupted)
        with pytest.raises(KeyboardInterrupt):
            draw_shapes(tmp_path / "shapes", train=1, val=1)
    assert not list(tmp_path.iterdir())
    draw_shapes(tmp_path / "shapes", train=1, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]
