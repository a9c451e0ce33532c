"""A network compiled by TensorRT, on NVIDIA GPUs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from monai.networks import trt_compile
from torch import nn

from tools.errors import InputError

__all__ = ["with_tensorrt"]

PACKAGES = ("tensorrt", "polygraphy", "onnx")


def with_tensorrt(
    network: nn.Module, device: torch.device | str, weights: str | Path, precision: str = "fp16"
) -> nn.Module:
    """Let TensorRT compute the forward pass; it is compiled at the first one, which takes minutes.

    The compiled network is kept as `<weights>.plan`, and made anew when the weights' file is newer. MONAI's
    own `trt_compile` silently does nothing where TensorRT is missing; this says so.

    Args:
        network: in evaluation mode, not yet wrapped by `with_precision`; changed in place.
        device: a CUDA device.
        weights: file that the network's weights are loaded from.
        precision: fp32, tf32, fp16 or bf16.

    Raises:
        InputError: no NVIDIA GPU, or TensorRT is not installed.
    """
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        raise InputError(f"tensorrt: expected a CUDA device, found {device}")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"tensorrt: expected the packages {', '.join(PACKAGES)}, found no {', '.join(missing)}; "
            f"pip install {' '.join(missing)}"
        )
    return trt_compile(network.to(device).eval(), str(weights), args={"precision": precision})
