"""The networks have the layers, channels and receptive fields that the paper and the documentation state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def make(bundle):
    from scripts.models import make_network

    return make_network


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def widths(network: nn.Module) -> list[int]:
    """Output channels of the convolutions in the order in which they were made."""
    return [m.out_channels for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]


LAYERS = {
    # name: 3x3 or 4x4 convolutions, transposed ones, normalisations, poolings, channels down and up
    "unet6": (12, 3, 12, 3, [64, 64, 128, 128, 256, 256], [128, 128, 64, 64, 32, 32]),
    "unet6_dil": (12, 3, 12, 3, [64, 64, 128, 128, 256, 256], [128, 128, 64, 64, 32, 32]),
    "unet10": (
        20, 5, 20, 5,
        [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024],
        [512, 512, 256, 256, 128, 128, 64, 64, 32, 32],
    ),
    "pix2pix7": (7, 7, 13, 0, [64, 128, 256, 512, 512, 512, 512], [512, 512, 512, 256, 128, 64, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layer_table(make, name):
    network = make(name, features=64)
    convs, ups, norms, pools, down, up = LAYERS[name]
    kernels = [m for m in network.modules() if type(m) is nn.Conv2d and m.kernel_size != (1, 1)]
    assert (len(kernels), count(network, nn.ConvTranspose2d)) == (convs, ups)
    assert count(network, nn.BatchNorm2d) == norms
    assert widths(network.downs) == down
    if name == "pix2pix7":
        assert [*widths(network.ups), network.head.out_channels] == up
        assert count(network, nn.LeakyReLU) == norms
        assert {m.kernel_size for m in kernels} == {(4, 4)}
    else:
        assert network.pool.kernel_size == 2  # one module, used once for each block down
        assert len(network.downs) == len(network.ups) == pools
        assert widths(network.joins) == up
        assert count(network, nn.ReLU) == norms
        assert {m.kernel_size for m in kernels} == {(3, 3)}


PARAMETERS = {"unet6": 2_092_481, "unet6_dil": 2_092_481, "unet10": 34_215_105}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_by_hand(make, name):
    """Sum over the layers of the table: 3x3 without bias, 2x2 transposed with, normalisation, 1x1 head."""
    _, _, _, depth, down, up = LAYERS[name]
    total = sum(9 * a * b + 2 * b for a, b in zip([1, *down], down, strict=False))
    for number in range(depth):
        skip, out = down[-1 - 2 * number], up[2 * number]
        total += 4 * skip * out + out + 9 * (skip + out) * out + 9 * out * out + 4 * out
    total += up[-1] + 1
    assert total == PARAMETERS[name]
    assert sum(p.numel() for p in make(name, features=64).parameters()) == total


def receptive_field(network: nn.Module, size: int) -> int:
    """Widest extent of input pixels that one output pixel depends on, over the positions near the middle.

    By gradient: all weights positive and every pool an average, so that nothing cancels and nothing is
    shut off; a gap in the extent (gridding) fails.
    """
    network = copy.deepcopy(network).double().eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    network.pool = nn.AvgPool2d(2)
    image = torch.ones(1, 1, 32, size, dtype=torch.float64, requires_grad=True)
    output = network(image)[0, 0, 16]
    extents = []
    for place in range(size // 2, size // 2 + network.stride):
        (gradient,) = torch.autograd.grad(output[place], image, retain_graph=True)
        reached = torch.nonzero(gradient[0, 0].sum(0))[:, 0]
        extents.append(int(reached[-1] - reached[0]) + 1)
        assert len(reached) == extents[-1], "gridding"
        assert reached[0] > 0
        assert reached[-1] < size - 1
    return max(extents)


@pytest.mark.parametrize(
    ("name", "size", "field"), [("unet6", 128, 68), ("unet6_dil", 320, 196), ("unet10", 448, 284)]
)
def test_receptive_field(make, name, size, field):
    assert receptive_field(make(name, features=2), size) == field


@pytest.mark.parametrize(
    ("name", "innermost", "blocks"), [("unet6", 1, 3), ("unet10", 2, 5), ("pix2pix7", 3, 6)]
)
def test_noise_stands_in_the_innermost_half(make, name, innermost, blocks):
    network = make(name, features=2, dropout=0.3)
    parts = network.ups if name == "pix2pix7" else network.joins
    rates = [sum(m.p for m in part.modules() if isinstance(m, nn.Dropout)) for part in parts]
    assert rates == [0.3] * innermost + [0.0] * (blocks - innermost)
    image = torch.rand(2, 1, 128, 128)
    assert not torch.equal(network.train()(image), network(image))
    assert torch.equal(network.eval()(image), network(image))


def test_dilation_rates_keep_what_neighbours_share(bundle):
    """No common divisor within a block: else pixels of a block fall into sets that never meet."""
    from math import gcd

    from scripts.unet import DILATION_RATES, UNet

    assert all(gcd(*rates) == 1 for rates in DILATION_RATES)
    with pytest.raises(ValueError, match="rates must be given for 5 levels"):
        UNet(depth=5, rates=DILATION_RATES)


@pytest.mark.parametrize("name", ["unet6_dil", "unet10"])
def test_folded_normalisation_changes_nothing(make, name):
    """Evaluation against convolution, normalisation and activation one after the other, in float64."""
    from scripts.unet import FoldedConvolution

    network = make(name, features=8).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, 0.0, 0.5)
    image = torch.rand(3, 1, 64, 64, dtype=torch.float64)
    for _ in range(3):
        network(image)  # statistics of its own
    folded = network.eval()(image)
    for module in network.modules():
        if isinstance(module, FoldedConvolution):
            module.forward = lambda x, module=module: module.adn(module.conv(x))
    assert torch.allclose(network(image), folded, rtol=0, atol=1e-12)
    assert folded.std() > 1e-3


@pytest.mark.parametrize("activation", ["relu", "leakyrelu"])
def test_activation_of_the_generators(make, activation):
    """The first block, computed layer by layer with either activation."""
    network = make("unet6", features=4, activation=activation).eval()
    kinds = {type(m) for m in network.modules() if type(m) in (nn.ReLU, nn.LeakyReLU)}
    assert kinds == {nn.ReLU if activation == "relu" else nn.LeakyReLU}
    assert network.settings["activation"] == activation
    image = torch.randn(1, 1, 16, 16)
    out = image
    for layer in network.downs[0]:
        out = layer.adn.N(layer.conv(out))
        out = torch.where(out > 0, out, out * (0.2 if activation == "leakyrelu" else 0))
    assert (out.min() < 0) == (activation == "leakyrelu")
    assert torch.allclose(network.downs[0](image), out, atol=1e-6)


def test_plain_unet_is_that_of_its_reference(make):
    """Ronneberger 2015: 23 convolutions of which 4 double the size, ReLU, nothing normalised, 64 to 1024."""
    network = make("unet", features=64)
    assert count(network, nn.Conv2d) + count(network, nn.ConvTranspose2d) == 23
    assert count(network, nn.ConvTranspose2d) == count(network, nn.MaxPool2d) == 4
    assert count(network, nn.BatchNorm2d) == count(network, nn.InstanceNorm2d) == 0
    assert {type(m) for m in network.modules() if "ReLU" in type(m).__name__} == {nn.ReLU}
    assert max(m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)) == 1024


def test_discriminator(bundle):
    """4 steps, normalised in the last three without statistics of their own; patches of 70 pixels."""
    from scripts.pix2pix import PatchDiscriminator

    network = PatchDiscriminator(2)
    assert widths(network.steps) == [64, 128, 256, 512]
    kinds = [[type(m).__name__ for m in step.modules() if not list(m.children())] for step in network.steps]
    assert kinds == [["Conv2d", "LeakyReLU"], *[["Conv2d", "LeakyReLU", "BatchNorm2d"]] * 3]
    assert list(network.buffers()) == []
    assert network(torch.zeros(1, 2, 256, 256)).shape == (1, 1, 30, 30)
    size = 1
    for conv in reversed([m for m in network.modules() if isinstance(m, nn.Conv2d)]):
        size = (size - 1) * conv.stride[0] + conv.kernel_size[0]
    assert size == 70


def test_any_multiple_of_the_stride(make):
    network = make("unet6", in_channels=2, features=4)
    assert network.stride == 8
    assert network(torch.zeros(2, 2, 40, 72)).shape == (2, 1, 40, 72)


def test_unknown_name(make):
    from tools.core.errors import InputError

    with pytest.raises(InputError, match=r"model: expected one of unet10.*found 'unet7'"):
        make("unet7")


def test_segnet_puts_values_back_where_the_maximum_was(make):
    """Without decoder convolutions, unpooling a constant marks each window's maximum and nothing else."""
    network = make("segnet", features=4).eval()
    assert count(network, nn.Conv2d) == 26
    assert count(network, nn.BatchNorm2d) == 25
    image = torch.rand(1, 1, 64, 64)
    features = network.encoders[0](image)
    pooled, places = network.pool(features)
    back = network.unpool(torch.ones_like(pooled), places)
    windows = features.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    marks = back.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert torch.equal(marks.sum(-1), torch.ones_like(pooled))
    assert torch.equal(windows.gather(-1, marks.argmax(-1, keepdim=True))[..., 0], pooled)


