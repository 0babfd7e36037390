"""The scores of finished models that take one frame at a time, whatever runs them."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from tqdm import tqdm

from mbseg.data.reading import read_image
from mbseg.engine.distributed import Place
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.tasks.base import Metric

Batches = Iterator[tuple[UInt8Array, Any]]

ALONE = Place()


def measure_frames(task: str, split: Any, predictor: FramePredictor, metric: Metric, place: Place = ALONE) -> Metric:
    """Goes through a split: every picture as it is stored, then what is found in it, into the metric.

    Of several processes each takes its share, and the metric is merged over all. Raises DataError where a picture or
    its labels cannot be used.
    """
    share = place.share(len(split))
    with tqdm(total=len(share), unit="picture", disable=None if place.is_main else True, file=sys.stderr) as bar:
        for frame, batch in frames(task, split, share):
            metric.update(predictions(task, predictor(frame)), batch)
            bar.update()
    metric.merge()
    return metric


def frames(task: str, split: Any, indices: Iterable[int] | None = None) -> Batches:
    """Each picture [H, W, 3] and the batch that holds it alone; of detection the batch has it resized."""
    for index in range(len(split)) if indices is None else indices:
        sample = split[index]
        frame = sample.image if task == "segmentation" else read_image(split.annotations[index].image)
        yield frame, split.collate([sample])


def predictions(task: str, answer: Answer) -> Any:
    """An answer as the task's own metric takes it."""
    if task == "detection":
        return [answer.detections]
    mask = torch.from_numpy(answer.mask)
    return mask[None] if task == "segmentation" else [(mask, answer.detections)]
