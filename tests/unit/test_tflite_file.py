""".tflite files: constants dequantised, and everything that is not a whole MobileNet refused in one line."""

import struct
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from mbseg.errors import WeightsError
from mbseg.weights.from_tflite import read_tflite
from mbseg.weights.tflite_file import read_tflite_file

pytest.importorskip("ai_edge_litert", reason="LiteRT (ai-edge-litert), whose schema writes these files, is missing")
from tests.tflite_writer import Writer

STORED = np.array([[0, 1, 2], [253, 254, 255]], np.uint8)


def written(writer: Writer, folder: Path) -> Path:
    """A file whose graph is one operator that reads the first constant."""
    picture = writer.tensor([1, 4, 4, 3])
    result = writer.operator("ADD", [picture, 0], [1, 4, 4, 3])
    return writer.save(folder / "tiny.tflite", picture, result)


def stem_only(folder: Path) -> Path:
    writer = Writer()
    picture = writer.tensor([1, 8, 8, 3])
    result = writer.conv(picture, nn.Conv2d(3, 8, 3, stride=2), np.zeros(8, np.float32), nn.ReLU6())
    return writer.save(folder / "stem.tflite", picture, result)


def test_a_constant_is_dequantised_with_one_scale(tmp_path: Path) -> None:
    writer = Writer()
    index = writer.constant(STORED, scales=[0.5], zeros=[128])
    expected = [[-64, -63.5, -63], [62.5, 63, 63.5]]
    assert read_tflite_file(written(writer, tmp_path)).constant(index).tolist() == expected


@pytest.mark.parametrize(("axis", "expected"), [(0, [[0, 1], [4, 6]]), (1, [[0, 2], [2, 6]])])
def test_a_constant_is_dequantised_with_one_scale_a_channel(axis: int, expected: object, tmp_path: Path) -> None:
    writer = Writer()
    index = writer.constant(np.array([[0, 1], [2, 3]], np.int8), scales=[1, 2], zeros=[0, 0], axis=axis)
    assert read_tflite_file(written(writer, tmp_path)).constant(index).tolist() == expected


def test_a_bias_of_32_bits_keeps_its_precision(tmp_path: Path) -> None:
    writer = Writer()
    index = writer.constant(np.array([2**24 + 1, -(2**30) - 1], np.int32), scales=[2.0**-24], zeros=[0])
    values = read_tflite_file(written(writer, tmp_path)).constant(index)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [1 + 2.0**-24, -64 - 2.0**-24], rtol=6e-8)


def test_half_precision_becomes_single_and_integers_stay(tmp_path: Path) -> None:
    writer = Writer()
    half, whole = writer.constant(np.array([0.5], np.float16)), writer.constant(np.array([3], np.int32))
    file = read_tflite_file(written(writer, tmp_path))
    assert (file.constant(half).dtype, file.constant(half).tolist()) == (np.float32, [0.5])
    assert (file.constant(whole).dtype, file.constant(whole).tolist()) == (np.int32, [3])


def test_scales_that_do_not_fit_the_shape_are_refused(tmp_path: Path) -> None:
    writer = Writer()
    index = writer.constant(STORED, scales=[1, 2, 3], zeros=[0, 0, 0], axis=0)
    with pytest.raises(WeightsError, match=r"constant 0 has shape \[2, 3\], and 3 scales along axis 0"):
        read_tflite_file(written(writer, tmp_path)).constant(index)


@pytest.mark.parametrize("shape", [[2, 4], [-2, -3], [2**30, 2**30]])
def test_a_shape_that_lies_about_the_bytes_is_refused(shape: list[int], tmp_path: Path) -> None:
    writer = Writer()
    index = writer.constant(STORED)
    writer.graph.tensors[index].shape = shape
    with pytest.raises(WeightsError, match=r"damaged: constant 0, uint8 .*, has 6 bytes"):
        read_tflite_file(written(writer, tmp_path)).constant(index)


def test_a_missing_buffer_is_named(tmp_path: Path) -> None:
    writer = Writer()
    writer.graph.tensors[writer.constant(STORED)].buffer = 9
    with pytest.raises(WeightsError, match="a tensor refers to buffer 9 of 2"):
        read_tflite_file(written(writer, tmp_path))


