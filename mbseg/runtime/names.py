"""What engines and precisions are called. Imports no torch: command lines are made of it."""

from typing import Literal

SessionEngine = Literal["onnxruntime", "openvino"]  # takes ONNX graphs and exported files
EngineName = Literal["torch", "onnxruntime", "openvino"]
Backend = Literal["auto", "torch", "onnxruntime", "openvino"]  # auto: whichever is the fastest here
Precision = Literal["fp32", "bf16"]
