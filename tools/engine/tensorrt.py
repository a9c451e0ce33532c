"""A network compiled by TensorRT, on NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from monai.networks import trt_compile
from torch import nn

from tools.core.errors import InputError

PACKAGES = ("tensorrt", "polygraphy", "onnx")


def with_tensorrt(
    network: nn.Module,
    device: torch.device | str,
    weights: str | Path,
    size: Sequence[int],
    batch: int,
    precision: str = "fp16",
) -> nn.Module:
    """Let TensorRT compute the forward pass; it is compiled at the first one, which takes minutes.

    The compiled network is kept as `<weights>.<precision>.<batch>x<size>.plan`, and made anew when the
    weights' file is newer. Unlike MONAI's own `trt_compile`, this says where TensorRT is missing or fails.

    Args:
        network: in evaluation mode, not yet wrapped by `with_precision`; changed in place.
        device: a CUDA device.
        weights: file that the network's weights are loaded from.
        size: of its inputs, without batch and channels.
        batch: how many inputs it is given at most; it is compiled for 1 to as many.
        precision: fp32, tf32, fp16 or bf16.

    Raises:
        InputError: no NVIDIA GPU, or TensorRT is not installed; later, an input that it was not compiled for.
    """
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        raise InputError(f"tensorrt: expected a CUDA device, found {device}")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"tensorrt: expected the packages {', '.join(PACKAGES)}, found no {', '.join(missing)}; "
            f"pip install {' '.join(missing)}"
        )
    arguments: dict[str, Any] = {"precision": precision, "dynamic_batchsize": [1, batch, batch]}
    if Path(weights).is_file():
        arguments["timestamp"] = int(Path(weights).stat().st_mtime)
    plan = f"{weights}.{precision}.{'x'.join(map(str, (batch, *size)))}"  # MONAI adds .plan
    return with_input_limits(trt_compile(network.to(device).eval(), plan, args=arguments), size, batch)


def with_input_limits(network: nn.Module, size: Sequence[int], batch: int) -> nn.Module:
    """Let a network refuse inputs other than 1 to `batch` of this size; changed in place.

    A hook would not do: it would become part of what is exported.
    """
    forward = network.forward

    def checked(x: torch.Tensor) -> torch.Tensor:
        if tuple(x.shape[2:]) != tuple(size) or not 1 <= len(x) <= batch:
            raise InputError(
                f"tensorrt: expected 1 to {batch} inputs of {'x'.join(map(str, size))}, as network#batch and "
                f"network#size say, found {len(x)} of {'x'.join(map(str, x.shape[2:]))}"
            )
        return forward(x)

    network.forward = checked
    return network
