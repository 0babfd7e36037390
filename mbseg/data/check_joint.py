"""Every picture, mask, annotation and box of a data set for both read and judged before training."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mbseg.data.archives import Progress, silent
from mbseg.data.check import Fault, check_each, check_pair, fault_of, fault_of_death, repeated_pictures
from mbseg.data.check_detection import Contents, Judged, check_annotation, summed_up
from mbseg.data.description import DatasetDescription
from mbseg.data.detection_samples import Annotation
from mbseg.data.joint_layouts import list_joint_split
from mbseg.data.labels import LabelMap
from mbseg.data.samples import Pair
from mbseg.errors import DataError


class Picture(NamedTuple):
    """What is told of one picture."""

    annotation: Annotation
    mask: Path | None


def check_joint_dataset(
    description: DatasetDescription,
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str],
    *,
    processes: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Fault], Contents]:
    """What `check_detection_dataset` gives, the faults of the masks among it; `classes` begin with the background."""
    files: list[Fault] = []
    listed = {split: read_split(description, root, split, classes[1:], files) for split in splits}
    pictures = [picture for found in listed.values() for picture in found]
    check = partial(check_picture, classes=classes[1:], label_map=description.label_map(len(classes)))
    judged = list(check_each(check, pictures, processes, progress, died=judged_deadly))
    files += repeated_pictures({split: [one.annotation.image for one in found] for split, found in listed.items()})
    return summed_up([picture.annotation for picture in pictures], judged, files)


def read_split(
    description: DatasetDescription, root: Path, split: str, classes: Sequence[str], faults: list[Fault]
) -> list[Picture]:
    """The pictures of a split that can be read; what is wrong with the others is added to `faults`."""
    before = len(faults)

    def note(file: Path, error: DataError) -> None:
        faults.append(fault_of(file, error))

    try:
        found = list_joint_split(description, root, split, classes, on_fault=note)
    except DataError as error:
        if len(faults) == before:  # else it can only be that nothing is left of the split, which is no news
            faults.append(Fault(root, str(error).removeprefix(f"{root}/")))
        return []
    return [Picture(*told) for told in zip(found.objects.annotations, found.masks, strict=True)]


def check_picture(picture: Picture, classes: Sequence[str], label_map: LabelMap) -> Judged:
    """Read the picture and its mask, and judge its boxes."""
    annotation, mask = picture
    judged = check_annotation(annotation, classes)
    if mask is None:
        return judged
    of_pair = check_pair(Pair(annotation.image.stem, annotation.image, mask), label_map)
    return judged._replace(files=list(dict.fromkeys([*judged.files, *of_pair])))


def judged_deadly(picture: Picture) -> Judged:
    """Of a picture that, or whose mask, ended the process which read it."""
    masks = [picture.mask] if picture.mask else []
    return Judged([fault_of_death(picture.annotation.image, *masks)], [], None)
