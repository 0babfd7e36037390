"""Writes small .tflite files, for tests: our own networks as TensorFlow would store them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import nn

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
FUSED = {nn.ReLU: 1, nn.ReLU6: 3}


class Writer:
    """A graph that grows operator by operator; tensors are known by their numbers."""

    def __init__(self, *, swish_as_operator: bool = True, dilation_as_option: bool = True) -> None:
        self.swish_as_operator = swish_as_operator
        self.dilation_as_option = dilation_as_option
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model = schema.ModelT()
        self.model.version, self.model.subgraphs, self.model.operatorCodes = 3, [self.graph], []
        self.model.buffers = [schema.BufferT()]

    def tensor(self, shape: Sequence[int], type_name: str = "float32", buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer, tensor.name = list(shape), TYPES[type_name], buffer, b"irrelevant"
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(
        self, values: NDArray[Any], scales: Sequence[float] = (), zeros: Sequence[int] = (), axis: int = 0
    ) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        index = self.tensor(values.shape, values.dtype.name, len(self.model.buffers) - 1)
        if len(scales):
            quantization = schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = list(scales), list(zeros)
            quantization.quantizedDimension = axis
            self.graph.tensors[index].quantization = quantization
        return index

    def numbers(self, *values: float | Sequence[int], dtype: type = np.float32) -> int:
        return self.constant(np.array(values[0] if len(values) == 1 else values, dtype))

    def operator(self, kind: str, inputs: Sequence[int], shape: Sequence[int], **options: int) -> int:
        """Appends an operator; its output, of this shape, is returned. `options` are set under the schema's names."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind) if hasattr(schema.BuiltinOperator, kind) else 32
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.customCode, code.version = (kind.encode() if code.builtinCode == 32 else None), 1
        self.model.operatorCodes.append(code)
        entry = schema.OperatorT()
        entry.opcodeIndex = len(self.model.operatorCodes) - 1
        entry.inputs, entry.outputs = list(inputs), [self.tensor(shape)]
        if name := OPTIONS.get(kind):
            entry.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            entry.builtinOptions = getattr(schema, f"{name}T")()
            for key, value in options.items():
                setattr(entry.builtinOptions, key, value)
        self.graph.operators.append(entry)
        return entry.outputs[0]

    def shape(self, index: int) -> list[int]:
        return list(self.graph.tensors[index].shape)

    def conv(self, x: int, conv: nn.Conv2d, bias: NDArray[np.float32], activation: nn.Module | None = None) -> int:
        """A convolution under SAME with its activation, fused where TensorFlow Lite can."""
        depthwise = conv.groups > 1
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        weight = conv.weight.detach().permute(*order).contiguous().numpy()
        _, height, width, _ = self.shape(x)
        stride, dilation = conv.stride[0], conv.dilation[0]
        options = {"strideH": stride, "strideW": stride, "fusedActivationFunction": FUSED.get(type(activation), 0)}
        options |= {"depthMultiplier": 1} if depthwise else {}
        shape = [1, -(-height // stride), -(-width // stride), conv.out_channels]
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        constants = [self.constant(weight), self.constant(bias)]
        if dilation == 1 or self.dilation_as_option:
            options |= {"dilationHFactor": dilation, "dilationWFactor": dilation, "padding": 0}
            x = self.operator(kind, [x, *constants], shape, **options)
        else:
            options |= {"dilationHFactor": 1, "dilationWFactor": 1, "padding": 1}
            x = self.in_batches(x, kind, constants, shape, dilation, options)
        return self.swish(x) if isinstance(activation, nn.Hardswish) else x

    def in_batches(
        self, x: int, kind: str, constants: list[int], shape: list[int], rate: int, options: dict[str, int]
    ) -> int:
        """A dilated 3x3 convolution as older converters write it."""
        _, height, width, channels = self.shape(x)
        more = [-size % rate for size in (height, width)]
        rates = self.numbers([rate, rate], dtype=np.int32)
        padding = self.constant(np.array([[rate, rate + more[0]], [rate, rate + more[1]]], np.int32))
        crops = self.constant(np.array([[0, more[0]], [0, more[1]]], np.int32))
        cut = [-(-height // rate), -(-width // rate)]
        space = self.operator("SPACE_TO_BATCH_ND", [x, rates, padding], [rate**2, cut[0] + 2, cut[1] + 2, channels])
        result = self.operator(kind, [space, *constants], [rate**2, *cut, shape[3]], **options)
        return self.operator("BATCH_TO_SPACE_ND", [result, rates, crops], shape)

    def swish(self, x: int) -> int:
        if self.swish_as_operator:
            return self.operator("HARD_SWISH", [x], self.shape(x))
        return self.operator("MUL", [x, self.hard_sigmoid(x)], self.shape(x))

    def hard_sigmoid(self, x: int) -> int:
        shifted = self.operator("ADD", [x, self.numbers(3)], self.shape(x), fusedActivationFunction=3)
        return self.operator("MUL", [shifted, self.numbers(1 / 6)], self.shape(x))

    def pool(self, x: int) -> int:
        axes = self.numbers([1, 2], dtype=np.int32)
        return self.operator("MEAN", [x, axes], [1, 1, 1, self.shape(x)[3]], keepDims=True)

    def resize(self, x: int, size: Sequence[int]) -> int:
        target = self.numbers(list(size), dtype=np.int32)
        return self.operator("RESIZE_BILINEAR", [x, target], [1, *size, self.shape(x)[3]], alignCorners=True)

    def save(self, path: Path, picture: int, result: int) -> Path:
        self.graph.inputs, self.graph.outputs = [picture], [result]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(builder.Output())
        return path


OPTIONS = {
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    "HARD_SWISH": "HardSwishOptions",
}
