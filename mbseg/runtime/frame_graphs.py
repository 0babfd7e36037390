"""Finished networks as ONNX graphs: bare, or with all that lies between a frame and its class map or boxes.

Parts are traced one by one and joined: torch works out the sizes of a network at once if its input is of any size, and
in minutes if that size is a formula.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection
from mbseg.models.detection import DetectionModel
from mbseg.models.framing import Framing, Stretching
from mbseg.models.joint import JointModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.fuse import fused
from mbseg.runtime.frame_programs import ClassMap, DecodedBoxes, FramedInput, StretchedInput
from mbseg.runtime.onnx_graph import Port, joined, port_of, to_onnx
from mbseg.runtime.onnx_suppression import suppression

if TYPE_CHECKING:
    from onnx import ModelProto

IMAGES = {"images": ("batch", "channels", "input_height", "input_width")}
LOGITS = {"logits": ("batch", "classes", "rows", "columns")}
RAW = {"class_logits": ("batch", "boxes", "classes"), "box_offsets": ("batch", "boxes", "coordinates")}
CLASS_MAP = {"class_map": ("batch", "height", "width")}
DECODED = {"decoded_boxes": RAW["box_offsets"], "probabilities": RAW["class_logits"]}


def segmentation_to_onnx(
    model: SegmentationModel, normalize: nn.Module, framing: Framing, *, size: Size | None = None
) -> "ModelProto":
    """`image`, uint8 RGB [1, height, width, 3] of `size` (None: any) -> `class_map`, uint8 [1, height, width].

    On the way lie `images`, what the network sees, and its `logits` [1, C, rows, columns].
    """
    image = frame_port(size)
    network = network_to_onnx(model, size=framing.input_size(size) if size else None)
    before = to_onnx(FramedInput(normalize, framing), [image], IMAGES)
    behind = to_onnx(ClassMap(framing), [image, port_of(network, "logits")], CLASS_MAP)
    return joined([before, network, behind], outputs=["class_map"])


def detection_to_onnx(
    model: DetectionModel, normalize: nn.Module, selection: Selection, *, size: Size | None = None
) -> "ModelProto":
    """`image`, uint8 RGB [1, height, width, 3] of `size` (None: any) -> `boxes` [n, 4], `scores` [n], `labels` [n].

    The boxes are xyxy in the image's pixels, the most probable first. On the way lie `images`, what the network sees,
    its `class_logits` and `box_offsets`, and of every default box `decoded_boxes` and `probabilities`.
    """
    image = frame_port(size)
    network = network_to_onnx(model, size=model.image_size)
    before = to_onnx(StretchedInput(normalize, model.image_size), [image], IMAGES)
    raw = [port_of(network, name) for name in RAW]
    behind = to_onnx(DecodedBoxes(model), [image, *raw], DECODED)
    return joined([before, network, behind, suppression(selection)], outputs=["boxes", "scores", "labels"])


def joint_to_onnx(
    model: JointModel, normalize: nn.Module, selection: Selection, *, size: Size | None = None
) -> "ModelProto":
    """What `segmentation_to_onnx` and `detection_to_onnx` give, of one pass of the network."""
    image = frame_port(size)
    network = network_to_onnx(model, size=model.image_size)
    before = to_onnx(StretchedInput(normalize, model.image_size), [image], IMAGES)
    map_of_logits = ClassMap(Stretching(model.image_size, model.align_corners))
    class_map = to_onnx(map_of_logits, [image, port_of(network, "logits")], CLASS_MAP)
    boxes = to_onnx(DecodedBoxes(model), [image, *(port_of(network, name) for name in RAW)], DECODED)
    return joined(
        [before, network, class_map, boxes, suppression(selection)], outputs=["class_map", "boxes", "scores", "labels"]
    )


def network_to_onnx(
    model: SegmentationModel | DetectionModel | JointModel, *, size: Size | None = None
) -> "ModelProto":
    """`images`, normalised, [1, 3, *size] (None: any) -> `logits`, or `class_logits` and `box_offsets`, or all three.

    Batch norm is folded into the convolutions.
    """
    images = Port("images", (1, 3, *(size or IMAGES["images"][2:])))
    return to_onnx(fused(model).cpu().float(), [images], outputs_of(model))


def outputs_of(model: SegmentationModel | DetectionModel | JointModel) -> dict[str, tuple[str, ...]]:
    """The names of a network's predictions, and of their axes."""
    logits = {} if isinstance(model, DetectionModel) else LOGITS
    raw = {} if isinstance(model, SegmentationModel) else RAW
    return {**logits, **raw}


def frame_port(size: Size | None) -> Port:
    return Port("image", (1, *(size or ("height", "width")), 3), torch.uint8)
