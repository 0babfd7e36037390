"""A split of pictures with masks and boxes as a torch Dataset, and its batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from mbseg.data.dataset import PairDataset
from mbseg.data.detection_dataset import DetectionDataset, read_detection_sample
from mbseg.data.detection_resize import Resize
from mbseg.data.detection_samples import Annotation
from mbseg.data.joint_samples import JointBatch, JointSample, JointSplit
from mbseg.data.labels import IGNORE_INDEX, LabelMap
from mbseg.data.reading import read_mask, size_text
from mbseg.data.samples import Pair
from mbseg.errors import DataError

Transform = Callable[[JointSample, tuple[int, ...]], JointSample]  # the numbers decide all that is random


class JointDataset(Dataset[JointSample]):
    """Reads and augments one picture with its mask and boxes at a time; asked by (epoch, index) like `PairDataset`."""

    def __init__(
        self,
        split: JointSplit,
        classes: Sequence[str],
        label_map: LabelMap,
        transform: Transform | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.split = split.objects
        self.masks = tuple(split.masks)
        self.annotations = tuple(split.objects.annotations)
        self.classes = tuple(classes)
        self.label_map = label_map
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: int | tuple[int, int]) -> JointSample:
        """Raises DataError if a file cannot be used."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = read_joint_sample(self.annotations[index], self.masks[index], self.label_map)
        return self.transform(sample, (self.seed, epoch, index)) if self.transform else sample

    def files(self, index: int) -> Sequence[Path]:
        """What is read for a picture."""
        return tuple(file for file in (self.annotations[index].image, self.masks[index]) if file is not None)

    @property
    def masked(self) -> PairDataset:
        """The pictures that have a mask, as they are."""
        pairs = [
            Pair(annotation.image.stem, annotation.image, mask)
            for annotation, mask in zip(self.annotations, self.masks, strict=True)
            if mask is not None
        ]
        return PairDataset(pairs, self.classes, self.label_map)

    @staticmethod
    def collate(samples: Sequence[JointSample]) -> JointBatch:
        """Stack pictures of one size, and masks of one size."""
        seen = DetectionDataset.collate([sample.seen for sample in samples])
        masks = torch.from_numpy(np.stack([sample.mask for sample in samples]))
        return JointBatch(seen.images, masks, seen.boxes, seen.labels, seen.sizes, seen.annotations)


def read_joint_sample(annotation: Annotation, mask: Path | None, label_map: LabelMap) -> JointSample:
    """The picture, those of its boxes that can be trained on, and its mask: 255 where there is none.

    Raises DataError if a file cannot be used or the sizes differ.
    """
    seen = read_detection_sample(annotation)
    if mask is None:
        return JointSample(seen, np.full(seen.size, IGNORE_INDEX, np.uint8))
    labels = read_mask(mask, label_map)
    if labels.shape != seen.size:
        raise DataError(
            f"{mask}: the mask is {size_text(labels)}, its picture {annotation.image} is {size_text(seen.image)}"
        )
    return JointSample(seen, labels)


@dataclass(frozen=True)
class ResizePicture:
    """What evaluation does: the picture is stretched for the network, its mask is that of its file."""

    resize: Resize

    def __call__(self, sample: JointSample, _numbers: tuple[int, ...] = ()) -> JointSample:
        return JointSample(self.resize(sample.seen), sample.mask)
