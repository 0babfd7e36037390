"""Pictures with masks and boxes in VOC's layout, where each has lists of its own."""

from collections.abc import Sequence
from pathlib import Path

from mbseg.data.description import DatasetDescription
from mbseg.data.detection_samples import AnnotatedSplit
from mbseg.data.joint_samples import JointSplit
from mbseg.data.layouts import listed_names, voc_pairs
from mbseg.data.voc_detection import OnFault, annotations_named, refuse
from mbseg.errors import DataError
from mbseg.files import is_file


def find_joint_split(description: DatasetDescription, root: Path, split: str, classes: Sequence[str]) -> JointSplit:
    """The split with every file of it present; `classes` are those of objects.

    Raises DataError naming what is missing, empty or wrong.
    """
    found = list_joint_split(description, root, split, classes)
    pictures = [annotation.image for annotation in found.objects.annotations]
    for what, files in ("pictures", pictures), ("masks", [mask for mask in found.masks if mask]):
        if missing := [file for file in files if not is_file(file)]:
            raise DataError(f"{len(missing)} of {len(files)} {what} of {split!r} are missing, the first: {missing[0]}")
    return found


def list_joint_split(
    description: DatasetDescription,
    root: Path,
    split: str,
    classes: Sequence[str],
    *,
    on_fault: OnFault = refuse,
) -> JointSplit:
    """Like `find_joint_split`, but files may be missing, and `on_fault` decides on a faulty XML of one picture.

    The pictures are those of `ImageSets/Main/<split>.txt` and of `ImageSets/Segmentation/<split>.txt`, of which one may
    be missing. All have their boxes in `Annotations`, and those of the second list have a mask.
    """
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder; {description.advice}")
    if description.layout != "voc":
        raise DataError(
            f"data set {description.name!r} does not have masks and boxes of the same pictures; task=joint needs both, "
            "as a data.kind of layout voc has them"
        )
    masks = listed_masks(root, split)
    annotations = annotations_named(root, list(masks), classes, on_fault=on_fault)
    if not annotations:
        raise DataError(f"split {split!r} in {root} is empty: there is no picture to read")
    ids = tuple(range(1, len(classes) + 1))
    objects = AnnotatedSplit(tuple(classes), ids, annotations)
    return JointSplit(objects, [masks[annotation.image.stem] for annotation in annotations])


def listed_masks(root: Path, split: str) -> dict[str, Path | None]:
    """The masks of both lists' pictures, by name."""
    of_masks, of_boxes = (root / "ImageSets" / purpose / f"{split}.txt" for purpose in ("Segmentation", "Main"))
    boxed = listed_names(of_boxes.parent, split) if is_file(of_boxes) else []
    masked = voc_pairs(root, split) if is_file(of_masks) or not boxed else []
    return dict.fromkeys(boxed) | {pair.name: pair.mask for pair in masked}
