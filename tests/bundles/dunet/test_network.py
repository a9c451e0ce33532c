"""The networks are the papers': parameters counted by hand, layers, sizes, what comes out."""

from __future__ import annotations

import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def networks(bundle):
    from scripts import network

    return network


def conv(before: int, after: int, side: int = 3) -> int:
    """Parameters of a convolution with bias."""
    return side * side * before * after + after


def double(before: int, after: int, norm: bool) -> int:
    """Two 3x3 convolutions, and scale and shift of two normalisations."""
    return conv(before, after) + conv(after, after) + (4 * after if norm else 0)


def by_hand(levels: list[int], norm: bool) -> int:
    """Down, up and up-convolutions; without the head."""
    down = sum(double(before, after, norm) for before, after in zip([1, *levels], levels, strict=False))
    pairs = list(zip(levels[1:], levels, strict=False))
    return down + sum(conv(below, width, 2) + double(2 * width, width, norm) for below, width in pairs)


LEVELS = [64, 128, 256, 512, 1024]
PAPERS = {
    # parameters worked out by hand from the layers, and written out; the last is also the sum that Keras
    # prints for its well-known U-Net, which the paper's 24 layers describe
    "DUNet": (by_hand([32, 64, 128, 256, 512], True) + conv(32, 1, 1), 7_765_409, 23),
    "UNet": (by_hand(LEVELS, False) + conv(64, 1, 1), 31_030_593, 23),
    "WindowUNet": (by_hand(LEVELS, False) + conv(64, 2) + conv(2, 1, 1), 31_031_685, 24),
}


@pytest.mark.parametrize("name", PAPERS)
def test_parameters_and_convolutions(networks, name):
    counted, written, convolutions = PAPERS[name]
    network = getattr(networks, name)()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == counted == written
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == convolutions
    kinds = [type(m) for m in network.modules()]
    assert kinds.count(nn.BatchNorm2d) == (18 if name == "DUNet" else 0)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout) and m.p] == [0.2] * (name == "DUNet")


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("shape", [(2, 1, 32, 48), (1, 2, 16, 16)], ids=str)
def test_output_has_the_size_of_the_input(networks, name, shape):
    network = getattr(networks, name)(in_channels=shape[1], features=(4, 4, 4, 8, 8)).eval()
    with torch.no_grad():
        result = network(torch.randn(shape))
    assert result.shape == (shape[0], 1, *shape[2:])


def test_dropout_after_each_of_four_poolings(networks):
    seen = []
    network = networks.DUNet(features=(4, 4, 4, 4, 4), dropout=0.5).train()
    network.down[1].register_forward_hook(lambda _, before, after: seen.append((before[0], after)))
    network(torch.randn(2, 1, 64, 64))
    assert [tuple(before.shape[2:]) for before, _ in seen] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    before, after = seen[0]
    dropped = (after == 0) & (before != 0)
    assert 0.3 < dropped.sum() / (before != 0).sum() < 0.7
    assert torch.allclose(after[~dropped], 2 * before[~dropped])


def test_every_level_reaches_the_output(networks):
    """A zeroed level changes the result: skips and bottom are connected."""
    torch.manual_seed(0)
    for name in PAPERS:
        network = getattr(networks, name)(features=(4, 4, 4, 4, 4)).eval()
        x = torch.randn(1, 1, 32, 32)
        with torch.no_grad():
            whole = network(x)
            for part in (*network.encoders, network.bottom):
                handle = part.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
                assert not torch.equal(network(x), whole), name
                handle.remove()


def test_resampling_up_by_hand(networks):
    """A pixel becomes 2x2; the 2x2 convolution then adds each pixel, its right, lower and diagonal one."""
    block = networks.UpBlock(1, 1, norm=False, up="resampled")
    block.up[2].weight.data = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
    block.up[2].bias.data.zero_()
    x = torch.tensor([[[[1.0, 2.0]]]])
    expected = torch.tensor([[[[1111.0, 2121.0, 2222.0, 202.0], [11.0, 21.0, 22.0, 2.0]]]])
    assert torch.equal(block.up(x), expected)


def test_unknown_way_up(networks):
    with pytest.raises(ValueError, match="got 'bilinear'"):
        networks.UNet(up="bilinear")


def test_script(networks):
    """MONAI's `ckpt_export` compiles the network."""
    network = networks.WindowUNet(features=(4, 4, 4, 4, 4)).eval()
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(x), network(x), atol=1e-6)
