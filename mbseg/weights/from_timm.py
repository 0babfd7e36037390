"""timm's mobilenetv2_*, key by key."""

from mbseg.backbones.tables import V2_ROWS

IGNORED = {"classifier": "ImageNet classes"}

PLAIN_BLOCK = {"conv_dw": "depthwise.conv", "bn1": "depthwise.norm", "conv_pw": "project.conv", "bn2": "project.norm"}
INVERTED_RESIDUAL = {
    "conv_pw": "expand.conv",
    "bn1": "expand.norm",
    "conv_dw": "depthwise.conv",
    "bn2": "depthwise.norm",
    "conv_pwl": "project.conv",
    "bn3": "project.norm",
}


def mobilenet_v2_names() -> dict[str, str]:
    """Every convolution and batch norm of timm's `mobilenetv2_*`, and its name here."""
    names = {
        "conv_stem": "stem.conv",
        "bn1": "stem.norm",
        "conv_head": "last_conv.conv",
        "bn2": "last_conv.norm",
    }
    positions = [(stage, repeat) for stage, row in enumerate(V2_ROWS) for repeat in range(row.n)]
    for index, (stage, repeat) in enumerate(positions):
        layers = INVERTED_RESIDUAL if V2_ROWS[stage].t > 1 else PLAIN_BLOCK
        names |= {f"blocks.{stage}.{repeat}.{theirs}": f"blocks.{index}.{ours}" for theirs, ours in layers.items()}
    return names