def test_refinenet_has_four_cascaded_blocks(make):
    from scripts.refinenet import ChainedResidualPooling, ResidualConvUnit

    network = make("refinenet", features=4, encoder="resnet18")
    assert len(network.blocks) == 4
    # two for each of the 7 inputs, one at the end of each block, two before the output
    assert count(network, ResidualConvUnit) == 2 * 7 + 4 + 2
    assert count(network, ChainedResidualPooling) == 4


def test_chained_residual_pooling_by_hand(bundle):
    """With convolutions that copy, a lone spike of 1 grows by 5x5 maxima in a chain and they add up."""
    from scripts.refinenet import ChainedResidualPooling

    block = ChainedResidualPooling(1)
    for link in block.links:
        nn.init.dirac_(link[1].weight)
    spike = torch.zeros(1, 1, 11, 11)
    spike[..., 5, 5] = 1
    expected = torch.zeros(11)
    expected[1:10] += 1  # second pool, 9 wide
    expected[3:8] += 1  # first pool, 5 wide
    expected[5] += 1
    assert torch.equal(block(spike)[0, 0, 5], expected)
    assert torch.equal(block(-spike), torch.zeros_like(spike))  # ReLU first


@pytest.mark.parametrize("name", ["unet6", "unet6_dil", "pix2pix7", "segnet", "unet"])
def test_types_of_hemorrhage(make, name):
    """Six channels of logits, which begin with little blood of any type."""
    network = make(name, features=4, out_channels=6).eval()
    side = 4 * network.stride
    logits = network(torch.zeros(1, 1, side, side))
    assert logits.shape == (1, 6, side, side)
    assert float(1 - logits.softmax(1)[:, 0].mean()) < 0.1
