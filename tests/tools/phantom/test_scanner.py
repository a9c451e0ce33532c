"""The scanner of volumes: noise, hardened beam, projections, slices, movement, objects."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from tools.core.errors import InputError
from tools.phantom import HeadPhantom
from tools.phantom.geometry import Pose
from tools.phantom.scanner import (
    Acquisition,
    acquire_volume,
    average_slices,
    draw_acquisition,
    slice_offsets,
)
from tools.phantom.scanner.kernels import KERNELS, Kernel
from tools.phantom.scanner.movement import helical, shifted
from tools.phantom.scanner.noise import frequencies, quantum_noise
from tools.phantom.scanner.objects import add_metal, add_rest
from tools.phantom.scanner.projections import SIDE, filtered_back_projection, project, view_angles

SPACING = (1.8, 1.8, 5.0)
CLEAN = Acquisition(Kernel(9.0, 2.0), aperture=0.0, glare=0.0, noise=0.0, hardening=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def skull(thickness: float, n: int = 128, slices: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A round head of 30 HU in a ring of bone, and the distance in mm of each pixel from the inner table."""
    axis = (torch.arange(n) - (n - 1) / 2) * SPACING[0]
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    plane = torch.where(radius < 70, 30.0, torch.where(radius < 70 + thickness, 1200.0, -1000.0))
    return plane[..., None].repeat(1, 1, slices), 70 - radius


# --- noise


@pytest.mark.parametrize("name", KERNELS)
def test_noise_has_the_spectrum_of_its_kernel(name):
    n, slices, pixel = 96, 60, 0.5
    white = torch.randn((slices, n, n), generator=seeded())
    noise = quantum_noise(white, None, (pixel, pixel), KERNELS[name]).numpy()
    assert noise.std() == pytest.approx(1, rel=0.02)
    power = (np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2).mean(-1)
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n, pixel)] * 2))
    kernel = KERNELS[name]
    expected = (
        f * (1 + (f / kernel.knee) ** 2) ** kernel.boost * np.exp(-((f / kernel.cutoff) ** kernel.order))
    )
    expected *= power.sum() / expected.sum()
    for low in np.arange(0.05, 0.45, 0.05):
        ring = (f >= low) & (f < low + 0.05)
        assert power[ring].mean() == pytest.approx(expected[ring].mean(), rel=0.06)


def test_noise_between_two_dense_bones_runs_from_one_to_the_other():
    plane, _ = skull(7)
    plane[20:44, 58:70] = 1500.0
    plane[84:108, 58:70] = 1500.0
    volume = plane.repeat(1, 1, 24)
    scan = dataclasses.replace(CLEAN, kernel=KERNELS["toshiba_fc63"], noise=4.0, modulation=0.0)
    loud = acquire_volume(volume, SPACING, scan, seeded())
    quiet = acquire_volume(volume, SPACING, dataclasses.replace(scan, noise=0.0), seeded())
    grain = (loud - quiet)[48:80]
    between, above = grain[:, 60:68], grain[:, 96:104]
    assert between.std() > 1.3 * above.std()

    def along(block: torch.Tensor) -> float:
        """Correlation of neighbours along x less that along y."""
        x = (block[1:] * block[:-1]).mean() - (block[:, 1:] * block[:, :-1]).mean()
        return float(x / block.var())

    assert along(between) > max(0.1, along(above) + 0.3)


def test_noise_level_is_what_was_asked_for_in_the_middle_of_a_head():
    plane, _ = skull(7, slices=40)
    scan = dataclasses.replace(CLEAN, kernel=KERNELS["toshiba_fc63"], noise=5.0, modulation=1.0)
    image = acquire_volume(plane, SPACING, scan, seeded())
    assert image[54:74, 54:74].std() == pytest.approx(5.0, rel=0.15)


# --- hardened beam


def rim(thickness: float, hardening: float) -> list[float]:
    """Mean HU above the middle's, by depth below the inner table."""
    volume, depth = skull(thickness)
    scan = dataclasses.replace(CLEAN, hardening=hardening)
    image = acquire_volume(volume, SPACING, scan, seeded())[..., 0]
    middle = image[depth > 50].mean()
    bands = ((3, 6), (6, 10), (10, 20), (20, 40))
    return [float(image[(depth > a) & (depth < b)].mean() - middle) for a, b in bands]


