"""Exported files as any other program runs them: a frame in, the file's own outputs taken as they are."""

from collections.abc import Mapping
from typing import final

import cv2
import numpy as np
import torch

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size, rescale
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.runtime.sessions import Array, Session, frame_size


@final
class ExportedPredictor(FramePredictor):
    """All of an exported graph, with no part of it done by mbseg.

    Frames are resized to the one size that some files take, and the answer back.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.description = session.description
        self.size = frame_size(session)

    def __call__(self, image: UInt8Array) -> Answer:
        picture = (image.shape[0], image.shape[1])
        size = self.input_size(picture)
        outputs = self.session(resized(image, size, cv2.INTER_LINEAR)[None])
        mask = outputs.get("class_map")
        return Answer(
            mask=None if mask is None else resized(mask[0], picture, cv2.INTER_NEAREST_EXACT),
            detections=detections(outputs, size, picture) if "boxes" in outputs else None,
        )

    def input_size(self, picture: Size) -> Size:
        """Of the frame that the file is given; what the network sees of it, the file decides."""
        return self.size or picture


def resized(image: UInt8Array, size: Size, interpolation: int) -> UInt8Array:
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=interpolation), np.uint8)


def detections(outputs: Mapping[str, Array], size: Size, picture: Size) -> Detections:
    boxes, scores, labels = (torch.from_numpy(outputs[name]) for name in ("boxes", "scores", "labels"))
    return Detections(rescale(boxes, size, picture), scores, labels)
