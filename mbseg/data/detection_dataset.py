"""A split of a data set for detection as a torch Dataset, and its batches."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from mbseg.data.box_check import check_boxes
from mbseg.data.detection_samples import AnnotatedSplit, Annotation, DetectionBatch, DetectionSample
from mbseg.data.reading import read_image, size_text
from mbseg.errors import DataError

Transform = Callable[[DetectionSample, tuple[int, ...]], DetectionSample]  # the numbers decide all that is random


class DetectionDataset(Dataset[DetectionSample]):
    """Reads and augments one annotated picture at a time; asked by (epoch, index) like `PairDataset`."""

    def __init__(self, split: AnnotatedSplit, transform: Transform | None = None, *, seed: int = 0) -> None:
        self.split = split
        self.annotations = tuple(split.annotations)
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: int | tuple[int, int]) -> DetectionSample:
        """Raises DataError if a file cannot be used."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = read_detection_sample(self.annotations[index])
        return self.transform(sample, (self.seed, epoch, index)) if self.transform else sample

    def files(self, index: int) -> Sequence[Path]:
        """What is read for a picture."""
        return (self.annotations[index].image,)

    @staticmethod
    def collate(samples: Sequence[DetectionSample]) -> DetectionBatch:
        """Stack pictures of one size; each keeps its own number of boxes."""
        images = np.stack([sample.image for sample in samples])
        return DetectionBatch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),
            boxes=[torch.from_numpy(sample.boxes) for sample in samples],
            labels=[torch.from_numpy(sample.labels) for sample in samples],
            sizes=[sample.size for sample in samples],
            annotations=[sample.annotation for sample in samples],
        )


def read_detection_sample(annotation: Annotation) -> DetectionSample:
    """The picture and those of its boxes that can be trained on.

    Raises DataError if the picture cannot be used or has another size than is annotated.
    """
    image = read_image(annotation.image)
    height, width = image.shape[:2]
    if annotation.size not in (None, (height, width)):
        expected = "{} x {}".format(*annotation.size)
        raise DataError(
            f"{annotation.image} is {size_text(image)}, but {expected} in {annotation.file}; was it turned?"
        )
    boxes, kept, _ = check_boxes(annotation.xyxy, (height, width))
    single = ~annotation.crowd[kept]
    return DetectionSample(
        image=image,
        boxes=boxes[single],
        labels=annotation.labels[kept][single],
        size=(height, width),
        annotation=annotation,
    )