def test_rim_falls_with_depth_and_grows_with_bone():
    thin, thick = rim(4, 1.0), rim(7, 1.0)
    assert all(a > b for a, b in itertools.pairwise(thick))
    assert 10 < thick[0] < 45  # measured: 21 HU in the vault, 27 at the vertex
    assert thick[0] > 1.5 * thin[0]


def test_corrected_beam_has_no_rim_and_half_has_half():
    assert np.abs(rim(7, 0.0)).max() < 0.5
    assert rim(7, 0.5)[0] == pytest.approx(rim(7, 1.0)[0] / 2, abs=1.0)


# --- projections


def test_projection_of_a_disc_is_its_chord():
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    disc = ((axis[:, None] ** 2 + axis**2).sqrt() < 20).float().reshape(-1, 1)
    sinogram = project(disc, 0.5)[..., 0]
    middle = sinogram.shape[1] // 2
    ray = torch.arange(sinogram.shape[1]) - (sinogram.shape[1] - 1) / 2
    chord = 2 * (400 - ray**2).clamp_min(0).sqrt() * 0.5
    assert (sinogram.mean(0) - chord)[abs(ray) < 15].abs().max() < 0.6
    assert sinogram[:, middle].std() < 0.6
    back = filtered_back_projection(sinogram[..., None], 0.5).reshape(SIDE, SIDE)
    assert back[24:40, 24:40].mean() == pytest.approx(1, abs=0.03)
    assert back[2:6, 2:6].abs().max() < 0.1


def test_views_look_along_the_axes():
    point = torch.zeros(SIDE, SIDE)
    point[50, 10] = 1
    sinogram = project(point.reshape(-1, 1), 1.0)[..., 0]
    place = (sinogram * torch.arange(sinogram.shape[1])).sum(1) - (sinogram.shape[1] - 1) / 2
    angle = torch.as_tensor(view_angles(), dtype=torch.float32)
    x, y = 50 - (SIDE - 1) / 2, 10 - (SIDE - 1) / 2
    assert torch.allclose(place, x * torch.cos(angle) + y * torch.sin(angle), atol=1e-3)


# --- slices


