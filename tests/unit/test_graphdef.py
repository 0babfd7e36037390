"""Frozen TensorFlow graphs: constants in all their forms, and everything that is not a whole network refused in one
line.
"""

import contextlib
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mbseg
from mbseg.backbones.variant import Variant
from mbseg.errors import MbsegError, WeightsError
from mbseg.importing import import_weights
from mbseg.weights.from_graphdef import read_graphdef
from mbseg.weights.graphdef_file import read_graphdef_file
from mbseg.weights.graphdef_graph import Graph
from tests.graphdef_writer import Writer, attribute, integer, message, node, shape_of, varint, write_deeplab

STEM = "MobilenetV2/Conv"
BLOCK = "MobilenetV2/expanded_conv_5"
Change = Callable[[Writer], object]


@cache
def small_nodes() -> dict[str, bytes]:
    torch.manual_seed(0)
    variant = Variant(padding="tensorflow")
    model = mbseg.create_segmenter("mobilenet_v2", width_mult=0.1, head_channels=8, align_corners=True, variant=variant)
    return write_deeplab(Writer(), model).nodes


def whole() -> Writer:
    """A small DeepLab that can be read."""
    writer = Writer()
    writer.nodes = dict(small_nodes())
    return writer


def stem_only() -> Writer:
    writer = Writer()
    layer = mbseg.create_backbone("mobilenet_v2", width_mult=0.1, taps=["c2"]).stem
    writer.classifier("logits/semantic", nn.Conv2d(8, 2, 1), writer.conv_norm_act(STEM, layer, writer.picture()))
    return writer


def said_of(path: Path) -> str:
    """What is said of a file that cannot be read: one short line that names it."""
    with pytest.raises(WeightsError) as refusal:
        read_graphdef(path)
    said = str(refusal.value)
    assert "\n" not in said
    assert str(path) in said
    assert len(said) < 700
    return said


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("single", [False, True])
def test_a_constant_is_read_from_bytes_and_from_single_values(dtype: type, single: bool, tmp_path: Path) -> None:
    writer, values = Writer(), np.array([[1, -2, 3], [-4, 5, 2**20]], dtype)
    writer.constant("x", values, dtype, single=single)
    found = read_graphdef_file(writer.save(tmp_path / "x.pb"))["x"].constant().values()
    assert found.dtype == dtype
    assert np.array_equal(found, values)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_that_repeat_may_be_left_away(dtype: type, tmp_path: Path) -> None:
    writer = Writer()
    writer.constant("x", np.full((3, 2), -7), dtype, first_only=True)
    found = read_graphdef_file(writer.save(tmp_path / "x.pb"))["x"].constant().values()
    assert found.tolist() == [[-7, -7]] * 3


def test_single_values_need_not_be_packed(tmp_path: Path) -> None:
    content = integer(1, 3) + message(2, shape_of([3])) + integer(7, 5) + integer(7, -1)
    (tmp_path / "x.pb").write_bytes(node("x", "Const", (), {"value": message(8, content)}))
    assert read_graphdef_file(tmp_path / "x.pb")["x"].constant().values().tolist() == [5, -1, -1]


