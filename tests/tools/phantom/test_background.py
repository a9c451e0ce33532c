"""Real scans as background: registration, labels by HU, blood that leaves the scan's noise alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tools.core.errors import InputError
from tools.phantom import HeadPhantom, write_phantoms
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy, Tissue
from tools.phantom.anatomy.blood import Blood
from tools.phantom.anatomy.render import SliceSampler
from tools.phantom.background.background import (
    Background,
    on_head_grid,
    pose_of,
    read_background,
    without_noise,
)
from tools.phantom.background.case import render_background
from tools.phantom.background.correct import correct_labels
from tools.phantom.background.registration import Volume, fit_affine, fit_velocity, looks, pictures
from tools.phantom.geometry import Pose, rotation, scan_affine

sys.path.insert(0, str(Path(__file__).parent))
from label_map import small_head, write_map

TISSUE = Tissue(36, 28, 8, 54, 46, 55, 58, -98, 1300, 500)


@pytest.fixture(scope="module")
def head() -> Volume:
    """Pictures of a small head of ellipsoids on a grid of 4 mm."""
    labels = torch.from_numpy(small_head())
    cavity = L.is_in(labels, L.INTRACRANIAL).float()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -(np.asarray(labels.shape) - 1)
    return Volume(pictures(looks(labels), cavity), affine).coarser(4.0)


def resampled(head: Volume, points: torch.Tensor) -> Volume:
    """A scan whose voxels show what the head has at `points`."""
    return Volume(head.at(points), head.affine)


# --- registration


def test_coarser_pictures_stay_in_place(head):
    coarse = head.coarser(8.0)
    for volume in (head, coarse):
        weight = volume.values[1]
        centre = (volume.points() * weight[..., None]).sum((0, 1, 2)) / weight.sum()
        assert centre[0].abs() < 0.1
    fine = (head.points() * head.values[1][..., None]).sum((0, 1, 2)) / head.values[1].sum()
    assert torch.allclose(centre, fine, atol=0.3)


def test_affine_is_recovered(head):
    wanted = np.eye(4)
    wanted[:3, :3] = rotation(0, 8.0) @ rotation(2, -5.0) @ np.diag([1.05, 0.96, 1.03])
    wanted[:3, 3] = (6.0, -8.0, 5.0)
    matrix = torch.as_tensor(wanted, dtype=torch.float32)
    points = head.points()
    scan = resampled(head, points @ matrix[:3, :3].T + matrix[:3, 3])
    found, left = fit_affine(scan, head, np.eye(4), grids=(10.0, 6.0), steps=60)
    inside = points[head.values[2] > -1].reshape(-1, 3)[::50].double().numpy()
    inside = inside[np.linalg.norm(inside, axis=1) < 70]
    error = np.linalg.norm(inside @ (found - wanted)[:3, :3].T + (found - wanted)[:3, 3], axis=1)
    start = np.linalg.norm(inside @ (np.eye(4) - wanted)[:3, :3].T - wanted[:3, 3], axis=1)
    assert start.mean() > 8
    assert error.mean() < 1.5
    assert left < 0.01


def test_deformation_is_recovered_and_does_not_fold(head):
    points = head.points()
    wanted = torch.stack(
        [
            5 * torch.sin(points[..., 1] / 30),
            5 * torch.cos(points[..., 2] / 35),
            4 * torch.sin(points[..., 0] / 28),
        ],
        -1,
    )
    scan = resampled(head, points + wanted)
    found = fit_velocity(scan, head, np.eye(4), grids=(6.0, 4.0), step=12.0, steps=50)
    # Only movement across a border can be seen, not along it.
    slope = torch.stack(torch.gradient(scan.values[0] + scan.values[1], dim=(0, 1, 2)), -1)
    seen = slope.norm(dim=-1) > 0.15
    across = slope[seen] / slope[seen].norm(dim=-1, keepdim=True)

    def error(moved: torch.Tensor) -> float:
        return float(((moved - points - wanted)[seen] * across).sum(-1).abs().mean())

    assert error(points) > 2
    assert error(found.moved(points)) < 0.7
    moved = found.moved(points)
    slopes = torch.stack([torch.stack(torch.gradient(moved[..., a], spacing=4.0), -1) for a in range(3)], -2)
    assert torch.linalg.det(slopes).min() > 0


def test_pose_is_the_rigid_part():
    pose = Pose(yaw=7.0, roll=-4.0, pitch=11.0, shift=(3.0, -20.0, 400.0))
    found = pose_of(np.diag([1.1, 1.1, 1.1, 1.0]) @ np.linalg.inv(pose.matrix))
    assert np.allclose((found.yaw, found.roll, found.pitch), (7.0, -4.0, 11.0), atol=1e-6)
    assert np.allclose(found.shift, pose.shift)


# --- labels by HU


def test_labels_follow_the_scan():
    shape = (60, 60, 60)
    centre = torch.stack(torch.meshgrid(*[torch.arange(60.0) - 29.5] * 3, indexing="ij"))
    radius = centre.norm(dim=0)
    depth, side = 26 - radius, centre[0]
    labels = torch.where(side > 0, L.WHITE_RIGHT, L.WHITE_LEFT).to(torch.int16).expand(shape).clone()
    labels[radius < 6] = L.LATERAL_LEFT
    labels[(radius > 22) & (radius < 26)] = L.CSF
    labels[radius > 26] = L.BONE
    hu = torch.full(shape, 30.0)
    hu[radius < 8] = 6.0  # the ventricle is larger than in the map
    hu[11:14, 29, 29] = 6.0  # a sulcus far from it
    hu[radius > 26] = 1000.0
    hu[radius > 28] = -80.0
    hu[29, 29, 40] = 200.0
    out = correct_labels(labels, hu, depth, side)
    assert L.is_in(out, L.VENTRICLES)[radius < 7.5].all()
    assert not L.is_in(out, L.VENTRICLES)[radius > 9].any()
    assert out[radius < 7.5].unique().tolist() == [L.LATERAL_LEFT, L.LATERAL_RIGHT]
    assert (out[11:14, 29, 29] == L.CSF).all()
    # Fluid of the map where the scan shows brain is brain, but next to bone HU say little.
    assert (out[(depth > 3.1) & (radius > 22)] >= L.CORTEX_LEFT).all()
    assert not (out[(depth > 3.1) & (radius > 22)] == L.CSF).any()
    assert (out[(depth > 0.5) & (depth < 2.5)] == L.CSF).all()
    assert out[29, 29, 40] == L.CALCIUM
    assert (out[(radius > 26.1) & (radius < 28)] == L.BONE).all()
    assert (out[radius > 28.1] == L.FAT).all()


# --- blending


def background(noise: float = 4.0) -> Background:
    """A made scan of a sphere of brain in bone, with noise, turned in the scanner."""
    shape, spacing = (168, 168, 16), (0.75, 0.75, 6.0)
    affine, pose = scan_affine(shape, spacing), Pose(yaw=8.0, shift=(4.0, -3.0, 2.0))
    index = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"), -1)
    world = index @ torch.as_tensor(affine[:3, :3]).float().T + torch.as_tensor(affine[:3, 3]).float()
    radius = (world - torch.tensor(pose.shift)).norm(dim=-1)
    hu = torch.where(radius < 45, 32.0, torch.where(radius < 52, 1100.0, -1000.0))
    hu = hu + noise * torch.randn(shape, generator=torch.Generator().manual_seed(0)) * (radius < 45)
    grid_affine = np.eye(4)
    grid_affine[:3, 3] = -56
    points = torch.stack(torch.meshgrid(*[torch.arange(-56.0, 57.0)] * 3, indexing="ij"))
    depth = 45 - points.norm(dim=0)
    labels = torch.where(depth > 0, L.WHITE_LEFT, L.BONE).to(torch.int16)
    anatomy = Anatomy(labels, torch.zeros(113, 113, 113), depth, points[0], grid_affine, 50.0, TISSUE)
    clean = without_noise(hu, spacing)
    anatomy.hu = on_head_grid(clean, affine, pose, anatomy, spacing[2])
    return Background("made", hu, affine, spacing, radius < 45, anatomy, pose)


def ball(at: tuple[float, float, float], radius: float, hu: float = 65.0):
    """A `draw` that puts a ball of blood at a place in head mm."""

    def draw(anatomy, types, rng, generator):
        away = sum((p - c) ** 2 for p, c in zip(anatomy.points(), at, strict=True)).sqrt()
        share = (radius - away + 0.5).clamp(0, 1)[None]
        return Blood(("iph",), share, torch.full(anatomy.shape, hu), anatomy, {})

    return draw


def test_head_grid_gives_the_slices_back():
    made = background(noise=0.0)
    clean = without_noise(made.hu, made.spacing)
    sampler = SliceSampler(made.anatomy, made.pose, made.affine, clean.shape, made.spacing[2])
    inside = made.brain
    error = (sampler(made.anatomy.hu, -1000.0) - clean)[inside].abs()
    assert error.median() < 1


def test_blood_changes_only_what_is_near_it():
    made = background()
    case = render_background(made, 1, 0, "iph", torch.device("cpu"), ball((5.0, 10.0, 3.0), 14.0))
    image, classes = case.image.as_tensor()[0], case.classes.as_tensor()[0]
    head = np.linalg.inv(made.pose.matrix) @ made.affine
    index = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in image.shape], indexing="ij"), -1)
    points = index.double() @ torch.as_tensor(head[:3, :3]).T + torch.as_tensor(head[:3, 3])
    away = (points - torch.tensor([5.0, 10.0, 3.0])).norm(dim=-1)
    assert torch.equal(image[away > 22], made.hu.round()[away > 22])
    core = away < 9
    assert image[core].mean() == pytest.approx(65, abs=1.5)
    assert image[core].std() == pytest.approx(4, rel=0.15)
    # The noise is the scan's own.
    both = torch.stack([image[core], made.hu[core]])
    assert torch.corrcoef(both)[0, 1] > 0.9
    volume = float((classes == 2).sum() * np.prod(made.spacing))
    assert volume == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.08)
    assert case.truth["exact_ml"]["iph"] == pytest.approx(4 / 3 * np.pi * 14**3 / 1000, rel=0.03)


def test_no_blood_leaves_the_scan_as_it_is():
    made = background()
    case = render_background(made, 1, 0, "normal", torch.device("cpu"))
    assert torch.equal(case.image.as_tensor()[0], made.hu.round())
    assert not case.classes.any()


def test_blood_beside_bone_leaves_the_bone_s_edge():
    made = background(noise=0.0)
    case = render_background(made, 1, 0, "iph", torch.device("cpu"), ball((0.0, 40.0, 0.0), 8.0))
    change = case.image.as_tensor()[0] - made.hu.round()
    assert change.max() < 45
    assert change.min() > -12


# --- as an argument


def test_scan_as_an_argument(tmp_path):
    labels = small_head()
    write_map(tmp_path / "maps" / "one.nii.gz", labels)
    hu = looks(torch.from_numpy(labels))[:, :, ::3].numpy().copy()
    hu[:, :, :] += np.random.default_rng(0).normal(0, 4, hu.shape)
    affine = np.diag([2.0, 2.0, 6.0, 1.0])
    affine[:3, 3] = (-80, -95, -90)
    scan = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(hu.astype(np.float32), affine), scan)
    options = {"kind": "iph", "anatomy": tmp_path / "maps", "background": scan}
    first, again = (HeadPhantom(seed=2, **options).render() for _ in range(2))
    assert torch.equal(first.image.as_tensor(), again.image.as_tensor())
    assert first.image.shape == (1, *hu.shape)
    assert np.allclose(first.affine, affine)
    assert first.truth["background"] == "scan"
    assert first.truth["volume_ml"]["iph"] > 0
    untouched = (first.image.as_tensor()[0].numpy() == hu.round()).mean()
    assert 0.5 < untouched < 1
    # The map is the scan's own, so the middle of the head is found.
    assert np.degrees(np.arccos(first.truth["plane"]["normal"][0])) < 2
    write_phantoms(tmp_path / "out", cases=1, layout="ct_ich_v1", **options)
    assert (
        "real scan"
        in json.loads((write_phantoms(tmp_path / "n", cases=1, **options)).read_text())["description"]
    )
    with pytest.raises(InputError, match="background: expected `anatomy`"):
        HeadPhantom(background=scan)
    with pytest.raises(InputError, match="found nothing"):
        HeadPhantom(anatomy=tmp_path / "maps", background=tmp_path / "none.nii.gz")


# --- a real scan

REAL = os.environ.get("HEADCT_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="HEADCT_REAL_DATA is not set: no real scan and no label maps")
def test_ventricles_of_a_real_scan_are_found():
    data = Path(REAL)
    made = read_background(
        data / "toshiba_head_ct_dicom" / "ax_soft", (data / "anatomy" / "training_seg_03.nii.gz",)
    )
    labels, depth = made.anatomy.labels, made.anatomy.depth
    ventricle = L.is_in(labels, L.VENTRICLES)
    assert 4 < ventricle.sum() / 1000 < 35  # a man of 29
    assert made.anatomy.hu[ventricle & (depth > 15)].median() < 20
    assert made.anatomy.hu[L.is_in(labels, L.WHITE) & (depth > 10)].median() == pytest.approx(27, abs=3)
    assert (depth > 0).sum() / 1000 == pytest.approx(1400, abs=120)
