"""A split of a data set as a torch Dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from mbseg.data.labels import LabelMap
from mbseg.data.reading import read_sample
from mbseg.data.samples import Batch, Pair, Sample

Transform = Callable[[Sample, tuple[int, ...]], Sample]  # the numbers decide all that is random


class PairDataset(Dataset[Sample]):
    """Reads and augments one labelled picture at a time.

    It is asked by (epoch, index): the augmentation follows from the seed and these two alone, so neither the number of
    workers nor the order nor a restart changes it. A plain index means epoch 0.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Sequence[str],
        label_map: LabelMap | None = None,
        transform: Transform | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.pairs = tuple(pairs)
        self.classes = tuple(classes)
        self.label_map = label_map or LabelMap(len(classes))
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Raises DataError if a file cannot be used."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = read_sample(self.pairs[index], self.label_map)
        return self.transform(sample, (self.seed, epoch, index)) if self.transform else sample

    def files(self, index: int) -> Sequence[Path]:
        """What is read for a picture."""
        return self.pairs[index].image, self.pairs[index].mask

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Stack samples of one size."""
        images = np.stack([sample.image for sample in samples])
        masks = np.stack([sample.mask for sample in samples])
        names = [sample.name for sample in samples]
        return Batch(names, torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(masks))
