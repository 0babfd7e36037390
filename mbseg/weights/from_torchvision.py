"""torchvision's MobileNets and the segmenters on them, key by key."""

from collections.abc import Callable, Iterator

from mbseg.backbones.blockspec import BlockSpec, NetworkSpec
from mbseg.backbones.dilation import find_endpoints

BlockNames = Callable[[BlockSpec], Iterator[tuple[str, str]]]

CLASSIFIER = {"classifier": "ImageNet classes"}
AUXILIARY = {"aux_classifier": "the auxiliary head, which only training uses"}
EPSILON_V3 = 1e-3  # of batch norm in torchvision's MobileNetV3


def v2_names(network: NetworkSpec) -> dict[str, str]:
    """Every convolution and batch norm of `torchvision.models.mobilenet_v2`, and its name here."""
    return backbone_names(network, "features.", v2_block_names)


def v3_names(network: NetworkSpec) -> dict[str, str]:
    """The same of `torchvision.models.mobilenet_v3_*`."""
    return backbone_names(network, "features.", v3_block_names)


def segmenter_names(network: NetworkSpec) -> dict[str, str]:
    """The same of the MobileNetV3 inside `torchvision.models.segmentation`, behind "backbone."."""
    return backbone_names(network, "", v3_block_names)


def backbone_names(network: NetworkSpec, prefix: str, block_names: BlockNames) -> dict[str, str]:
    last = len(network.blocks) + 1
    names = {
        f"{prefix}0.0": "stem.conv",
        f"{prefix}0.1": "stem.norm",
        f"{prefix}{last}.0": "last_conv.conv",
        f"{prefix}{last}.1": "last_conv.norm",
    }
    for index, block in enumerate(network.blocks):
        ours = f"blocks.{index}"
        names |= {f"{prefix}{index + 1}.{layer}": f"{ours}.{part}" for layer, part in block_names(block)}
    return names


def v2_block_names(block: BlockSpec) -> Iterator[tuple[str, str]]:
    """`conv` is a Sequential: [expansion,] depthwise, projection, norm; the last two are not wrapped in a group."""
    groups = parts_of(block)[:-1]
    for group, part in enumerate(groups):
        yield from ((f"conv.{group}.0", f"{part}.conv"), (f"conv.{group}.1", f"{part}.norm"))
    yield from ((f"conv.{len(groups)}", "project.conv"), (f"conv.{len(groups) + 1}", "project.norm"))


def v3_block_names(block: BlockSpec) -> Iterator[tuple[str, str]]:
    """`block` is a Sequential: [expansion,] depthwise, [squeeze-and-excite,] projection."""
    for index, part in enumerate(parts_of(block)):
        layers = (("fc1", "reduce"), ("fc2", "widen")) if part == "squeeze_excite" else (("0", "conv"), ("1", "norm"))
        yield from ((f"block.{index}.{theirs}", f"{part}.{ours}") for theirs, ours in layers)


def parts_of(block: BlockSpec) -> list[str]:
    expands = ["expand"] if block.expanded_channels != block.in_channels else []
    squeezes = ["squeeze_excite"] if block.squeeze_channels else []
    return [*expands, "depthwise", *squeezes, "project"]


def deeplabv3_names() -> dict[str, str]:
    """The head of `torchvision.models.segmentation.deeplabv3_*`; `convs.4.0` is the pooling itself."""
    groups = {f"classifier.0.convs.{branch}": f"pyramid.branches.{branch}" for branch in range(4)}
    groups |= {"classifier.0.project": "pyramid.project"}
    names = {f"{theirs}.{part}": f"{ours}.{layer}" for theirs, ours in groups.items() for part, layer in LAYERS}
    names |= {"classifier.0.convs.4.1": "pyramid.image_pooling.conv.conv"}
    names |= {"classifier.0.convs.4.2": "pyramid.image_pooling.conv.norm"}
    return names | {"classifier.1": "refine.conv", "classifier.2": "refine.norm", "classifier.4": "classifier"}


def lraspp_names() -> dict[str, str]:
    """The head of `torchvision.models.segmentation.lraspp_mobilenet_v3_large`."""
    return {
        "classifier.cbr.0": "project.conv",
        "classifier.cbr.1": "project.norm",
        "classifier.scale.1": "gate.conv",
        "classifier.high_classifier": "classifier",
        "classifier.low_classifier": "low_classifier",
    }


def ssdlite_names(network: NetworkSpec, maps: int) -> dict[str, str]:
    """`torchvision.models.detection.ssdlite320_mobilenet_v3_large`, with predictors on so many maps."""
    cut = find_endpoints(network.blocks)["c4_expansion"].block + 1
    body = backbone_names(network, "", v3_block_names).items()
    names = {f"backbone.features.{cut_in_two(theirs, cut)}": f"backbone.{ours}" for theirs, ours in body}
    for index in range(maps):
        for step, part in enumerate(EXTRA_PARTS):
            names |= with_layers(f"backbone.extra.{index}.{step}", f"extras.layers.{index}.{part}")
        for theirs, ours in PREDICTORS.items():
            names |= with_layers(f"{theirs}.{index}.0", f"{ours}.{index}.depthwise")
            names |= {f"{theirs}.{index}.1": f"{ours}.{index}.pointwise"}
    return names


def cut_in_two(name: str, cut: int) -> str:
    """A name of the whole body in one that ends behind the expansion of its module `cut`, and begins again there."""
    index, _, layer = name.partition(".")
    if int(index) != cut:
        return f"0.{name}" if int(index) < cut else f"1.{int(index) - cut}.{layer}"
    _, part, parameters = layer.split(".", 2)
    return f"0.{cut}.{parameters}" if part == "0" else f"1.0.{part}.{parameters}"


def with_layers(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{layer}" for part, layer in LAYERS}


LAYERS = ((0, "conv"), (1, "norm"))
EXTRA_PARTS = ("reduce", "depthwise", "widen")
PREDICTORS = {
    "head.classification_head.module_list": "head.class_predictors",
    "head.regression_head.module_list": "head.box_predictors",
}
