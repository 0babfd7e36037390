"""Ablations, reduced tails and what makes room for other libraries: what changes, and what does not."""

import pytest
import torch
from torch import nn

import mbseg
from mbseg.backbones.variant import Variant
from mbseg.backbones.zoo import MOBILENETS, network_spec
from mbseg.create import create_backbone
from mbseg.errors import ConfigError
from mbseg.nn.conv import same_padding


def tail(name: str, kind: str) -> list[tuple[int, int]]:
    return [(block.expanded_channels, block.out_channels) for block in network_spec(name, 1.0, kind).blocks[-3:]]


def test_the_two_reduced_tails_of_v3_are_those_of_the_paper() -> None:
    """arXiv:1905.02244: in segmentation (RF2) the first expansion of the three is halved too."""
    assert tail("mobilenet_v3_large", "segmentation") == [(336, 80), (480, 80), (480, 80)]
    assert tail("mobilenet_v3_large", "detection") == [(672, 80), (480, 80), (480, 80)]
    assert tail("mobilenet_v3_small", "segmentation") == [(144, 48), (288, 48), (288, 48)]
    assert tail("mobilenet_v3_small", "detection") == [(288, 48), (288, 48), (288, 48)]
    assert network_spec("mobilenet_v3_large", 1.0, "detection").last_conv_channels == 480


def test_the_reduced_tail_of_v2_halves_before_the_width_rounds() -> None:
    outputs = [block.out_channels for block in network_spec("mobilenet_v2", 0.35, "segmentation").blocks[-4:]]
    assert outputs == [32, 32, 32, 56]  # 160 / 2 * 0.35 = 28 and 320 / 2 * 0.35 = 56, to multiples of eight
    assert network_spec("mobilenet_v2", 0.35, "segmentation").last_conv_channels == 640


@pytest.mark.parametrize("name", ["mobilenet_v3_large_minimal", "mobilenet_v3_small_minimal"])
def test_a_minimal_network_has_only_what_integer_hardware_has(name: str) -> None:
    backbone = create_backbone(name, taps=["last_conv"])
    assert {type(part) for part in backbone.modules()} & {nn.Hardswish, nn.Hardsigmoid, nn.AdaptiveAvgPool2d} == set()
    assert max(part.kernel_size for part in backbone.modules() if isinstance(part, nn.Conv2d)) == (3, 3)


@pytest.mark.parametrize(
    ("shortcut", "inputs", "expansions"), [("bottleneck", 10, 0), ("expansion", 0, 10), ("none", 0, 0)]
)
def test_shortcuts_lie_where_the_ablation_says(shortcut: str, inputs: int, expansions: int) -> None:
    blocks = network_spec("mobilenet_v2", variant=Variant(shortcut=shortcut)).blocks
    assert sum(block.shortcut for block in blocks) == inputs
    assert sum(block.joins_expansions for block in blocks) == expansions


def test_expansions_that_are_joined_are_added() -> None:
    """Block 2 widens 24 channels to 144, as block 3 does: its map is the sum of both."""
    backbone = create_backbone("mobilenet_v2", taps=["c2_expansion"], variant=Variant(shortcut="expansion")).eval()
    assert backbone.joins == (False, False, False, True)
    images = torch.randn(1, 3, 33, 33)
    stem = backbone.stem(images)
    first = backbone.blocks[0].contract(stem, stem)
    second = backbone.blocks[1].contract(first, backbone.blocks[1].expand(first))
    wide = backbone.blocks[2].expand(second)
    third = backbone.blocks[2].contract(second, wide)
    torch.testing.assert_close(backbone(images)["c2_expansion"], backbone.blocks[3].expand(third) + wide)


@pytest.mark.parametrize("variant", [Variant(bottleneck="activated"), Variant(shortcut="none")])
def test_an_ablation_costs_no_params_and_loads_the_same_weights(variant: Variant) -> None:
    plain = create_backbone("mobilenet_v2", width_mult=0.35)
    ablated = create_backbone("mobilenet_v2", width_mult=0.35, variant=variant)
    ablated.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 65, 65)
    assert not torch.equal(plain.eval()(images)["c3"], ablated.eval()(images)["c3"])