def test_nodes_that_hand_on_a_value_are_seen_through(tmp_path: Path) -> None:
    writer = Writer()
    writer.constant("x", 5.0)
    for name, source in (("a", "x"), ("b", "a:0"), ("c", "b")):
        writer.node(name, "Identity", [source, "^control"])
    writer.node("sum", "Add", ["c", "b:0"])
    graph = Graph(writer.save(tmp_path / "x.pb"))
    assert graph.parameter("c") == [5.0]
    assert [reader.name for reader in graph.readers("x")] == ["sum"]


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\x89PNG\r\n\x1a\n" + bytes(99), bytes(64), b"\xff" * 64])
def test_what_is_no_graph_is_told_apart(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pb").write_bytes(content)
    assert "is no TensorFlow graph, or" in said_of(tmp_path / "x.pb")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert "there is no weights file" in said_of(tmp_path / "none.pb")
    assert "cannot be read: Is a directory" in said_of(tmp_path)


def test_a_truncated_file_is_refused_in_one_line_wherever_it_ends(tmp_path: Path) -> None:
    content = stem_only().save(tmp_path / "whole.pb").read_bytes()
    for size in (*range(0, len(content), 97), len(content) - 1):
        (tmp_path / "x.pb").write_bytes(content[:size])
        said_of(tmp_path / "x.pb")


def test_a_whole_networks_file_cut_short_is_refused(tmp_path: Path) -> None:
    content = whole().save(tmp_path / "whole.pb").read_bytes()
    for size in range(0, len(content), len(content) // 40):
        (tmp_path / "x.pb").write_bytes(content[:size])
        said_of(tmp_path / "x.pb")


def test_bytes_that_lie_are_refused_in_one_line(tmp_path: Path) -> None:
    """Many bytes in turn say something else; there is never a whole network."""
    content = stem_only().save(tmp_path / "whole.pb").read_bytes()
    for position in range(0, min(len(content), 3000), 11):
        for lie in (0x00, 0x7F, 0xFF):
            (tmp_path / "x.pb").write_bytes(content[:position] + bytes([lie]) + content[position + 1 :])
            said_of(tmp_path / "x.pb")


def test_a_network_that_is_whole_is_read(tmp_path: Path) -> None:
    imported = read_graphdef(whole().save(tmp_path / "x.pb"))
    assert (imported.num_classes, imported.model["backbone"]["width_mult"]) == (21, 0.1)
    assert set(imported.ignored.values()) == {"a setting of the graph round the network"}


def option(key: str, value: object) -> bytes:
    return message(5, message(1, key.encode()) + message(2, attribute(value)))


def adding(name: str, content: bytes) -> Change:
    """Lengthens a node; of an attribute that it has already, the last one counts."""

    def change(writer: Writer) -> None:
        kept = writer.nodes[name]
        start = 2 if kept[1] < 0x80 else 3
        writer.nodes[name] = message(1, kept[start:] + content)

    return change


def constant(name: str, shape: list[int]) -> Change:
    return lambda writer: writer.constant(name, np.broadcast_to(np.float32(0), shape), first_only=True)


def without(name: str) -> Change:
    return lambda writer: writer.nodes.pop(name)


def placed(name: str, op: str, *inputs: str, **options: object) -> Change:
    return lambda writer: writer.node(name, op, inputs, **options)


CASES: dict[str, tuple[Change, str]] = {
    "a convolution without padding": (
        adding(f"{BLOCK}/depthwise/depthwise", option("padding", "VALID")),
        r"DepthwiseConv2dNative \(.*conv_5/depthwise/depthwise\): padding 'VALID'; SAME is read",
    ),
    "channels first": (adding(f"{STEM}/Conv2D", option("data_format", "NCHW")), "NHWC is read"),
    "oblong strides": (adding(f"{STEM}/Conv2D", option("strides", [1, 2, 1, 1])), r"strides \[1, 2, 1, 1\]"),
    "a rate without end": (adding(f"{STEM}/Conv2D", option("dilations", [1, 2**40, 2**40, 1])), "dilations"),
    "batch norm in training": (
        adding(f"{STEM}/BatchNorm/FusedBatchNorm", option("is_training", True)),
        "in training mode, so that its statistics are not in the file",
    ),
    "a kernel that is not square": (
        constant(f"{BLOCK}/expand/Conv2D_weights", [1, 3, 8, 48]),
        r"weights of shape \[1, 3, 8, 48\]",
    ),
    "a kernel of another width": (
        constant(f"{BLOCK}/project/Conv2D_weights", [1, 1, 48, 9]),
        "holds no backbone that mbseg knows: its 17 blocks, from 8 to 32 channels at stride 16, are none of",
    ),
    "a variable": (placed(f"{STEM}/Conv2D_weights", "VariableV2"), r"weights of shape \[\]; constant"),
    "statistics that are missing": (without(f"{STEM}/BatchNorm/moving_mean"), "moving_mean.* is no constant; freeze"),
    "too many channels": (constant(f"{STEM}/BatchNorm/gamma", [2**40]), r"gamma\) has shape \[1099511627776\]"),
    "a block left out": (
        without(f"{BLOCK}/depthwise/depthwise"),
        "it reads MobilenetV2/expanded_conv_16/project/.*, not MobilenetV2/expanded_conv_4/add",
    ),
    "a layer put in between": (
        placed(f"{BLOCK}/output", "Sigmoid", f"{BLOCK}/add"),
        "it reads MobilenetV2/expanded_conv_5/output, not MobilenetV2/expanded_conv_5/add",
    ),
    "the weights of something else": (
        placed("other/MatMul", "MatMul", "concat_projection/Relu", "x"),
        r"MatMul \(other/MatMul\): no part of the MobileNet and its head",
    ),
    "a second stem": (placed("more/MobilenetV2/Conv/Conv2D", "Conv2D", "x", "y"), "it has 2 stems"),
    "two convolutions of a name": (placed("aspp0/Conv2D_1", "Conv2D", "x", "y"), "2 convolutions in scope aspp0"),
    "a decoder": (placed("decoder/conv/Conv2D", "Conv2D", "x", "y"), r"has the decoder of DeepLabV3\+"),
    "no pooling": (placed("Mean", "Max", "MobilenetV2/expanded_conv_16/output", "Mean/axes"), "nothing pools"),
    "no head": (without("logits/semantic/Conv2D"), "no convolution in any scope of"),
    "pixels from elsewhere": (lambda writer: writer.constant("mul/x", 0.0), "no sum or product of the picture and one"),
    "a picture that goes in circles": (placed("input", "Identity", "input"), "reads its own output"),
    "blocks that go in circles": (
        placed(f"{BLOCK}/output", "Identity", "MobilenetV2/expanded_conv_7/output"),
        "it reads MobilenetV2/expanded_conv_7/add, not MobilenetV2/expanded_conv_5/add",
    ),
    "a node without inputs": (placed(f"{STEM}/Conv2D", "Conv2D", padding="SAME"), "it has 0 inputs"),
    "two nodes of a name": (
        lambda writer: writer.nodes.update({"twice": writer.nodes["Mean"]}),
        "a second one of its name",
    ),
    "a name without end": (placed("x" * 5000, "Const"), "a name of 5000 bytes; up to 1000 are read"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_such_network_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    change, expected = CASES[case]
    writer = whole()
    change(writer)
    path = writer.save(tmp_path / "x.pb")
    assert re.search(expected, said_of(path))


def finishes(path: Path) -> None:
    """Read or refused, but in a moment."""
    begun = time.perf_counter()
    with contextlib.suppress(WeightsError):
        read_graphdef(path)
    assert time.perf_counter() - begun < 20


@pytest.mark.parametrize("field", [b"\x0a" + varint(2**63 - 1), b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 11])
def test_lengths_beyond_the_file_are_refused(field: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pb").write_bytes(field + bytes(100))
    assert "damaged" in said_of(tmp_path / "x.pb")


def test_a_shape_beyond_the_memory_is_refused_before_it_is_filled(tmp_path: Path) -> None:
    content = integer(1, 1) + message(2, shape_of([2**20, 2**20])) + message(5, bytes(4))
    (tmp_path / "x.pb").write_bytes(node("x", "Const", (), {"value": message(8, content)}))
    with pytest.raises(WeightsError, match=r"Const \(x\) has shape \[1048576, 1048576\]"):
        read_graphdef_file(tmp_path / "x.pb")["x"].constant().values()


@pytest.mark.parametrize("shape", [[5], [-6], [7]])
def test_a_shape_that_lies_about_the_bytes_is_refused(shape: list[int], tmp_path: Path) -> None:
    content = integer(1, 1) + message(2, shape_of(shape)) + message(4, bytes(24))
    (tmp_path / "x.pb").write_bytes(node("x", "Const", (), {"value": message(8, content)}))
    with pytest.raises(WeightsError, match=r"Const \(x\)"):
        read_graphdef_file(tmp_path / "x.pb")["x"].constant().values()


def test_millions_of_fields_are_refused_in_a_moment(tmp_path: Path) -> None:
    (tmp_path / "x.pb").write_bytes(b"\x18\x00" * 3_000_000)
    assert "more than 2000000 fields" in said_of(tmp_path / "x.pb")
    (tmp_path / "y.pb").write_bytes(b"".join(node(f"n{index}", "NoOp") for index in range(50_001)))
    assert "more than 50000 nodes" in said_of(tmp_path / "y.pb")


def test_a_long_chain_that_many_read_ends_in_a_moment(tmp_path: Path) -> None:
    chain = [node(f"c{index}", "Identity", [f"c{index + 1}"]) for index in range(20_000)]
    readers = [node(f"r{index}", "Add", ["c0", "c0"]) for index in range(20_000)]
    (tmp_path / "x.pb").write_bytes(b"".join(chain + readers))
    finishes(tmp_path / "x.pb")


def test_a_graph_is_imported_before_a_config_can_name_it(tmp_path: Path) -> None:
    path = whole().save(tmp_path / "x.pb")
    with pytest.raises(WeightsError, match=r"x.pb is read by mbseg import-weights only; import it"):
        mbseg.create_backbone("mobilenet_v2", weights=str(path))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    writer = whole()
    writer.constant(f"{BLOCK}/project/BatchNorm/gamma", np.full(8, np.nan))
    path = writer.save(tmp_path / "x.pb")
    with pytest.raises(MbsegError, match=r"x.pb .* is damaged: backbone.blocks.5.project.norm.weight holds values"):
        import_weights(str(path), tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()