def test_a_tensor_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    picture = writer.tensor([1, 4, 4, 3])
    result = writer.operator("ADD", [picture, 77], [1, 4, 4, 3])
    with pytest.raises(WeightsError, match=r"ADD.0 names a tensor that does not exist"):
        read_tflite(writer.save(tmp_path / "wild.tflite", picture, result))


@pytest.mark.parametrize("kind", ["LOGISTIC", "TRANSPOSE_CONV", "TFLite_Detection_PostProcess"])
def test_an_unknown_operator_is_named(kind: str, tmp_path: Path) -> None:
    writer = Writer()
    picture = writer.tensor([1, 4, 4, 3])
    path = writer.save(tmp_path / "other.tflite", picture, writer.operator(kind, [picture], [1, 4, 4, 3]))
    with pytest.raises(WeightsError, match=rf"other.tflite cannot be read: {kind} \(operator 0\)"):
        read_tflite(path)


def test_a_graph_that_stops_early_is_told_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a MobileNet's first block .* expected, found the end"):
        read_tflite(stem_only(tmp_path))


def test_a_graph_that_runs_in_a_circle_ends(tmp_path: Path) -> None:
    writer = Writer()
    picture = writer.tensor([1, 8, 8, 3])
    x = writer.conv(picture, nn.Conv2d(3, 8, 3, stride=2), np.zeros(8, np.float32), nn.ReLU6())
    deep = writer.conv(x, nn.Conv2d(8, 8, 3, groups=8), np.zeros(8, np.float32), nn.ReLU6())
    back = writer.conv(deep, nn.Conv2d(8, 8, 1), np.zeros(8, np.float32))
    deeper = writer.conv(back, nn.Conv2d(8, 8, 3, groups=8), np.zeros(8, np.float32), nn.ReLU6())
    writer.conv(deeper, nn.Conv2d(8, 8, 1), np.zeros(8, np.float32))
    writer.graph.operators[1].inputs[0] = writer.graph.operators[-1].outputs[0]
    writer.graph.operators[0].outputs[0], writer.graph.operators[2].outputs[0] = back, x
    with pytest.raises(WeightsError):
        read_tflite(writer.save(tmp_path / "circle.tflite", picture, back))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL", b"<html></html>", b"\x89PNG\r\n\x1a\n" + bytes(99)])
def test_what_is_no_tflite_file_is_told_apart(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x.tflite is no .tflite file: bytes 4 to 8 are"):
        read_tflite(tmp_path / "x.tflite")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no weights file"):
        read_tflite(tmp_path / "none.tflite")
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        read_tflite(tmp_path)


def test_a_truncated_file_is_refused_in_one_line_wherever_it_ends(tmp_path: Path) -> None:
    whole = stem_only(tmp_path).read_bytes()
    path = tmp_path / "short.tflite"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError) as caught:
            read_tflite(path)
        assert "\n" not in str(caught.value)


def test_offsets_and_lengths_that_lie_are_refused_in_one_line(tmp_path: Path) -> None:
    """Every word of the file in turn says something else; what is still a network would end in "first block"."""
    whole = stem_only(tmp_path).read_bytes()
    path = tmp_path / "lies.tflite"
    for position in range(8, min(len(whole), 1200), 4):
        for lie in (0x7FFFFFFF, 0xFFFFFFF0, 0x00010001):
            path.write_bytes(whole[:position] + struct.pack("<I", lie) + whole[position + 4 :])
            with pytest.raises(WeightsError) as caught:
                read_tflite(path)
            assert "\n" not in str(caught.value)


def test_a_list_of_too_many_tables_is_refused_before_it_is_read(tmp_path: Path) -> None:
    writer = Writer()
    picture = writer.tensor([1, 4, 4, 3])
    for _ in range(20_001):
        writer.tensor([1])
    result = writer.operator("ADD", [picture, 0], [1, 4, 4, 3])
    with pytest.raises(WeightsError, match="a list of 20003 entries; up to 20000 are read"):
        read_tflite(writer.save(tmp_path / "many.tflite", picture, result))