def test_an_activated_bottleneck_is_never_negative() -> None:
    activated = create_backbone(
        "mobilenet_v2", width_mult=0.35, variant=Variant(bottleneck="activated", shortcut="none")
    )
    assert all(map_.min() >= 0 for map_ in activated(torch.randn(2, 3, 65, 65)).values())


@pytest.mark.parametrize("name", MOBILENETS)
def test_tensorflows_padding_differs_at_even_sizes_only(name: str) -> None:
    ours = create_backbone(name, width_mult=0.35)
    theirs = create_backbone(name, width_mult=0.35, variant=Variant(padding="tensorflow"))
    theirs.load_state_dict(ours.state_dict())
    ours.eval(), theirs.eval()
    for side, same in ((65, True), (64, False)):
        images = torch.randn(1, 3, side, side)
        for tap, map_ in ours(images).items():
            assert map_.shape == theirs(images)[tap].shape
            assert torch.equal(map_, theirs(images)[tap]) == same


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(224, 3, 2, (0, 1)), (225, 3, 2, (1, 1)), (320, 5, 2, (1, 2)), (1, 3, 2, (1, 1)), (2, 3, 2, (0, 1))],
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    """tf.nn: max((ceil(n / s) - 1) s + k - n, 0) in all, the odd pixel behind."""
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "lraspp", "aspp": "none"}, "head lraspp has no aspp"),
        ({"head": "lraspp", "dropout": 0.2}, "head lraspp has no dropout"),
        ({"head": "smp:unet", "head_at": "c5"}, "head smp:unet has no at"),
        ({"head": "deeplabv3", "low_at": "c2"}, "head deeplabv3 has no low_at"),
        ({"head": "deeplabv3plus", "refine": True}, "head deeplabv3plus has no refine"),
        ({"head": "deeplabv3pls"}, "no head named 'deeplabv3pls'; did you mean deeplabv3plus?"),
        ({"head": "deeplabv3plus", "head_at": "c2", "low_at": "c5"}, "low_at c5 has stride 16, coarser than c2 with 4"),
        ({"head": "smp:none"}, "no decoder named 'none'"),
        ({"head_channels": 0}, "head_channels is 0"),
        ({"aspp": "sparse"}, "aspp is 'sparse'; it can be dense, separable, none"),
    ],
)
def test_heads_refuse_what_they_do_not_have_before_weights_are_looked_for(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        mbseg.create_segmenter("mobilenet_v2", weights="missing.pth", **arguments)


@pytest.mark.parametrize("key", ["padding", "channel_divisor", "dilation_plan", "bottleneck", "shortcut"])
def test_a_variant_that_there_is_not_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is 'foo'; it can be"):
        Variant(**{key: "foo"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduced_tail": "detection"}, "reduced_tail is 'detection'; it is True or False here"),
        ({"num_classes": 2.5}, "num_classes is 2.5"),
        ({"num_classes": "21"}, "num_classes is '21'"),
        ({"width_mult": "1"}, "width_mult is '1'; 0.1 to 4"),
        ({"head_channels": 1.5}, "head_channels is 1.5; whole numbers"),
        ({"dropout": 2}, "dropout is 2; 0 or more"),
        ({"aspp": "dense", "rates": (0, 0, 0)}, "rates are"),
        ({"aspp": "dense", "rates": (6, 12)}, "rates are"),
        ({"aspp": "dense", "rates": (10**10, 1, 1)}, "rates are"),
        ({"rates": (6, 12, 18)}, "are those of ASPP, which is none"),
        ({"head": "lraspp", "head_at": "c3", "low_at": "c3"}, "low_at is c3, the very map"),
    ],
)
def test_values_that_cannot_be_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mbseg.create_segmenter("mobilenet_v2", **arguments)
