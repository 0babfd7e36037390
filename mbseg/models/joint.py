"""A backbone and two heads: the class of every pixel and the objects, of one pass."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from mbseg.backbones.base import Backbone, Features
from mbseg.boxes.default_boxes import DefaultBoxPlan
from mbseg.boxes.detections import RawDetections, Scores
from mbseg.boxes.geometry import Size
from mbseg.heads.ssdlite import ExtraLayers, SSDLite
from mbseg.models.detection import KnownBoxes, shapes_of, sizes_of, two_images
from mbseg.models.segmentation import ModelCard


class JointPredictions(NamedTuple):
    """What a network says about every place and about every default box."""

    logits: Tensor  # [N, num_classes, h, w] at the segmentation head's own stride
    raw: RawDetections  # of num_classes - 1 kinds of objects: the first class is the background


class JointModel(nn.Module):
    """Normalised images [N, 3, H, W] of any size -> logits as `SegmentationModel` gives them, and raw detections.

    The backbone is as dense as the segmentation head wants it. `steps` tells for each map that the detector reads how
    many of its cells make one of the undilated backbone's: of these it sees the first, and so the very features that
    it would see alone (docs/decisions/0011). `image_size` is the one it is made for, `scores` how its class logits
    become probabilities.
    """

    card: ModelCard | None = None  # of a model that `mbseg.load` has read

    def __init__(
        self,
        backbone: Backbone,
        segmentation_head: nn.Module,
        extras: ExtraLayers,
        detection_head: SSDLite,
        *,
        steps: Mapping[str, int],
        image_size: Size,
        scores: Scores = "softmax",
        box_plan: DefaultBoxPlan = "standard",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.segmentation_head = segmentation_head
        self.extras = extras
        self.detection_head = detection_head
        self.steps = dict(steps)
        self.image_size = image_size
        self.scores = scores
        self.box_plan = box_plan
        self.align_corners = align_corners
        self._boxes = KnownBoxes(box_plan)

    def forward(self, images: Tensor) -> JointPredictions:
        features = self.backbone(images)
        logits: Tensor = self.segmentation_head(features)
        raw: RawDetections = self.detection_head(self.extras(self.coarse(features)))
        return JointPredictions(logits[..., : images.shape[-2], : images.shape[-1]], raw)

    def coarse(self, features: Features) -> Features:
        """The detector's maps at the strides of the undilated backbone."""
        return {tap: features[tap][..., ::step, ::step] for tap, step in self.steps.items()}

    def default_boxes(self, image_size: Size) -> Tensor:
        """xyxy [boxes, 4] in pixels of an input of that size, on the CPU, ordered as the predictions."""
        return self._boxes.of(image_size, self.feature_sizes)

    def feature_sizes(self, image_size: Size) -> list[Size]:
        """(height, width) of every map that the detection head reads, as the network really makes them."""
        features = shapes_of(self.backbone, two_images(self, image_size))
        return sizes_of(shapes_of(self.extras, self.coarse(features)))
