"""timm's mobilenetv1_*, mobilenetv2_* and (tf_)mobilenetv3_*, key by key."""

from collections.abc import Iterator

from mbseg.backbones.blockspec import BlockSpec, NetworkSpec

CLASSIFIER = {"classifier": "ImageNet classes"}
BEHIND_THE_POOLING = {"conv_head": "stands behind the pooling", "bn2": "stands behind the pooling"}  # but in V2
EPSILON_TENSORFLOW = 1e-3  # of batch norm in the tf_ models

PLAIN_BLOCK = {"conv_dw": "depthwise.conv", "bn1": "depthwise.norm", "conv_pw": "project.conv", "bn2": "project.norm"}
INVERTED_RESIDUAL = {
    "conv_pw": "expand.conv",
    "bn1": "expand.norm",
    "conv_dw": "depthwise.conv",
    "bn2": "depthwise.norm",
    "conv_pwl": "project.conv",
    "bn3": "project.norm",
}
SQUEEZE_EXCITE = {"se.conv_reduce": "squeeze_excite.reduce", "se.conv_expand": "squeeze_excite.widen"}


def backbone_names(network: NetworkSpec) -> dict[str, str]:
    """Every convolution and batch norm of timm's MobileNet of that structure, and its name here."""
    names = {"conv_stem": "stem.conv", "bn1": "stem.norm"}
    for index, (position, block) in enumerate(zip(positions(network.blocks), network.blocks, strict=True)):
        names |= {f"{position}.{theirs}": f"blocks.{index}.{ours}" for theirs, ours in block_names(block)}
    return names | last_conv_names(network)


def positions(blocks: tuple[BlockSpec, ...]) -> Iterator[str]:
    """timm counts stages, and blocks within them; a stage is a row of the papers: blocks of one width."""
    stage, repeat = -1, 0
    width = None
    for block in blocks:
        stage, repeat = (stage, repeat + 1) if block.out_channels == width else (stage + 1, 0)
        width = block.out_channels
        yield f"blocks.{stage}.{repeat}"


def block_names(block: BlockSpec) -> Iterator[tuple[str, str]]:
    expands = block.expanded_channels != block.in_channels
    yield from (INVERTED_RESIDUAL if expands else PLAIN_BLOCK).items()
    if block.squeeze_channels:
        yield from SQUEEZE_EXCITE.items()


def last_conv_names(network: NetworkSpec) -> dict[str, str]:
    """V2's stands behind the blocks as `conv_head`; V3's is a stage of its own, and `conv_head` no map's layer."""
    if network.last_conv_channels is None:
        return {}
    if network.activation == "relu6":
        return {"conv_head": "last_conv.conv", "bn2": "last_conv.norm"}
    *_, last = positions(network.blocks)
    stage = int(last.split(".")[1]) + 1
    return {f"blocks.{stage}.0.conv": "last_conv.conv", f"blocks.{stage}.0.bn1": "last_conv.norm"}
