"""What a foreign file holds, brought under our names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

Task = Literal["segmentation", "detection"]


@dataclass(frozen=True)
class Imported:
    """A network of another library: the config that builds it here, and its tensors."""

    origin: str  # the file or library and name, for errors and reports
    model: Mapping[str, Any]  # the `model` section of a config
    state: Mapping[str, Tensor]  # the model's names ("backbone...", "head...") -> tensors
    num_classes: (
        int | None
    )  # outputs of the head, a detector's background counted; None: a classifier's backbone, without a head
    mean: tuple[float, float, float]  # RGB, of values in [0, 1]
    std: tuple[float, float, float]
    task: Task = "segmentation"
    evaluate: Mapping[str, Any] = field(default_factory=dict)  # the `evaluate` section: the protocol it was made for
    ignored: Mapping[str, str] = field(default_factory=dict)  # key of the file -> why it is not wanted
    classifier: Mapping[str, Tensor] = field(default_factory=dict)  # its own last layers: weight, bias; V3's hidden.*
