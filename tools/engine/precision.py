"""Mixed precision and memory format in one place, for training and inference, on CPU and GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from tools.core.errors import InputError
from tools.core.flags import is_true

Forward = Callable[[torch.Tensor], torch.Tensor]


def autocast_dtype(device: torch.device | str, amp: bool | str = "auto") -> torch.dtype | None:
    """The reduced precision to compute in on `device`.

    Args:
        device: device of the network.
        amp: True for bfloat16, False for float32, "auto" for bfloat16 where the hardware has it: on CUDA
            from Ampere on, on CPUs with AVX512-BF16 or AMX.

    Returns:
        torch.bfloat16, or None for float32.
    """
    if amp != "auto":
        amp = is_true(amp, "amp")
    elif torch.device(device).type == "cuda":
        amp = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        amp = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if amp else None


def with_precision(network: nn.Module, device: torch.device | str, amp: bool | str = "auto") -> nn.Module:
    """Move a network to `device`, channels last, and let its forward pass run in reduced precision.

    Weights stay float32, and so are outputs (a tensor, or a list of them), so that losses, optimisers,
    checkpoints and trainers need not know. bfloat16 has float32's range: no gradient scaler is needed.

    Args:
        network: convolutional network for (B, C, H, W) or (B, C, H, W, D) input; changed in place.
        device: where it runs.
        amp: see `autocast_dtype`.

    Returns:
        the network; in reduced precision it is a `HasFloat32Forward`.

    Raises:
        InputError: later, where a training in bfloat16 on a CPU would have wrong gradients.
    """
    is_3d = any(parameter.ndim == 5 for parameter in network.parameters())
    layout = torch.channels_last_3d if is_3d else torch.channels_last
    network = network.to(device).to(memory_format=layout)
    dtype = autocast_dtype(device, amp)
    if dtype is not None and torch.device(device).type == "cpu":
        for module in network.modules():
            if isinstance(module, nn.Conv3d) and any(module.padding):
                module.register_forward_pre_hook(_refuse_wrong_gradients)
            if isinstance(module, nn.Conv2d) and max(module.dilation) > 1:
                module.register_forward_pre_hook(_refuse_wrong_dilated_gradients)
    device_type, forward = torch.device(device).type, network.forward
    if dtype is not None:
        setattr(network, "in_float32", _wrapped(forward, device_type, None, layout))  # noqa: B010
    setattr(network, "forward", _wrapped(forward, device_type, dtype, layout))  # noqa: B010
    return network


@runtime_checkable
class HasFloat32Forward(Protocol):
    """A network in reduced precision that can compute in float32 too; `with_precision` makes it so."""

    in_float32: Forward


def _refuse_wrong_gradients(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """oneDNN's bfloat16 weight gradients of a padded 3D convolution read memory that nothing wrote when the
    input is 2 voxels long in its first direction (torch 2.14, AVX512-BF16): wrong, different in each run."""
    if torch.is_grad_enabled() and inputs[0].shape[2] == 2:
        raise InputError(
            "roi_size: expected feature maps longer than 2 voxels in the first direction to train in "
            f"bfloat16 on a CPU, found {tuple(inputs[0].shape[2:])}; take another roi_size, or `amp: false`"
        )


def _refuse_wrong_dilated_gradients(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """The same of dilated 2D convolutions of more than 16 channels that are no multiple of 16: not a number,
    or a crash (torch 2.14, AVX512-BF16)."""
    channels = inputs[0].shape[1]
    if torch.is_grad_enabled() and channels > 16 and channels % 16:
        raise InputError(
            "network_def: expected a multiple of 16 channels before a dilated convolution to train in "
            f"bfloat16 on a CPU, found {channels}; take other features, or `amp: false`"
        )


def _wrapped(
    forward: Callable, device_type: str, dtype: torch.dtype | None, layout: torch.memory_format
) -> Forward:
    def run(x: torch.Tensor) -> Any:
        x = x.contiguous(memory_format=layout)
        if dtype is None:
            return forward(x.float())
        with torch.autocast(device_type, dtype):
            output = forward(x)
        return output.float() if isinstance(output, torch.Tensor) else [part.float() for part in output]

    return run
