"""Windows of a slice, one by one, against the vectorised code and MONAI's sliding window."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from tools.core.errors import InputError


@pytest.fixture(scope="module")
def windows(bundle):
    from scripts import windows

    return windows


def corners(n: int, size: int, stride: int) -> list[int]:
    return list(range(0, n - size + 1, stride))


def test_49_windows_of_a_slice(windows, device):
    image = torch.arange(640 * 640.0, device=device).view(1, 1, 640, 640)
    cut = windows.cut_windows(image)
    assert cut.shape == (49, 1, 160, 160)
    assert torch.equal(cut[7 * 2 + 3, 0], image[0, 0, 160:320, 240:400])
    assert torch.allclose(windows.merge_windows(cut, (640, 640)), image)


@pytest.mark.parametrize(("size", "stride", "shape"), [(8, 4, (24, 16)), (6, 2, (10, 6)), (5, 5, (5, 15))])
def test_brute_force(windows, device, size, stride, shape):
    image = torch.randn(3, 2, *shape, device=device)
    cut = windows.cut_windows(image, size, stride)
    places = [
        (b, i, j)
        for b in range(3)
        for i in corners(shape[0], size, stride)
        for j in corners(shape[1], size, stride)
    ]
    assert len(cut) == len(places)
    changed = torch.randn_like(cut)
    total, count = torch.zeros_like(image), torch.zeros_like(image)
    for window, other, (b, i, j) in zip(cut, changed, places, strict=True):
        assert torch.equal(window, image[b, :, i : i + size, j : j + size])
        total[b, :, i : i + size, j : j + size] += other
        count[b, :, i : i + size, j : j + size] += 1
    assert torch.allclose(windows.merge_windows(changed, shape, stride), total / count, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 16), (20, 30), (10, 40)], ids=str)
def test_whole_slices_as_monai_averages_them(windows, shape):
    """Where the grid does not fit, MONAI moves its last window; padded to fit, both must agree."""
    torch.manual_seed(1)
    network = nn.Conv2d(1, 1, 5, padding=2)
    whole = windows.WindowedNetwork(network, size=16, stride=8, batch_size=3)
    x = torch.randn(2, 1, *shape)
    padded = [max(16, -(-(n - 16) // 8) * 8 + 16) for n in shape]
    larger = torch.zeros(2, 1, *padded)
    larger[..., : shape[0], : shape[1]] = x
    with torch.no_grad():
        expected = sliding_window_inference(
            larger, 16, 4, lambda part: network(part).sigmoid(), overlap=0.5, mode="constant"
        )
        result = torch.sigmoid(whole(x))
    assert result.shape == x.shape
    assert torch.allclose(result, expected[..., : shape[0], : shape[1]], atol=1e-5)


def test_a_window_goes_to_the_network_as_it_is(windows):
    network = nn.Conv2d(1, 1, 3, padding=1)
    x = 50 * torch.randn(2, 1, 16, 16)
    assert torch.equal(windows.WindowedNetwork(network, size=16, stride=8)(x), network(x))


def test_fewer_windows_at_a_time_and_the_cpu_in_the_end(windows, caplog):
    """Of 9 windows a device, cuda by name, has memory for 3, then for none."""
    image, memory = torch.rand(1, 1, 32, 32, 2), [3, 0]

    class Small(nn.Conv2d):
        on_cpu = False

        def to(self, device):
            self.on_cpu = device.type == "cpu"

        def forward(self, x):
            if len(x) > memory[0] and not self.on_cpu:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(x)

    small = Small(1, 2, 3, padding=1)
    tight = windows.WindowInferer(16, 8, sw_batch_size=9)
    run = tight.fitting.run
    tight.fitting.run = lambda infer, network, cpu: run(
        lambda count, device: infer(count, cpu), network, torch.device("cuda")
    )
    expected = sliding_window_inference(
        image[..., 1], 16, 1, lambda part: small(part).softmax(1), overlap=0.5, mode="constant"
    )
    for said in ("out of memory with 9 at a time; 2 fit", "the network runs on the CPU now"):
        assert torch.allclose(tight(image, small)[..., 1], expected, atol=1e-5)
        assert said in caplog.text
        memory.pop(0)


def test_windows_with_gaps_are_refused(windows):
    with pytest.raises(InputError, match=r"window_stride: expected at most .* 160.* found 161"):
        windows.WindowInferer(160, 161)


def test_grid_must_fit(windows):
    with pytest.raises(ValueError, match=r"multiple of 80 .* got \(640, 650\)"):
        windows.cut_windows(torch.zeros(1, 1, 640, 650))
    with pytest.raises(ValueError, match=r"multiple of 49 .* got 50"):
        windows.merge_windows(torch.zeros(50, 1, 160, 160), (640, 640))
