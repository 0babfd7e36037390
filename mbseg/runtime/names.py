"""What engines and precisions are called. Imports no torch: command lines are made of it."""

from typing import Literal

SessionEngine = Literal["onnxruntime", "openvino"]  # takes ONNX graphs and exported files
EngineName = Literal["torch", "compiled", "onnxruntime", "openvino"]  # compiled: by torch.compile
Backend = Literal["auto", "torch", "compiled", "onnxruntime", "openvino"]  # auto: whichever is the fastest here
Precision = Literal["fp32", "bf16"]
