"""PASCAL VOC's boxes: the lists of `ImageSets/Main` and one XML a picture.

VOC counts pixels from 1 and includes both corners; its [xmin, xmax] is [xmin - 1, xmax] here, where a box ends where
its last pixel ends. Widths, areas and IoU of VOC's own (inclusive) formulas come out the same.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DTDForbidden
from defusedxml.ElementTree import fromstring

from mbseg.data.detection_samples import Annotation
from mbseg.data.layouts import listed_names, voc_images
from mbseg.errors import DataError
from mbseg.files import read_bounded

MAX_BYTES = 1 << 20  # of one picture's XML; VOC's largest has 20 kB
CORNERS = ("xmin", "ymin", "xmax", "ymax")

OnFault = Callable[[Path, DataError], None]  # what becomes of a file that cannot be used


def refuse(_file: Path, error: DataError) -> None:
    """The first faulty file ends the reading."""
    raise error


def voc_annotations(root: Path, split: str, classes: Sequence[str], *, on_fault: OnFault = refuse) -> list[Annotation]:
    """The pictures of `ImageSets/Main/<split>.txt`, in its order; the first is number 0.

    Raises DataError for a list that is missing. An XML that is missing, damaged, or names a class that is none of
    `classes` is left to `on_fault`.
    """
    return annotations_named(root, listed_names(root / "ImageSets" / "Main", split), classes, on_fault=on_fault)


def annotations_named(
    root: Path, names: Sequence[str], classes: Sequence[str], *, on_fault: OnFault = refuse
) -> list[Annotation]:
    """The pictures of these names."""
    images = voc_images(root)
    annotations = []
    for index, name in enumerate(names):
        file = root / "Annotations" / f"{name}.xml"
        try:
            annotations.append(read_annotation(file, images / f"{name}.jpg", index, classes))
        except DataError as error:
            on_fault(file, error)
    return annotations


@np.errstate(invalid="ignore", over="ignore")  # faulty boxes hold anything
def read_annotation(file: Path, image: Path, image_id: int, classes: Sequence[str]) -> Annotation:
    """The objects of one picture. Its size in the XML is left alone: there are files that swap height and width."""
    labels = {name: label for label, name in enumerate(classes)}
    try:
        objects = _read(file).findall("object")
        found = [_object(entry, f"object {number}", labels) for number, entry in enumerate(objects, start=1)]
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    corners = np.array([box for box, _, _ in found], np.float64).reshape(-1, 4)
    boxes = np.concatenate([corners[:, :2] - 1, corners[:, 2:] - corners[:, :2] + 1], axis=1)
    return Annotation(
        file=file,
        image=image,
        image_id=image_id,
        size=None,
        boxes=boxes,
        labels=np.array([label for _, label, _ in found], np.int64),
        areas=boxes[:, 2] * boxes[:, 3],
        difficult=np.array([difficult for _, _, difficult in found], np.bool_),
        crowd=np.zeros(len(found), np.bool_),
    )


def _read(file: Path) -> Element:
    try:
        root: Element = fromstring(read_bounded(file, MAX_BYTES), forbid_dtd=True)
    except FileNotFoundError as error:
        raise DataError("there is no such file") from error
    except DTDForbidden as error:
        raise DataError("it has a document type (DTD), which no annotation needs; remove it") from error
    except OSError as error:
        raise DataError(f"cannot be read as the XML of one picture ({error.strerror})") from error
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(f"cannot be read as XML ({error})") from error
    if root.tag != "annotation":
        raise DataError(f"its root is <{root.tag[:40]}>; VOC's is <annotation>")
    return root


def _object(entry: Element, place: str, labels: dict[str, int]) -> tuple[list[float], int, bool]:
    """Corners as they are written, label, difficult."""
    name = (entry.findtext("name") or "").strip()
    if name not in labels:
        raise DataError(f"{place} is of class {name[:40]!r}; the classes are {', '.join(labels)}")
    return [_corner(entry, key, place) for key in CORNERS], labels[name], _difficult(entry, place)


def _corner(entry: Element, key: str, place: str) -> float:
    text = entry.findtext(f"bndbox/{key}")
    if text is None:
        raise DataError(f"{place} has no bndbox/{key}")
    try:
        if "_" in text:  # which Python reads as a number
            raise ValueError
        return float(text)
    except ValueError as error:
        raise DataError(f"{place}: {key} is {text.strip()[:40]!r}; a number is expected") from error


def _difficult(entry: Element, place: str) -> bool:
    text = (entry.findtext("difficult") or "0").strip()
    if text not in ("0", "1", "Unspecified"):  # the last is what labelling tools write
        raise DataError(f"{place}: difficult is {text[:40]!r}; 0 or 1 is expected")
    return text == "1"
