"""A backbone, extra layers and a head: pictures to raw predictions about default boxes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mbseg.backbones.base import Backbone
from mbseg.boxes.default_boxes import DefaultBoxPlan, default_boxes
from mbseg.boxes.detections import RawDetections, Scores
from mbseg.boxes.geometry import Size
from mbseg.heads.ssdlite import ExtraLayers, SSDLite
from mbseg.models.segmentation import ModelCard

SMALLEST_SIDE = 64  # pixels: two cells of stride 32, so that batch norm can be trained on a single picture
MOST_SIZES = 16  # of pictures whose default boxes are kept


class DetectionModel(nn.Module):
    """Normalised images [N, 3, H, W] of any size -> class logits and offsets of the boxes `default_boxes((H, W))`.

    `image_size` is the one it is made for, `scores` how its logits become probabilities.
    """

    card: ModelCard | None = None  # of a model that `mbseg.load` has read

    def __init__(
        self,
        backbone: Backbone,
        extras: ExtraLayers,
        head: SSDLite,
        *,
        image_size: Size,
        scores: Scores = "softmax",
        box_plan: DefaultBoxPlan = "standard",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.extras = extras
        self.head = head
        self.image_size = image_size
        self.scores = scores
        self.box_plan = box_plan
        self._boxes = KnownBoxes(box_plan)

    def forward(self, images: Tensor) -> RawDetections:
        raw: RawDetections = self.head(self.extras(self.backbone(images)))
        return raw

    def default_boxes(self, image_size: Size) -> Tensor:
        """xyxy [boxes, 4] in pixels of an input of that size, on the CPU, ordered as the predictions."""
        return self._boxes.of(image_size, self.feature_sizes)

    def feature_sizes(self, image_size: Size) -> list[Size]:
        """(height, width) of every map that the head reads, as the network really makes them."""
        return sizes_of(shapes_of(self.extras, shapes_of(self.backbone, two_images(self, image_size))))


class KnownBoxes:
    """The default boxes for inputs of many sizes, those of each made once."""

    def __init__(self, plan: DefaultBoxPlan) -> None:
        self.plan = plan
        self.known: dict[Size, Tensor] = {}

    def of(self, image_size: Size, feature_sizes: Callable[[Size], Sequence[Size]]) -> Tensor:
        """xyxy [boxes, 4] in pixels; `feature_sizes` tells how large the maps become at a size."""
        if image_size not in self.known:
            if len(self.known) == MOST_SIZES:
                self.known.clear()
            with torch.inference_mode(False):  # else training could not use them
                self.known[image_size] = default_boxes(feature_sizes(image_size), image_size, self.plan)
        return self.known[image_size]


def two_images(model: nn.Module, image_size: Size) -> Tensor:
    """Of that size and without values; two, for batch norm in training."""
    return next(model.parameters()).new_empty(2, 3, *image_size, device="meta")


def sizes_of(maps: Sequence[Tensor]) -> list[Size]:
    return [(one.shape[2], one.shape[3]) for one in maps]


@torch.no_grad()
def shapes_of(module: nn.Module, inputs: Any) -> Any:
    """What `module` gives, without values: nothing is computed, and the module is left as it is."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return functional_call(module, {name: tensor.to("meta") for name, tensor in tensors}, (inputs,))
