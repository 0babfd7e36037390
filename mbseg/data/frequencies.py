"""How often each class occurs, and what weight that gives it in the loss."""

import math

import numpy as np

from mbseg.data.dataset import PairDataset
from mbseg.data.labels import IGNORE_INDEX
from mbseg.data.reading import read_mask
from mbseg.metrics.gather import own_share, summed


def inverse_log_weights(training: PairDataset) -> tuple[float, ...]:
    """1 / ln(1.1 + share of the labelled pixels) for each class (ENet, arXiv:1606.02147, section 5.2, with c = 1.1).

    Scaled to a mean of 1. Reads every mask of the split.
    """
    counts = pixel_counts(training)
    weights = [1 / math.log(1.1 + count / max(1, counts.sum())) for count in counts]
    return tuple(weight * len(weights) / sum(weights) for weight in weights)


def pixel_counts(training: PairDataset) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Pixels of each class over all masks, which the processes share; all of them must come here."""
    counts = np.zeros(IGNORE_INDEX + 1, np.int64)
    for pair in own_share(training.pairs):
        mask = read_mask(pair.mask, training.label_map)
        counts += np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)
    return summed(counts[: len(training.classes)])
