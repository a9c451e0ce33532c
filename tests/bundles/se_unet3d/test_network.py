"""The network is the papers': parameter counts, where squeeze-and-excitation acts, what comes out."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def network_module(bundle):
    from scripts import network

    return network


PAPERS = [
    # arguments, trainable parameters that the paper states, input shape
    ({}, 2_263_042, (2, 2, 32, 32, 16)),  # Abramova 2021, final
    ({"se": "none"}, 2_260_866, (1, 2, 24, 24, 8)),  # its baseline 3D U-Net
    (
        {
            "in_channels": 1,
            "features": (32, 64, 128, 256, 512),
            "se": "skips",
            "dropout": (0.25, 0.5, 0.5, 0.5),
        },
        9_186_210,
        (1, 1, 48, 48, 16),
    ),  # INSTANCE 2022
]


@pytest.mark.parametrize(("arguments", "parameters", "shape"), PAPERS, ids=["2021", "2021-no-se", "2022"])
def test_parameters_and_shape(network_module, arguments, parameters, shape):
    network = network_module.SEUNet(**arguments).eval()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == parameters
    with torch.no_grad():
        assert network(torch.randn(shape)).shape == (shape[0], 2, *shape[2:])


def test_two_dimensions(network_module):
    network = network_module.SEUNet(spatial_dims=2, in_channels=1)
    assert network(torch.zeros(1, 1, 16, 24)).shape == (1, 2, 16, 24)


def test_squeeze_and_excitation_by_hand(network_module):
    """Two channels squeezed to one: the weight is sigmoid(excite * relu(squeeze . means))."""
    block = network_module.SqueezeExcitation(2, reduction=2)
    block.squeeze.weight.data = torch.tensor([[1.0, 0.5]])
    block.excite.weight.data = torch.tensor([[2.0], [-1.0]])
    x = torch.stack([torch.full((1, 3, 3, 3), 1.0), torch.full((1, 3, 3, 3), 4.0)], dim=1).squeeze(2)[
        :, :, None
    ]
    hidden = max(0.0, 1.0 * 1 + 0.5 * 4)
    expected = torch.sigmoid(torch.tensor([2.0 * hidden, -1.0 * hidden])) * torch.tensor([1.0, 4.0])
    assert torch.allclose(block(x).flatten(2).mean(-1)[0], expected)


def test_downsampling_takes_features_before_squeeze_in_2022(network_module):
    """The skip is recalibrated, what goes down is not."""
    torch.manual_seed(0)
    network = network_module.SEUNet(in_channels=1, se="skips").eval()
    seen = []
    network.downs[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    skipped = []
    network.skips[0].register_forward_hook(lambda module, inputs, output: skipped.append((inputs[0], output)))
    with torch.no_grad():
        network(torch.randn(1, 1, 16, 16, 16))
    before, after = skipped[0]
    assert torch.equal(seen[0], before)
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    "arguments", [{"se": "everywhere"}, {"dropout": (0.5,)}], ids=["unknown-se", "dropout-length"]
)
def test_wrong_arguments(network_module, arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments)))):
        network_module.SEUNet(**arguments)