@pytest.mark.parametrize(
    ("distance", "thickness"), [(5.0, 5.0), (6.0, 2.5), (3.0, 5.0), (1.0, 0.6), (10.0, 10.0)]
)
def test_slices_are_means_over_their_thickness(distance, thickness):
    fine = 0.1
    volume = torch.rand(3, 300, generator=seeded())
    made = average_slices(volume, fine, distance, thickness)
    steps, width = round(distance / fine), round(thickness / fine)
    expected = [volume[:, k * steps : k * steps + width].mean(1) for k in range((300 - width) // steps + 1)]
    assert torch.allclose(made, torch.stack(expected, 1), atol=1e-5)


def test_offsets_cover_the_slice_and_no_more():
    offsets = slice_offsets(distance=6.0, thickness=3.0, step=0.5)
    assert len(offsets) == 6
    assert np.allclose(offsets * 6.0, np.arange(-1.25, 1.5, 0.5))
    assert np.allclose(slice_offsets(5.0, step=9.0), [0.0])


def test_a_head_with_gaps_is_the_mean_of_what_its_slices_hold():
    """Slices of 3 mm every 9 mm are every third slice of a scan without gaps."""
    options = {"seed": 5, "kind": "iph", "noise": False, "pose": Pose(yaw=4.0, pitch=6.0)}
    sparse = HeadPhantom(shape=(48, 48, 9), spacing=(4.6, 4.6, 9.0), thickness=3.0, **options).render()
    dense = HeadPhantom(shape=(48, 48, 27), spacing=(4.6, 4.6, 3.0), **options).render()
    assert torch.equal(sparse.image[..., 0], dense.image[..., 1])
    assert torch.allclose(sparse.image.as_tensor(), dense.image.as_tensor()[..., 1::3], atol=1.0)
    assert torch.equal(sparse.classes.as_tensor(), dense.classes.as_tensor()[..., 1::3])
    assert sparse.classes.sum() > 0


def test_impossible_thickness_is_refused():
    with pytest.raises(InputError, match=r"thickness: expected 0\.1 to 40 mm, found 0\.0"):
        slice_offsets(5.0, 0.0)
    with pytest.raises(InputError, match="less than the 3 mm"):
        average_slices(torch.zeros(2, 3), 1.0, 5.0)


# --- movement


def test_motion_shifts_each_direction_by_where_the_head_was():
    n = 64
    i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    fx, fy = frequencies((n, n), (1.0, 1.0), "cpu")
    for cycles in ((0, 4), (3, 3), (-5, 2)):
        wave = torch.cos(2 * torch.pi * (cycles[0] * i + cycles[1] * j) / n)
        moved = torch.fft.irfft2(shifted(torch.fft.rfft2(wave)[None], fx, fy, (3.0, -2.0)), s=(n, n))[0]
        when = np.arctan2(cycles[1], cycles[0]) / np.pi - 0.5
        at = (i - 3.0 * when, j + 2.0 * when)
        expected = torch.cos(2 * torch.pi * (cycles[0] * at[0] + cycles[1] * at[1]) / n)
        assert torch.allclose(moved, expected, atol=1e-4)


def test_helical_scan_leaves_alone_what_does_not_change_through_slices():
    plane = torch.rand((32, 32), generator=seeded())
    waves = torch.fft.rfft2(plane.repeat(5, 1, 1))
    fx, fy = frequencies((32, 32), (1.0, 1.0), "cpu")
    assert torch.allclose(helical(waves, fx, fy, 0.5, 1.0), waves)
    waves[2] *= 2
    assert not torch.allclose(helical(waves, fx, fy, 0.5, 1.0)[1], waves[1], atol=1e-3)


# --- objects


@pytest.mark.parametrize("kind", ["cradle", "bars", "table"])
def test_rest_lies_in_the_air_behind_the_head(kind):
    volume, depth = skull(7)
    out = add_rest(volume, SPACING, kind, 5.0, 92.0, 2.0, 100.0)
    changed = (out != volume)[..., 0]
    assert changed.sum() > 20
    assert (depth[changed] < -7).all()
    assert torch.equal(add_rest(volume, SPACING, "none", 5.0, 92.0, 2.0, 100.0), volume)


def test_metal_has_its_volume():
    volume = torch.zeros(40, 40, 40)
    out = add_metal(volume, (1.0, 1.0, 1.0), (12, 20, 20), (28, 20, 20), 3.0, 1000.0)
    # A rod of 16 mm, in plane a stadium, through slices a box of the same width.
    assert out.sum() / 1000 == pytest.approx((16 * 6 + np.pi * 9) * 6, rel=0.05)
    assert torch.equal(add_metal(volume, (1.0, 1.0, 1.0), (90, 90, 90), (95, 90, 90), 2.0, 1000.0), volume)


# --- all of it


def test_scan_without_effects_is_the_volume():
    volume, _ = skull(7, slices=2)
    assert (acquire_volume(volume, SPACING, CLEAN, seeded()) - volume).abs().max() <= 1


def test_scan_is_decided_by_its_seed_and_stays_in_range():
    volume, depth = skull(7, slices=6)
    rng = np.random.default_rng(4)
    for _ in range(8):
        scan = draw_acquisition(rng, 5.0)
        scan = dataclasses.replace(scan, clip=(0.5, 0.5, 0.5, 1.0), motion=(1.0, 2.0), moved=(0.0, 1.0))
        image = acquire_volume(volume, SPACING, scan, seeded(1))
        assert torch.equal(image, acquire_volume(volume, SPACING, scan, seeded(1)))
        assert not torch.equal(image, acquire_volume(volume, SPACING, scan, seeded(2)))
        assert image.min() >= -1024
        assert image.max() <= 3071
        assert torch.equal(image, image.round())
        assert 15 < image[depth > 10].median() < 60


def test_empty_air_can_be_scanned():
    image = acquire_volume(torch.full((32, 32, 3), -1000.0), SPACING, Acquisition(rest="cradle"), seeded())
    assert torch.isfinite(image).all()
