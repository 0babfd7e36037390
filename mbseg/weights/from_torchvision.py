"""torchvision's mobilenet_v2, key by key."""

from collections.abc import Iterator

from mbseg.backbones.tables import V2_ROWS

IGNORED = {"classifier": "ImageNet classes"}


def mobilenet_v2_names() -> dict[str, str]:
    """Every convolution and batch norm of `torchvision.models.mobilenet_v2`, and its name here."""
    expansions = [row.t for row in V2_ROWS for _ in range(row.n)]
    last = len(expansions) + 1
    names = {
        "features.0.0": "stem.conv",
        "features.0.1": "stem.norm",
        f"features.{last}.0": "last_conv.conv",
        f"features.{last}.1": "last_conv.norm",
    }
    for index, expansion in enumerate(expansions):
        names |= block_names(f"features.{index + 1}.conv", f"blocks.{index}", expands=expansion > 1)
    return names


def block_names(theirs: str, ours: str, *, expands: bool) -> dict[str, str]:
    """Theirs is a Sequential: [expansion,] depthwise, projection, norm; the last two are not wrapped in a group."""
    return dict(zip(their_layers(theirs, expands=expands), our_layers(ours, expands=expands), strict=True))


def their_layers(block: str, *, expands: bool) -> Iterator[str]:
    groups = 2 if expands else 1
    for group in range(groups):
        yield from (f"{block}.{group}.0", f"{block}.{group}.1")
    yield from (f"{block}.{groups}", f"{block}.{groups + 1}")


def our_layers(block: str, *, expands: bool) -> Iterator[str]:
    for part in ("expand", "depthwise", "project") if expands else ("depthwise", "project"):
        yield from (f"{block}.{part}.conv", f"{block}.{part}.norm")
