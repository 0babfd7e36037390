"""Augmentation of a training picture together with its mask and its boxes."""

import random
from dataclasses import replace

import numpy as np

from mbseg.data.detection_transforms import SeededDetectionTransform
from mbseg.data.joint_samples import JointSample


class SeededJointTransform:
    """A detector's pipeline (`detection_transform`) through which the mask goes along.

    Of an object whose box is dropped, because its centre left the picture, the pixels keep their class.
    """

    def __init__(self, transform: SeededDetectionTransform) -> None:
        self.pipeline = transform.pipeline

    def __call__(self, sample: JointSample, numbers: tuple[int, ...]) -> JointSample:
        seen, generator = sample.seen, np.random.default_rng(numbers)
        self.pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        changed = self.pipeline(image=seen.image, mask=sample.mask, bboxes=seen.boxes, kept=np.arange(len(seen.boxes)))
        kept = np.asarray(changed["kept"], np.int64)
        boxes = np.asarray(changed["bboxes"], np.float32).reshape(-1, 4)
        return JointSample(
            replace(seen, image=changed["image"], boxes=boxes, labels=seen.labels[kept]), changed["mask"]
        )
