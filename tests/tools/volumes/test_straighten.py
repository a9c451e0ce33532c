"""Leaning and uneven stacks made straight: exact for values that change linearly with the place."""

from __future__ import annotations

import numpy as np
import pytest

from tools.volumes.straighten import is_straight, straighten

HEIGHTS = np.cumsum([0, 4, 4, 4, 4, 7, 7, 7.0])


def stack(degrees, heights=HEIGHTS, shape=(30, 40), spacing=(0.8, 0.7), yaw=5.0):
    """Slices of a head-like frame tilted about x: affine of the first, positions, world of every voxel."""
    a, b = np.deg2rad([degrees, yaw])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    columns = turn @ np.array([[-1, 0], [0, np.cos(a)], [0, np.sin(a)]]) * spacing
    positions = np.array([5.0, -9, 30]) + np.outer(heights, [0, 0, 1])
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = columns, (0, 0, 1), positions[0]
    i, j = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    plane = np.stack([i, j], -1) @ columns.T
    return affine, positions, plane[:, :, None] + positions


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("degrees", [20, -20, 0])
def test_every_voxel_is_where_the_affine_says(degrees, downwards):
    affine, positions, world = stack(degrees)
    if downwards:
        positions, world = positions[::-1], world[:, :, ::-1]
    field = np.array([1.3, -0.7, 0.9])  # value = field . place, which interpolation keeps
    volume, straight = straighten(world @ field, affine, positions, fill=np.nan)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.shape), indexing="ij"), -1)
    expected = (index @ straight[:3, :3].T + straight[:3, 3]) @ field
    known = np.isfinite(volume)
    assert known.mean() > 0.6
    assert np.abs(volume - expected)[known].max() < 1e-3
    axes = straight[:3, :3] / np.linalg.norm(straight[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    spacing = np.linalg.norm(straight[:3, :3], axis=0)
    length = HEIGHTS[-1] * np.cos(np.deg2rad(degrees))
    assert spacing == pytest.approx([0.8, 0.7, length / (volume.shape[2] - 1)])
    assert spacing[2] == pytest.approx(4 * np.cos(np.deg2rad(degrees)), rel=0.1)  # as the closer slices


def test_whole_numbers_stay_whole():
    affine, positions, world = stack(15)
    values = (world[..., 1] * 10).astype(np.int16)
    volume, _ = straighten(values, affine, positions)
    exact, _ = straighten(values.astype(np.float32), affine, positions)
    assert volume.dtype == np.int16
    assert np.array_equal(volume, exact.round())
    assert (volume == -1024).any()  # corners that no slice reached


def test_what_is_straight():
    for degrees, heights, expected in (
        (0, HEIGHTS[:5], True),
        (0, HEIGHTS, False),
        (10, HEIGHTS[:5], False),
        (0.3, HEIGHTS[:5], True),  # less than half a voxel from end to end
    ):
        affine, positions, _ = stack(degrees, heights, yaw=0)
        assert is_straight(affine, positions) is expected


def test_one_close_pair_does_not_multiply_the_slices():
    heights = np.cumsum([0, *[4] * 10, 0.1, *[7] * 10])
    affine, positions, world = stack(10, heights)
    volume, straight = straighten(world[..., 0], affine, positions)
    assert np.linalg.norm(straight[:3, 2]) == pytest.approx(4 * np.cos(np.deg2rad(10)), rel=0.1)
    assert volume.shape[2] < 2 * len(heights)
