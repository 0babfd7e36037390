"""What stands behind the body in a .tflite file: DeepLabV3's head without ASPP, or a classifier's last layers."""

from dataclasses import dataclass

from mbseg.weights.tflite_graph import Graph
from mbseg.weights.tflite_layers import Convolution, convolutions, global_pooling, only_convolution

SPREADING = ("RESIZE_BILINEAR",)
CLASSIFIER = "ImageNet classes, behind the backbone"
CHANNELS = 3  # the axis of NHWC maps


@dataclass(frozen=True)
class DeepLab:
    """The four convolutions of DeepLabV3 without ASPP."""

    branch: Convolution
    image_pooling: Convolution
    project: Convolution
    classifier: Convolution
    pooling_first: bool  # in the concatenation that `project` reads; ours has it last
    output: int


@dataclass(frozen=True)
class Classifier:
    """The layers behind the pooling; V3 has two."""

    hidden: Convolution | None
    classes: Convolution
    output: int


def read_head(graph: Graph, at: int) -> DeepLab | Classifier:
    """The head that reads tensor `at`. Raises WeightsError for any other."""
    pooling = global_pooling(graph, at)
    first = pooling and only_convolution(graph, pooling.output)
    if pooling is None or first is None or len(graph.readers(at)) != 1 + len(convolutions(graph, at)):
        raise graph.stopped(at, "a pooling over the whole map: a classifier, or DeepLabV3's head without ASPP")
    branch = only_convolution(graph, at)
    if branch is None:
        graph.take(pooling.operators, why=CLASSIFIER)
        return read_classifier(graph, first)
    graph.take([*pooling.operators, *first.operators])
    return read_deeplab(graph, branch, first)


def read_classifier(graph: Graph, first: Convolution) -> Classifier:
    """The layers are read for those who want to apply them; the backbone that is imported has none."""
    leave_out(graph, first)
    if first.activation is None:
        return Classifier(None, first, first.output)
    classes = only_convolution(graph, first.output)
    if classes is None or classes.activation is not None:
        raise graph.stopped(first.output, "a classifier's last layer")
    leave_out(graph, classes)
    return Classifier(first, classes, classes.output)


def leave_out(graph: Graph, layer: Convolution) -> None:
    graph.take(layer.operators, why=CLASSIFIER)
    constants = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    graph.ignored |= {f"constant.{index}": CLASSIFIER for index in constants}


def read_deeplab(graph: Graph, branch: Convolution, image_pooling: Convolution) -> DeepLab:
    graph.take(branch.operators)
    spread = graph.only_reader(image_pooling.output, *SPREADING)
    joined = graph.only_reader(branch.output, "CONCATENATION")
    if spread is None or joined is None or joined.options["axis"] not in (CHANNELS, -1):
        raise graph.stopped(image_pooling.output, "image pooling spread over the map and joined with the 1x1 branch")
    parts = (spread.outputs[0], branch.output)
    if sorted(joined.inputs) != sorted(parts) or joined.options["activation"]:
        raise graph.refusal(joined, "joins more than the image pooling and one 1x1 branch; no ASPP is read")
    graph.take([spread], why="our head spreads the pooled values itself")
    graph.take([joined])
    project = only_convolution(graph, joined.outputs[0])
    classifier = project and only_convolution(graph, project.output)
    if project is None or classifier is None:
        raise graph.stopped(joined.outputs[0], "DeepLabV3's projection and classifier (1x1 convolutions)")
    graph.take([*project.operators, *classifier.operators])
    check_head(graph, (branch, image_pooling, project), classifier)
    return DeepLab(branch, image_pooling, project, classifier, joined.inputs[0] == parts[0], classifier.output)


def check_head(graph: Graph, layers: tuple[Convolution, ...], classifier: Convolution) -> None:
    """All 1x1; ReLU behind all but the last; one width."""
    for layer in (*layers, classifier):
        wanted = None if layer is classifier else "relu"
        if layer.kernel_size != 1 or layer.depthwise or layer.stride != 1 or layer.activation != wanted:
            raise graph.refusal(layer.operators[0], f"no 1x1 convolution with activation {wanted}, as DeepLabV3 has")
    if len({layer.out_channels for layer in layers}) != 1:
        widths = ", ".join(str(layer.out_channels) for layer in layers)
        raise graph.refusal(
            layers[0].operators[0], f"the head's convolutions have {widths} channels; one width is read"
        )
