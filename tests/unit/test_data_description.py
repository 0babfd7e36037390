"""Descriptions of data sets and where they are found."""

import numpy as np
import pytest
from PIL import Image

from mbseg import resources
from mbseg.data.description import DatasetDescription, load_description
from mbseg.data.labels import LabelMap, class_ids, labels_of_colours, ranges, voc_palette
from mbseg.errors import ConfigError, DataError


@pytest.mark.parametrize(("kind", "classes"), [("voc", 21), ("camvid", 11), ("shapes", 7)])
def test_every_class_and_void_label_has_a_colour_of_its_own(kind: str, classes: int) -> None:
    description = load_description(kind)
    assert description.classes is not None
    assert description.palette is not None
    assert len(description.classes) == classes
    assert len(set(description.palette)) == len(description.palette) >= classes + len(description.void)


@pytest.mark.parametrize("kind", ["list", "folder"])
def test_a_users_own_data_set_has_no_classes_of_its_own(kind: str) -> None:
    assert load_description(kind).classes is None


def test_every_shipped_description_is_valid() -> None:
    for name in resources.dataset_names():
        assert load_description(name).name == name


@pytest.mark.parametrize(("ids", "said"), [((1, 3, 2), "do not rise"), ((1, 1, 2), "do not rise"), ((1, 2), "2 categ")])
def test_category_ids_that_do_not_fit_the_classes_are_refused(ids: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DatasetDescription(name="x", layout="coco", classes=("a", "b", "c"), category_ids=ids)


def test_gaps_in_the_category_ids_are_classes_of_their_own() -> None:
    description = DatasetDescription(name="x", layout="coco", classes=("a", "b"), category_ids=(2, 4))
    assert description.categories == ("unused 1", "a", "unused 3", "b")


def test_an_unknown_data_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no data set named 'camvd'; did you mean camvid\?"):
        load_description("camvd")


def test_the_wheels_own_folder_comes_before_a_strangers(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "mbseg")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "mbseg" / "_data" / "datasets").mkdir(parents=True)
    assert resources.shipped_folder("datasets") == tmp_path / "mbseg" / "_data" / "datasets"


def test_a_shipped_config_is_found_with_and_without_its_suffix(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "mbseg")
    (file := tmp_path / "configs" / "voc" / "small.yaml").parent.mkdir(parents=True)
    file.touch()
    assert resources.config_file("voc/small") == resources.config_file("voc/small.yaml") == file
    assert resources.config_file("voc/large") is None
    assert resources.config_names() == ["voc/small"]


def test_a_damaged_description_is_one_line_that_names_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "mbseg")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.yaml").write_text("name: mine\nlayout: vocc\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: .*layout") as caught:
        load_description("mine")
    assert "\n" not in str(caught.value)


def test_the_voc_palette_has_the_colours_published_with_voc() -> None:
    palette = voc_palette()
    assert palette[0] == (0, 0, 0)
    assert palette[1] == (128, 0, 0)  # aeroplane
    assert palette[15] == (192, 128, 128)  # person
    assert palette[20] == (0, 64, 128)  # tvmonitor
    assert palette[255] == (224, 224, 192)  # the border


def test_a_real_voc_mask_carries_the_palette_of_the_formula(voc_root) -> None:
    mask = Image.open(next((voc_root / "SegmentationClass").glob("*.png")))
    assert np.array(mask.getpalette()).reshape(-1, 3).tolist() == [list(colour) for colour in voc_palette()]


def test_colours_and_labels_are_each_others_inverse() -> None:
    palette = load_description("camvid").palette
    labels = np.random.default_rng(0).integers(0, len(palette), (5, 7)).astype(np.uint8)
    assert (labels_of_colours(np.array(palette, np.uint8)[labels], palette) == labels).all()


def test_a_colour_beside_the_palette_is_named() -> None:
    colours = np.full((2, 2, 3), 128, np.uint8)
    colours[1, 1] = 1, 2, 3
    with pytest.raises(DataError, match=r"\[1, 2, 3\] is not in the palette"):
        labels_of_colours(colours, load_description("camvid").palette)


@pytest.mark.parametrize("strange", [11, 254, 256, 300, -1])
def test_a_label_out_of_range_is_named_with_what_is_allowed(strange: int) -> None:
    with pytest.raises(DataError, match=rf"label {strange} is neither in 0\.\.10 nor 12 and 255"):
        class_ids(np.array([[0, strange, 10, 12, 255]]), LabelMap(11, void=(12,)))


def test_void_labels_become_255() -> None:
    assert class_ids(np.array([[0, 10, 11, 255]]), LabelMap(11, void=(11,))).tolist() == [[0, 10, 255, 255]]


def test_classes_are_told_by_the_label_values_of_the_data_set() -> None:
    label_map = LabelMap(3, void=(1, 2), values=(7, 0, 9))
    assert class_ids(np.array([[9, 7, 0, 1, 255]]), label_map).tolist() == [[2, 0, 1, 255, 255]]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([4], "4"), ([0, 1], "0..1"), ([12, 255], "12 and 255"), ([0, 1, 2, 5, 8, 9], "0..2, 5 and 8..9")],
)
def test_numbers_in_a_row_are_said_as_ranges(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words


def test_a_description_with_too_few_label_values_is_refused() -> None:
    with pytest.raises(ValueError, match="1 label_values for 2 classes"):
        DatasetDescription(name="mine", layout="voc", classes=("a", "b"), label_values=(3,))


@pytest.fixture
def voc_root(pytestconfig):
    root = pytestconfig.rootpath.parent / "shared" / "data" / "VOCdevkit" / "VOC2012"
    if not root.is_dir():
        pytest.skip("no VOC pictures here")
    return root
