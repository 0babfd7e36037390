"""Annotations from VOC's XML: right to the pixel, or one line that names the file and the object."""

from pathlib import Path

import pytest

from mbseg.data.box_check import box_faults
from mbseg.data.voc_detection import read_annotation
from mbseg.errors import DataError

CLASSES = ("cat", "dog")
OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"
CORNERS = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"


def voc_object(name: str = "dog", difficult: object = 0, corners: tuple[object, ...] = (1, 2, 3, 4)) -> str:
    return OBJECT.format(name, difficult, CORNERS.format(*corners))


def read_xml(folder: Path, *objects: str):
    (folder / "a.xml").write_text(f"<annotation><size/>{''.join(objects)}</annotation>")
    return read_annotation(folder / "a.xml", folder / "a.jpg", 0, CLASSES)


def test_a_voc_box_ends_where_its_last_pixel_ends(tmp_path: Path) -> None:
    """VOC counts from 1 and includes both corners: columns 1 to 3 are three pixels, from 0 to 3."""
    found = read_xml(tmp_path, voc_object(corners=(1, 2, 3, 2)), voc_object("cat", 1, (10.5, 1, 20, 30)))
    assert found.xyxy.tolist() == [[0, 1, 3, 2], [9.5, 0, 20, 30]]
    assert found.boxes.tolist() == [[0, 1, 3, 1], [9.5, 0, 10.5, 30]]
    assert found.labels.tolist() == [1, 0]
    assert found.difficult.tolist() == [False, True]
    assert found.areas.tolist() == [3, 315]
    assert not found.crowd.any()


def test_a_voc_picture_may_hold_nothing_and_its_parts_are_no_objects(tmp_path: Path) -> None:
    assert read_xml(tmp_path).boxes.shape == (0, 4)
    part = f"<part><name>head</name><bndbox>{CORNERS.format(7, 7, 8, 8)}</bndbox></part></object>"
    assert read_xml(tmp_path, voc_object().replace("</object>", part)).xyxy.tolist() == [[0, 1, 3, 4]]


@pytest.mark.parametrize("difficult", ["", "Unspecified", " 0 "])
def test_what_is_not_called_difficult_is_not(difficult: str, tmp_path: Path) -> None:
    assert not read_xml(tmp_path, voc_object(difficult=difficult)).difficult.any()


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (voc_object("cow"), r"object 2 is of class 'cow'; the classes are cat, dog"),
        (voc_object(difficult="yes"), r"object 2: difficult is 'yes'; 0 or 1 is expected"),
        (voc_object(corners=(1, "two", 3, 4)), r"object 2: ymin is 'two'; a number is expected"),
        ("<object><name>cat</name></object>", r"object 2 has no bndbox/xmin"),
        ("<object>", r"cannot be read as XML \(mismatched tag"),
    ],
)
def test_a_fault_in_an_xml_is_one_line_that_names_the_file_and_the_object(faulty, said, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.xml: {said}") as caught:
        read_xml(tmp_path, voc_object(), faulty)
    assert "\n" not in str(caught.value)


def test_an_xml_that_would_grow_without_end_or_is_too_large_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'
    outside = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'
    large = " " * (1 << 20) + "<a/>"
    for text, said in (
        (bomb, "document type"),
        (outside, "document type"),
        (large, "cannot be read as the XML of one"),
    ):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(DataError, match=rf"a\.xml: .*{said}"):
            read_annotation(tmp_path / "a.xml", tmp_path / "a.jpg", 0, CLASSES)
    with pytest.raises(DataError, match=r"b\.xml: there is no such file"):
        read_annotation(tmp_path / "b.xml", tmp_path / "b.jpg", 0, CLASSES)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "nan"])
def test_a_corner_that_is_no_finite_number_costs_its_box_and_no_warning(number: str, tmp_path: Path) -> None:
    found = read_xml(tmp_path, voc_object(corners=(number, 1, number, 9)), voc_object(corners=(1, 1, 9, 9)))
    assert [fault.split(" is ")[1] for fault in box_faults(found, (20, 20), CLASSES)] == ["not finite: dropped"]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe<", b"<?xml version='1.0' encoding='rot13'?><annotation/>", b"<a>" * 99999]
)
def test_an_xml_that_is_none_is_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.xml: cannot be read as XML") as caught:
        read_annotation(tmp_path / "a.xml", tmp_path / "a.jpg", 0, CLASSES)
    assert len(str(caught.value)) < 500
