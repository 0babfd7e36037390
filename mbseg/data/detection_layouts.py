"""Where the pictures and boxes of a data set lie: from a root and a split to annotations."""

from collections.abc import Sequence
from pathlib import Path

from mbseg.data.coco import read_coco
from mbseg.data.description import DatasetDescription
from mbseg.data.detection_samples import AnnotatedSplit
from mbseg.data.voc_detection import OnFault, refuse, voc_annotations
from mbseg.errors import DataError
from mbseg.files import is_file

COCO_FILES = (
    *("{split}", "{split}.json", "instances_{split}.json"),
    *("annotations/{split}.json", "annotations/instances_{split}.json", "{split}/_annotations.coco.json"),
)
COCO_FOLDERS = ("{split}", "images/{split}", "{split}/images", "images", ".")


def find_annotations(
    description: DatasetDescription, root: Path, split: str, classes: Sequence[str] | None = None
) -> AnnotatedSplit:
    """The split with every picture of it present. `classes` None: those of the description, or of the COCO file.

    Raises DataError naming what is missing, empty or wrong.
    """
    found = list_annotations(description, root, split, classes)
    pictures = [annotation.image for annotation in found.annotations]
    if missing := [picture for picture in pictures if not is_file(picture)]:
        raise DataError(f"{len(missing)} of {len(pictures)} pictures of {split!r} are missing, the first: {missing[0]}")
    return found


def list_annotations(
    description: DatasetDescription,
    root: Path,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    on_fault: OnFault = refuse,
) -> AnnotatedSplit:
    """Like `find_annotations`, but pictures may be missing, and `on_fault` decides on a faulty XML of one picture."""
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder; {description.advice}")
    classes = classes or description.object_classes
    found = _read(description, root, split, classes, on_fault)
    if not found.annotations:
        raise DataError(f"split {split!r} in {root} is empty: there is no picture to read")
    return found


def _read(
    description: DatasetDescription, root: Path, split: str, classes: Sequence[str] | None, on_fault: OnFault
) -> AnnotatedSplit:
    if description.layout == "coco":
        return read_coco(coco_file(root, split), coco_folders(root, split), classes)
    if description.layout == "voc" and classes:
        ids = tuple(range(1, len(classes) + 1))
        return AnnotatedSplit(tuple(classes), ids, voc_annotations(root, split, classes, on_fault=on_fault))
    raise DataError(f"data set {description.name!r} has masks, but no boxes; detection needs one of layout voc or coco")


def coco_file(root: Path, split: str) -> Path:
    """The JSON of a split. Raises DataError, listing the places looked at, if there is none."""
    for place in COCO_FILES:
        if is_file(file := root / place.format(split=split)):
            return file
    places = ", ".join(place.format(split=split) for place in COCO_FILES[1:])
    raise DataError(f"no JSON of split {split!r} in {root}; looked for {places}")


def coco_folders(root: Path, split: str) -> list[Path]:
    """Where the pictures of a split may lie: COCO has a folder a split, many others have one named `images`."""
    name = Path(split).stem.removeprefix("instances_")
    return [root / place.format(split=name) for place in COCO_FOLDERS]
