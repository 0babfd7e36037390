"""TensorFlow's frozen graphs (.pb): SSDLite of the object detection API, DeepLabV3 and classifiers on MobileNetV2.

TensorFlow's scope names say which layer a convolution is; what it is like, and that it stands in its place, is read
from the graph itself.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from mbseg.backbones.blockspec import ReducedTail
from mbseg.errors import WeightsError
from mbseg.weights.graphdef_body import Body, body_state, read_body
from mbseg.weights.graphdef_boxes import detector_protocol
from mbseg.weights.graphdef_deeplab import deeplab_config, deeplab_protocol, deeplab_state, read_deeplab
from mbseg.weights.graphdef_detector import detector_config, detector_state, read_detector
from mbseg.weights.graphdef_graph import Graph
from mbseg.weights.graphdef_layers import plain, read_layer
from mbseg.weights.graphdef_picture import read_normalization
from mbseg.weights.imported import Imported, Task
from mbseg.weights.recognition import recognize

STEM = "MobilenetV2/Conv"
CLASSIFIER = "MobilenetV2/Logits/Conv2d_1c_1x1"


class Found(NamedTuple):
    """What the three kinds of networks differ in."""

    task: Task
    model: dict[str, Any]  # beside the backbone
    state: Iterator[tuple[str, Tensor]]  # of the head
    num_classes: int | None
    evaluate: dict[str, Any]
    tail: ReducedTail = "segmentation"
    classifier: Mapping[str, Tensor] = MappingProxyType({})


def read_graphdef(path: Path) -> Imported:
    """A detector, a DeepLab, or a classifier's backbone. Raises WeightsError, in one line, for anything else.

    Every convolution and batch norm of the file is part of the network; other constants are listed in `ignored`.
    """
    graph = Graph(path)
    scope = body_scope(graph)
    head = next((one for one in READERS if one in graph.scopes()), None)
    if head is None:
        raise WeightsError(f"{graph.origin} cannot be read: no convolution in any scope of {', '.join(READERS)}")
    body = read_body(graph, scope)
    mean, std = read_normalization(graph, body.picture)
    found = READERS[head](graph, body, scope)
    backbone = recognize(body.network, graph.origin, found.tail)
    state = dict(body_state(graph, body)) | dict(found.state)
    return Imported(
        origin=f"{path} (TensorFlow graph)",
        model={"backbone": backbone, **found.model},
        state=state,
        num_classes=found.num_classes,
        mean=mean,
        std=std,
        task=found.task,
        evaluate=found.evaluate,
        ignored=graph.finish(),
        classifier=found.classifier,
    )


def body_scope(graph: Graph) -> str:
    """Where the one MobileNetV2 stands, with a slash at its end."""
    stems = [scope for scope in graph.scopes() if scope == STEM or scope.endswith(f"/{STEM}")]
    if len(stems) != 1:
        raise WeightsError(f"{graph.origin} cannot be read: it has {len(stems)} stems (scopes .../{STEM}), 1 is read")
    return stems[0].removesuffix("Conv")


def find_detector(graph: Graph, body: Body, scope: str) -> Found:
    detector = read_detector(graph, body, scope)
    model, state = detector_config(graph, detector), detector_state(graph, detector)
    return Found("detection", model, state, detector.outputs, detector_protocol(graph), tail="detection")


def find_deeplab(graph: Graph, body: Body, _scope: str) -> Found:
    head = read_deeplab(graph, body)
    outputs, evaluate = head.classifier.out_channels, deeplab_protocol(head)
    return Found("segmentation", deeplab_config(body, head), deeplab_state(graph, head), outputs, evaluate)


def find_classifier(graph: Graph, _body: Body, _scope: str) -> Found:
    """The backbone alone; its classifier is read for those who want to apply it."""
    classes = read_layer(graph, CLASSIFIER, reads=graph.input(graph.convolution(CLASSIFIER), 0))
    return Found("segmentation", {}, iter(()), None, {}, classifier=dict(plain(graph, "", classes)))


READERS: dict[str, Callable[[Graph, Body, str], Found]] = {
    "BoxPredictor_0/ClassPredictor": find_detector,
    "logits/semantic": find_deeplab,
    CLASSIFIER: find_classifier,
}
