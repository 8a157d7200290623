"""ONNX Runtime: quantized networks as ONNX files that it executes with integer kernels."""

from ehap.engines.onnxruntime.export import exported, floats_to_onnx, to_onnx
from ehap.engines.onnxruntime.operators import audit, check_declared, in_integers, left_in_float
from ehap.engines.onnxruntime.session import OnnxNetwork

__all__ = [
    "OnnxNetwork",
    "audit",
    "check_declared",
    "exported",
    "floats_to_onnx",
    "in_integers",
    "left_in_float",
    "to_onnx",
]
