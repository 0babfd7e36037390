"""Every picture, annotation and box of a data set for detection read and judged before training."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mbseg.data.archives import Progress, silent
from mbseg.data.box_check import BoxReport, CheckedBoxes, box_faults, check_boxes, report_boxes
from mbseg.data.check import Fault, check_each, fault_of, fault_of_death, one_a_file, repeated_pictures
from mbseg.data.description import DatasetDescription
from mbseg.data.detection_dataset import read_detection_sample
from mbseg.data.detection_layouts import list_annotations
from mbseg.data.detection_samples import Annotation
from mbseg.errors import DataError


class Contents(NamedTuple):
    """What the annotations that could be read hold."""

    pictures: int
    without_objects: int  # of the pictures; they are sound, and trained on as background
    boxes: BoxReport  # of the pictures whose size is known

    @property
    def tree(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"boxes": self.boxes.total, "faulty_boxes": dict(self.boxes.problems)}
        return {"pictures": self.pictures, "without_objects": self.without_objects, **counts}

    def __str__(self) -> str:
        return f"{self.pictures} pictures, {self.without_objects} of them without objects; {self.boxes}"


class Judged(NamedTuple):
    """The faults of one annotated picture."""

    files: list[Fault]
    boxes: list[Fault]
    checked: CheckedBoxes | None  # None: the size of the picture is not known


def check_detection_dataset(
    description: DatasetDescription,
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str],
    *,
    processes: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Fault], Contents]:
    """The faults of the named splits, each file in one line, each box in one of its own, and what the splits hold."""
    listed = {split: read_split(description, root, split, classes) for split in splits}
    annotations = [annotation for found, _ in listed.values() for annotation in found]
    check = partial(check_annotation, classes=classes)
    judged = list(check_each(check, annotations, processes, progress, died=judged_deadly))
    files = [fault for _, faults in listed.values() for fault in faults]
    files += repeated_pictures({split: [one.image for one in found] for split, (found, _) in listed.items()})
    return summed_up(annotations, judged, files)


def summed_up(
    annotations: Sequence[Annotation], judged: Sequence[Judged], files: Sequence[Fault]
) -> tuple[list[Fault], Contents]:
    """All faults, those of `files` first, and what the annotated pictures hold."""
    boxes = dict.fromkeys(fault for one in judged for fault in one.boxes)
    contents = Contents(
        pictures=len(annotations),
        without_objects=sum(not len(annotation.labels) for annotation in annotations),
        boxes=report_boxes(one.checked for one in judged if one.checked),
    )
    return [*one_a_file([*files, *(fault for one in judged for fault in one.files)]), *boxes], contents


def read_split(
    description: DatasetDescription, root: Path, split: str, classes: Sequence[str]
) -> tuple[list[Annotation], list[Fault]]:
    """The annotations of a split that can be read, and what is wrong with the others."""
    faults: list[Fault] = []

    def note(file: Path, error: DataError) -> None:
        faults.append(fault_of(file, error))

    try:
        found = list_annotations(description, root, split, classes, on_fault=note)
    except DataError as error:
        # Behind faulty files this can only be that nothing is left of the split, which is no news.
        return [], faults or [Fault(root, str(error).removeprefix(f"{root}/"))]
    return found.annotations, faults


def check_annotation(annotation: Annotation, classes: Sequence[str]) -> Judged:
    """Read the picture, and judge its boxes by its size: the annotated one, if that is told."""
    size, files = annotation.size, []
    try:
        size = read_detection_sample(annotation).size
    except DataError as error:
        files.append(fault_of(annotation.image, error))
    if size is None:
        return Judged(files, [], None)
    boxes = [Fault(annotation.image, problem) for problem in box_faults(annotation, size, classes)]
    return Judged(files, boxes, check_boxes(annotation.xyxy, size))


def judged_deadly(annotation: Annotation) -> Judged:
    """Of a picture that ended the process which read it."""
    return Judged([fault_of_death(annotation.image)], [], None)
