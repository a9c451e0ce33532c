"""Reduced precision: what stays float32, what is refused, what is chosen."""

from __future__ import annotations

import pytest
import torch

from tools.core.errors import InputError
from tools.engine.precision import autocast_dtype, with_precision


@pytest.mark.parametrize("amp", [True, False])
def test_precision_keeps_weights_and_output_in_float32(device, amp):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv3d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 2, 1)
    )
    x = torch.randn(2, 2, 8, 8, 8)
    expected = plain(x)
    network = with_precision(plain, device, amp)
    result = network(x.to(device))
    assert result.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert torch.allclose(result.cpu(), expected, atol=5e-2 if amp else 1e-5)  # bfloat16 has 8 bits
    result.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert list(network.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_patches_with_wrong_gradients_are_refused():
    """Two voxels in the first direction: bfloat16 gradients on a CPU are garbage there, float32 is not."""
    x = torch.randn(1, 1, 2, 4, 4)
    training = with_precision(torch.nn.Conv3d(1, 2, 3, padding=1), "cpu", True)
    with pytest.raises(InputError, match="roi_size"):
        training(x)
    with torch.no_grad():
        assert training(x).shape == (1, 2, 2, 4, 4)
    with_precision(torch.nn.Conv3d(1, 2, 3, padding=1), "cpu", False)(x).sum().backward()


@pytest.mark.parametrize(("channels", "dilation", "wrong"), [(24, 2, True), (24, 1, False), (32, 2, False)])
def test_dilated_convolutions_with_wrong_gradients_are_refused(channels, dilation, wrong):
    """What passes has the gradients of float32, to bfloat16's eight bits."""
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(channels, 8, 3, padding=dilation, dilation=dilation)
    x = torch.rand(2, channels, 32, 32)
    plain(x).square().mean().backward()
    expected, plain.weight.grad = plain.weight.grad, None
    training = with_precision(plain, "cpu", True)
    if wrong:
        with pytest.raises(InputError, match="network_def: expected a multiple of 16 channels"):
            training(x)
        return
    training(x).square().mean().backward()
    assert (plain.weight.grad - expected).norm() < 0.02 * expected.norm()


def test_precision_choice():
    assert autocast_dtype("cpu", False) is None
    assert autocast_dtype("cpu", True) is torch.bfloat16
    assert autocast_dtype("cpu", "auto") in (None, torch.bfloat16)


def test_word_that_is_no_switch():
    with pytest.raises(InputError, match="amp: expected true or false, found 'fp16'"):
        autocast_dtype("cpu", "fp16")
    assert autocast_dtype("cpu", "false") is None
