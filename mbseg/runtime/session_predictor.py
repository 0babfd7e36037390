"""Exported files at work on frames, stopped before their last steps: mbseg's own are many times faster."""

from collections.abc import Mapping
from typing import NamedTuple, final

import cv2
import torch
from torch import Tensor

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size, rescale
from mbseg.boxes.postprocess import Selection, select
from mbseg.models.class_map import class_map
from mbseg.models.framing import Framing, Stretching
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.runtime.exported import resized
from mbseg.runtime.sessions import Session, frame_size

MASK_TENSORS = ("logits",)
BOX_TENSORS = ("decoded_boxes", "probabilities")  # of every default box, in pixels of the frame


class Endings(NamedTuple):
    """What is done with the tensors of a graph; None: it has none of that kind."""

    framing: Framing | Stretching | None = None  # of logits
    selection: Selection | None = None  # of boxes
    image_size: Size | None = None  # that the network sees of every frame; None: the framing tells

    @property
    def tensors(self) -> tuple[str, ...]:
        """Where the graph is stopped."""
        return (*(MASK_TENSORS if self.framing else ()), *(BOX_TENSORS if self.selection else ()))


@final
class SessionPredictor(FramePredictor):
    """`session` takes a frame and gives the tensors of `endings`.

    Frames are resized to the one size that some files take, and the answer back.
    """

    def __init__(self, session: Session, endings: Endings, description: str) -> None:
        self.session = session
        self.endings = endings
        self.description = description
        self.size = frame_size(session)

    def __call__(self, image: UInt8Array) -> Answer:
        picture = (image.shape[0], image.shape[1])
        size = self.size or picture
        outputs = self.session(resized(image, size, cv2.INTER_LINEAR)[None])
        tensors = {name: torch.from_numpy(values) for name, values in outputs.items()}
        framing, selection = self.endings.framing, self.endings.selection
        return Answer(
            mask=None if framing is None else mask_of(tensors["logits"], framing, size, picture),
            detections=None if selection is None else boxes_of(tensors, selection, size, picture),
        )

    def input_size(self, picture: Size) -> Size:
        size, framing = self.size or picture, self.endings.framing
        return self.endings.image_size or (framing.input_size(size) if framing else size)


def mask_of(logits: Tensor, framing: Framing | Stretching, size: Size, picture: Size) -> UInt8Array:
    """[1, C, h, w] of a frame of `size` -> [H, W] of the picture that was resized to it."""
    upsampling = framing.upsampling(size)
    mask: UInt8Array = class_map(logits, upsampling.frame, upsampling.align_corners)[0, : size[0], : size[1]].numpy()
    return resized(mask, picture, cv2.INTER_NEAREST_EXACT)


def boxes_of(tensors: Mapping[str, Tensor], selection: Selection, size: Size, picture: Size) -> Detections:
    found = select(tensors["decoded_boxes"][0], tensors["probabilities"][0], selection)
    return Detections(rescale(found.boxes, size, picture), found.scores, found.labels)
