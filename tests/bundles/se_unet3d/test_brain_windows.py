"""Windows over the brain: MONAI's inferer and brute force are the references."""

from __future__ import annotations

import copy
import itertools
import logging

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from tools.engine.ensemble import EnsembleInferer
from tools.engine.postprocess import label_from_probabilities
from tools.engine.precision import with_precision


@pytest.fixture(scope="module")
def windowing(bundle):
    from scripts import brain_windows

    return brain_windows


def random_network(dims: int, channels: int = 2, classes: int = 3, seed: int = 0) -> nn.Module:
    """A small convolutional network whose result depends on where in the window a voxel lies."""
    torch.manual_seed(seed)
    conv = nn.Conv3d if dims == 3 else nn.Conv2d
    layers = (conv(channels, 4, 3, padding=1), nn.ReLU(), conv(4, classes, 3, padding=1))
    return nn.Sequential(*layers).eval()


def head(size: tuple[int, ...], batch: int = 1, channels: int = 2, seed: int = 0) -> torch.Tensor:
    """Random values in an ellipsoid off the centre, zero outside; each item of the batch has its own."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand((batch, channels, *size), generator=random) * 0.9 + 0.1
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    for item in range(batch):
        centre = (torch.rand(len(size), generator=random) - 0.5) * 0.6
        distance = sum(((axis - c) / 0.45) ** 2 for axis, c in zip(axes, centre, strict=True))
        image[item] *= distance < 1
    return image


@pytest.mark.parametrize(
    ("size", "roi_size", "options"),
    [
        ((40, 36, 20), (16, 16, 8), {"overlap": 0.5}),
        ((41, 37, 21), (16, 12, 8), {"overlap": 0.25}),  # sizes that the grid does not divide
        ((40, 36, 20), (16, 16, 8), {"overlap": (0.5, 0.25, 0.75)}),  # one overlap for each axis
        ((40, 36, 20), (16, 16, 8), {"overlap": 0.6, "mode": "gaussian"}),
        ((40, 36, 20), 12, {"overlap": 0.5}),  # one number for all axes
        ((40, 36, 20), (16, -1, 8), {"overlap": 0.5}),  # the window as wide as the image
        ((40, 9, 5), (16, 16, 8), {"overlap": 0.5}),  # smaller than the window on some axes
        ((9, 7, 5), (16, 16, 8), {"overlap": 0.5, "mode": "gaussian"}),  # and on all
        ((64, 60), (16, 16), {"overlap": 0.5}),  # 2D
    ],
)
def test_equals_monai_inside_the_brain(windowing, device, size, roi_size, options):
    network = random_network(len(size)).to(device)
    image = head(size, batch=2).to(device)
    seen = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return network(x)

    ours = windowing.WindowProbabilityInferer(roi_size, sw_batch_size=5, **options)(image, counted)
    all_windows = []

    def probabilities(x: torch.Tensor) -> torch.Tensor:
        all_windows.append(len(x))
        return network(x).softmax(1)

    with torch.no_grad():
        monai = SlidingWindowInferer(roi_size, sw_batch_size=5, **options)(image, probabilities)
    brain = (image[:, :1] != 0).expand_as(ours)
    assert ours.shape == monai.shape
    assert brain.any()
    assert torch.allclose(ours[brain], monai[brain], atol=1e-6)
    assert max(seen) <= 5
    assert sum(seen) <= sum(all_windows)
    outside = ~brain
    assert (ours[:, :1][outside[:, :1]] == 1).all()
    assert (ours[:, 1:][outside[:, 1:]] == 0).all()


def test_average_of_probabilities_by_brute_force(windowing):
    """Every voxel by itself: mean over the windows that hold it of the softmax of what the network says."""
    image = head((14, 11, 7), seed=3)
    network = random_network(3)
    roi_size, step = (6, 5, 4), (3, 2, 1)
    result = windowing.WindowProbabilityInferer(roi_size, step=step)(image, network)
    corners = [
        sorted({min(first, n - r) for first in range(0, n - r + s, s)})
        for n, r, s in zip((14, 11, 7), roi_size, step, strict=True)
    ]
    inside = (image[0, 0] != 0).nonzero().tolist()
    assert len(inside) > 30
    for voxel in inside[::2]:
        samples = []
        for corner in itertools.product(*corners):
            if all(c <= v < c + r for c, v, r in zip(corner, voxel, roi_size, strict=True)):
                window = image[(..., *(slice(c, c + r) for c, r in zip(corner, roi_size, strict=True)))]
                local = [v - c for v, c in zip(voxel, corner, strict=True)]
                with torch.no_grad():
                    samples.append(torch.softmax(network(window), 1)[(0, slice(None), *local)])
        expected = torch.stack(samples).mean(0)
        assert torch.allclose(result[(0, slice(None), *voxel)], expected, atol=1e-6)


def test_step_in_voxels(windowing):
    """INSTANCE 2022's grid, which a share can't ask for: 48 * (1 - 5 / 6) is rounded down to 7."""
    starts = windowing.window_starts((70, 66, 24), (48, 48, 16), 0.5, step=(8, 8, 2))
    assert starts == [[0, 8, 16, 22], [0, 8, 16, 18], [0, 2, 4, 6, 8]]
    assert windowing.window_starts((70, 66, 24), (48, 48, 16), (5 / 6, 5 / 6, 7 / 8))[0][1] == 7
    assert windowing.window_starts((70, 66, 24), (48, 48, 16), 0.5) == windowing.window_starts(
        (70, 66, 24), (48, 48, 16), 0.0, step=(24, 24, 8)
    )


def test_number_of_windows_used_and_skipped(windowing):
    """A cube of brain in one corner region: 3 windows of 7 touch it on each axis."""
    image = torch.zeros(1, 1, 64, 64, 64)
    image[..., 8:24, 8:24, 8:24] = 1
    starts = windowing.window_starts((64, 64, 64), (16, 16, 16), 0.5)
    assert starts[0] == [0, 8, 16, 24, 32, 40, 48]
    windows = windowing.brain_windows(image[:, 0] != 0, starts, (16, 16, 16))
    assert len(windows) == 3**3  # those that start at 0, 8 and 16
    assert {window[1].start for window in windows} == {0, 8, 16}
    every = windowing.brain_windows(torch.ones(1, 64, 64, 64, dtype=torch.bool), starts, (16, 16, 16))
    assert len(every) == 7**3


def test_one_voxel_of_brain_gets_all_its_windows(windowing):
    image = torch.zeros(1, 2, 40, 40, 20)
    image[:, :, 17, 23, 9] = 0.5
    network = random_network(3)
    ours = windowing.WindowProbabilityInferer((16, 16, 8))(image, network)
    with torch.no_grad():
        monai = SlidingWindowInferer((16, 16, 8), overlap=0.5)(image, lambda x: network(x).softmax(1))
    assert torch.allclose(ours[..., 17, 23, 9], monai[..., 17, 23, 9], atol=1e-6)
    assert (ours[:, 0] == 1).sum() == ours[:, 0].numel() - 1


def test_mask_counts_where_the_image_is_background(windowing):
    """A brain with dark voxels: the mask knows them."""
    image = head((40, 36, 20))
    brain = image[:, :1] != 0
    image[image < 0.4] = 0
    network = random_network(3)
    ours = windowing.WindowProbabilityInferer((16, 16, 8))(image, network, brain=brain.float())
    with torch.no_grad():
        monai = SlidingWindowInferer((16, 16, 8), overlap=0.5)(image, lambda x: network(x).softmax(1))
    inside = brain.expand_as(ours)
    assert torch.allclose(ours[inside], monai[inside], atol=1e-6)
    assert (ours[:, :1][~brain] == 1).all()
    assert (windowing.WindowProbabilityInferer((16, 16, 8))(image, network)[:, :1][brain] == 1).any()


def test_engine_hands_over_image_label_and_mask(windowing):
    batch = {"image": head((8, 8, 8)), "brain": torch.ones(1, 1, 8, 8, 8)}
    image, label, args, kwargs = windowing.prepare_with_brain(batch, torch.device("cpu"))
    assert image is batch["image"]
    assert label is None
    assert args == ()
    assert torch.equal(kwargs["brain"], batch["brain"])
    label = torch.zeros(1, 1, 8, 8, 8)
    assert torch.equal(windowing.prepare_with_brain({**batch, "label": label})[1], label)


@pytest.mark.parametrize("background", [0.0, -1.5])
def test_no_brain_is_all_background(windowing, background):
    image = torch.full((1, 2, 20, 20, 12), background)
    result = windowing.WindowProbabilityInferer((16, 16, 8), background=background)(image, random_network(3))
    assert result.shape == (1, 3, 20, 20, 12)
    assert (result[:, 0] == 1).all()
    assert (result[:, 1:] == 0).all()


def test_background_none_uses_every_window(windowing):
    image, network = head((24, 24, 12)), random_network(3)
    ours = windowing.WindowProbabilityInferer((16, 16, 8), background=None)(image, network)
    with torch.no_grad():
        monai = SlidingWindowInferer((16, 16, 8), overlap=0.5)(image, lambda x: network(x).softmax(1))
    assert torch.allclose(ours, monai, atol=1e-6)


def test_metadata_is_kept_and_nothing_else_changes(windowing):
    image = head((24, 24, 12))
    affine = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))
    tracked = MetaTensor(image.clone(), affine=affine)
    network = random_network(3)
    result = windowing.WindowProbabilityInferer((16, 16, 8))(tracked, network)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert torch.equal(tracked.as_tensor(), image)
    plain = windowing.WindowProbabilityInferer((16, 16, 8))(image, network)
    assert type(plain) is torch.Tensor
    assert torch.equal(plain, result.as_tensor())
    assert not plain.requires_grad


def test_batch_of_windows_makes_no_difference(windowing):
    image, network = head((40, 36, 20)), random_network(3)
    results = [
        windowing.WindowProbabilityInferer((16, 16, 8), sw_batch_size=n)(image, network) for n in (1, 7, 1000)
    ]
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.allclose(results[0], results[2], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 1.0}, "overlap must be at least 0 and below 1, got 1.0"),
        ({"overlap": -0.1}, "overlap must be at least 0 and below 1, got -0.1"),
        ({"step": 0}, "step must be from 1 to the window size"),
        ({"step": (4, 4, 9)}, "step must be from 1 to the window size"),  # would leave gaps
    ],
)
def test_wrong_grids(windowing, options, message):
    with pytest.raises(ValueError, match=message):
        windowing.WindowProbabilityInferer((16, 16, 8), **options)(head((24, 24, 12)), random_network(3))


def test_close_voxels_are_decided_in_float32(windowing):
    """Wherever refining looked, the result is float32's; elsewhere it is bfloat16's; no label differs."""
    image = head((40, 36, 20))
    torch.manual_seed(5)
    plain = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 2, 3, padding=1)).eval()
    with torch.no_grad():
        plain[2].weight *= 8
    exact = windowing.WindowProbabilityInferer((16, 16, 8))(image, plain)
    network = with_precision(copy.deepcopy(plain), "cpu", amp=True)
    rough = windowing.WindowProbabilityInferer((16, 16, 8))(image, network)
    refined = windowing.WindowProbabilityInferer((16, 16, 8), refine=0.05)(image, network)
    brain = image[:, 0] != 0
    close = ((rough[:, 0] - 0.5).abs() < 0.05) & brain
    assert 0.01 < close.sum() / brain.sum() < 0.9
    assert torch.allclose(refined[:, 1][close], exact[:, 1][close], atol=1e-6)
    assert torch.equal(refined[:, 1][~close], rough[:, 1][~close])
    assert not torch.equal(rough.argmax(1), exact.argmax(1))
    assert (rough - exact).abs().max() < 0.05
    assert torch.equal(refined.argmax(1), exact.argmax(1))


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_labels_of_types_are_those_of_float32(windowing, threshold):
    """Blood is the sum of the types: it may lie at the threshold though no two classes are alike."""
    image = head((40, 36, 20))
    torch.manual_seed(5)
    plain = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 6, 3, padding=1)).eval()
    with torch.no_grad():
        plain[2].weight *= 8
        plain[2].bias[0] += 1.5  # about as much background as blood
    network = with_precision(copy.deepcopy(plain), "cpu", amp=True)

    def label(net: nn.Module, refine: float) -> torch.Tensor:
        inferer = windowing.WindowProbabilityInferer((16, 16, 8), refine=refine, threshold=threshold)
        return label_from_probabilities(inferer(image, net)[0], threshold)

    exact, rough, refined = label(plain, 0.0), label(network, 0.0), label(network, 0.05)
    assert 0.02 < (exact > 0).float().mean() < 0.98
    assert not torch.equal(rough, exact)
    assert torch.equal(refined, exact)


def test_refining_asks_only_for_windows_of_close_voxels(windowing):
    """A network that is sure everywhere but at one voxel: its windows alone are computed again."""
    image = torch.zeros(1, 1, 40, 40, 20)
    image[..., 2:38, 2:38, 2:18] = 1.0
    image[0, 0, 17, 23, 9] = 0.5
    again = []

    class Sure(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([20 * (x - 0.5), 20 * (0.5 - x)], 1)

        def in_float32(self, x: torch.Tensor) -> torch.Tensor:
            again.append(len(x))
            return self(x)

    inferer = windowing.WindowProbabilityInferer((16, 16, 8), sw_batch_size=100, refine=0.02)
    inferer(image, Sure())
    starts = windowing.window_starts((40, 40, 20), (16, 16, 8), 0.5)
    holding = [
        sum(first <= at < first + size for first in firsts)
        for firsts, size, at in zip(starts, (16, 16, 8), (17, 23, 9), strict=True)
    ]
    assert again == [holding[0] * holding[1] * holding[2]]
    again.clear()
    inferer(torch.ones(1, 1, 40, 40, 20), Sure())
    assert again == []


@pytest.mark.parametrize("members", [1, 2, 5])
def test_an_ensemble_gives_mean_and_deviation(windowing, device, members):
    image = torch.rand(2, 2, 20, 18, 10, generator=torch.Generator().manual_seed(0)).to(device)
    image[:, :, :6] = 0
    networks = nn.ModuleList(random_network(3, seed=seed) for seed in range(members)).to(device)
    window = windowing.WindowProbabilityInferer((8, 8, 8))
    result = EnsembleInferer(window)(image, networks)
    each = torch.stack([window(image, member) for member in networks])
    assert result.shape == (2, 4, 20, 18, 10)
    assert torch.allclose(result[:, :3], each.mean(0), atol=1e-6)
    assert torch.allclose(result[:, 3], (1 - each[:, :, 0]).std(0, correction=0), atol=1e-6)
    assert (result[:, 3, :6] == 0).all()
    assert (result[:, 3, 6:].max() > 0) == (members > 1)


def test_fewer_windows_at_a_time_give_the_same(windowing, caplog):
    """A device that has memory for three windows."""
    image, network, sizes = torch.rand(1, 2, 24, 24, 24), random_network(3), []

    def small(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return network(x)

    tight, wide = (
        windowing.WindowProbabilityInferer((8, 8, 4), sw_batch_size=16, background=None) for _ in range(2)
    )
    with caplog.at_level(logging.WARNING):
        found = tight(image, small)
    assert [record.getMessage() for record in caplog.records] == [
        "inference: out of memory with 16 at a time; 2 fit"
    ]
    torch.testing.assert_close(found, wide(image, network))
    sizes.clear()
    tight(image, small)
    assert max(sizes) == 2  # remembered for the next scan
