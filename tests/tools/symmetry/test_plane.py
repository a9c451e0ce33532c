"""The symmetry plane against known poses, its equivariance, the mirrored channel, and ITK as reference."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd, Lambdad, Orientation, Spacingd

from benchmarks.itk_mirror import RegisteredSymmetryMapd
from tools.core.errors import InputError
from tools.symmetry import (
    SymmetryMapd,
    SymmetryPlane,
    align_to_midline,
    estimate_symmetry_axes,
    estimate_symmetry_plane,
    estimate_symmetry_planes,
    slice_symmetry_map,
    symmetry_map,
)
from tools.volumes.read import read_volume

SIZE = (128, 128, 30)
SPACING = (1.8, 1.8, 5.0)


def rotation(yaw: float, roll: float, pitch: float) -> np.ndarray:
    """Head to world, degrees."""
    y, r, p = np.radians([yaw, roll, pitch])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return about_z @ about_y @ about_x


def make_head(
    pose=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0), bleed=0, size=SIZE, spacing=SPACING, seed=0, affine=None
) -> tuple[MetaTensor, np.ndarray, float]:
    """A head of ellipsoids that is its own mirror image but for `bleed` (-1 or 1: its side).

    Returns the scan, and the true plane's normal and offset in world mm.
    """
    if affine is None:
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = -np.array(spacing) * (np.array(size) - 1) / 2
    head_to_world = rotation(*pose)
    volume = torch.zeros(size)
    thirds = (-1 / 3, 0.0, 1 / 3)  # partial volume across the slice
    for third in thirds:
        axes = [torch.arange(n, dtype=torch.float32) for n in size]
        index = torch.stack(torch.meshgrid(axes[0], axes[1], axes[2] + third, indexing="ij"), dim=-1)
        world = index @ torch.tensor(affine[:3, :3].T).float() + torch.tensor(affine[:3, 3]).float()
        head = (world - torch.tensor(shift).float()) @ torch.tensor(head_to_world).float()

        def ball(centre, radii, at=head):
            offset = (at - torch.tensor(centre)) / torch.tensor(radii)
            return offset.square().sum(-1) < 1

        hu = torch.full(size, -1000.0)
        hu[ball((0, 0, -10), (80, 100, 95))] = 20
        hu[ball((0, 105, -60), (14, 20, 25))] = 30
        hu[ball((0, 0, -10), (74, 93, 88))] = 900
        brain = ball((0, 0, -10), (68, 87, 82))
        hu[brain] = 35
        x, y, z = head.unbind(-1)
        shifted = x + 8 * bleed * torch.exp(-((y / 60) ** 2) - (z / 50) ** 2)
        for side in (-1, 1):
            centre = torch.stack([shifted - 14 * side, y, z], dim=-1)
            hu[brain & ball((0, 5, 5), (9, 32, 14), centre)] = 6
        hu[brain & (shifted.abs() < 1.2) & (z > 0)] = 60
        if bleed:
            hu[brain & ball((38 * bleed, -5, 8), (24, 34, 29))] = 70  # 99 mL
        volume += hu / len(thirds)
    volume += torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 5
    normal = head_to_world[:, 0]
    return MetaTensor(volume[None], affine=torch.from_numpy(affine)), normal, float(normal @ np.array(shift))


def plane_error(plane: SymmetryPlane, normal: np.ndarray, offset: float) -> tuple[float, float]:
    """Degrees between the normals, and mm between the planes at the foot of the origin on the true plane."""
    found = plane.normal.cpu().numpy()
    cosine = float(found @ normal)
    return math.degrees(math.acos(min(1.0, cosine))), abs(
        float(found @ (normal * offset)) - float(plane.offset)
    )


POSES = [
    # yaw, roll, pitch, shift, bleed: each is a different way to be trapped
    ((0, 0, 0), (0, 0, 0), 0),
    ((25, 0, 0), (0, 0, 0), 0),
    ((0, -25, 0), (0, 0, 0), 0),
    ((-25, 25, -15), (20, -20, 5), 0),
    ((25, 25, 15), (-20, 20, -5), 1),
    ((4, -3, 10), (5, 5, 0), -1),
    ((-20, -12, 0), (-10, 0, 5), -1),
]


@pytest.mark.parametrize(("pose", "shift", "bleed"), POSES)
def test_known_pose_is_recovered(pose, shift, bleed, device: torch.device) -> None:
    head, normal, offset = make_head(pose, shift, bleed)
    plane = estimate_symmetry_plane(head.to(device))
    degrees, mm = plane_error(plane, normal, offset)
    assert degrees < 0.4
    assert mm < 0.3
    assert plane.normal[0] > 0
    assert float(plane.normal.norm()) == pytest.approx(1.0, abs=1e-9)
    assert float(plane.score) > 0.9


@pytest.mark.parametrize("spacing", [(1.8, 1.8, 1.8), (2.2, 1.6, 3.0), (1.8, 1.8, 7.0)])
def test_anisotropic_spacing(spacing) -> None:
    size = tuple(round(mm / s) for mm, s in zip((230, 230, 150), spacing, strict=True))
    head, normal, offset = make_head((12, -8, 6), (6, -4, 0), 1, size, spacing)
    degrees, mm = plane_error(estimate_symmetry_plane(head), normal, offset)
    assert degrees < 0.4
    assert mm < 0.3


def test_oblique_sheared_grid() -> None:
    """A gantry tilt that was not undone: the slices are sheared and the axes are not those of the world."""
    affine = np.diag([1.8, 1.8, 5.0, 1.0])
    affine[:3, :3] = rotation(8, 5, -10) @ affine[:3, :3]
    affine[:3, 2] += affine[:3, 1] * 0.6
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SIZE) - 1) / 2)
    head, normal, offset = make_head((6, 4, 0), (3, 0, 0), 0, affine=affine)
    degrees, mm = plane_error(estimate_symmetry_plane(head), normal, offset)
    assert degrees < 0.5
    assert mm < 0.4


def test_plane_moves_with_the_affine() -> None:
    """Equivariance: the same voxels under a moved affine give the moved plane."""
    head, _, _ = make_head((10, -6, 0), (5, 0, 0), 1)
    plane = estimate_symmetry_plane(head)
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = rotation(9, 7, -5), (40, -30, 200)
    there = estimate_symmetry_plane(head.as_tensor(), moved @ head.affine.numpy())
    normal = moved[:3, :3] @ plane.normal.numpy()
    degrees, _ = plane_error(there, normal, 0.0)
    assert degrees < 0.3
    on_plane = moved[:3, :3] @ (plane.normal * plane.offset).numpy() + moved[:3, 3]
    assert float(there.normal.numpy() @ on_plane) == pytest.approx(float(there.offset), abs=0.3)


def test_batch_of_different_shapes_equals_single_calls(device: torch.device) -> None:
    cases = [
        make_head((15, 5, 0), bleed=1)[0],
        make_head((-9, 0, 5), size=(112, 120, 40), spacing=(2.0, 1.9, 4.0))[0],
    ]
    together = estimate_symmetry_planes([c.to(device) for c in cases])
    for i, case in enumerate(cases):
        alone = estimate_symmetry_plane(case.to(device))
        torch.testing.assert_close(together.normal[i], alone.normal, atol=2e-3, rtol=0)
        torch.testing.assert_close(together.offset[i], alone.offset, atol=0.05, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu() -> None:
    head, _, _ = make_head((15, 5, 0), bleed=1)
    cpu, gpu = (estimate_symmetry_plane(head.to(d)) for d in ("cpu", "cuda"))
    torch.testing.assert_close(gpu.normal.cpu(), cpu.normal, atol=1e-3, rtol=0)
    torch.testing.assert_close(gpu.offset.cpu(), cpu.offset, atol=0.05, rtol=0)


def brute_force_mirror(volume: np.ndarray, affine: np.ndarray, plane: SymmetryPlane) -> np.ndarray:
    """scipy's trilinear interpolation at each voxel's mirrored position."""
    from scipy.ndimage import map_coordinates

    index = np.stack(np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    normal, offset = plane.normal.cpu().numpy(), float(plane.offset)
    world = world - 2 * (world @ normal - offset)[..., None] * normal
    back = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    return map_coordinates(volume + 1024, np.moveaxis(back, -1, 0), order=1, mode="grid-constant") - 1024


def test_symmetry_map_is_the_exact_reflection(device: torch.device) -> None:
    head, _, _ = make_head((10, -8, 5), (6, 0, 0), 1, size=(48, 40, 12), spacing=(4.5, 5.0, 12.0))
    normal = torch.tensor(rotation(11, -7, 0)[:, 0])
    plane = SymmetryPlane(
        normal.to(device), torch.tensor(4.0, dtype=torch.float64, device=device), torch.tensor(1.0)
    )
    mirrored = symmetry_map(head.to(device), plane)
    assert torch.equal(mirrored.affine.cpu(), head.affine)
    expected = brute_force_mirror(head[0].numpy(), head.affine.numpy(), plane)
    np.testing.assert_allclose(mirrored[0].cpu().numpy(), expected, atol=0.05)
    batch = symmetry_map(
        head.as_tensor()[None].to(device),
        SymmetryPlane(*(t[None] for t in vars(plane).values())),
        head.affine,
    )
    torch.testing.assert_close(batch[0], mirrored.as_tensor())


def test_mirror_twice_is_the_original_inside() -> None:
    head, _, _ = make_head((10, 5, 0))
    smooth = torch.nn.functional.avg_pool3d(head.as_tensor().clamp(0, 100)[None], 5, 1, 2)[0]
    plane = estimate_symmetry_plane(head)
    twice = symmetry_map(symmetry_map(smooth, plane, head.affine), plane, head.affine)
    inner = (slice(None), slice(40, 88), slice(40, 88), slice(8, 22))
    assert (twice - smooth)[inner].abs().mean() < 2


def test_align_to_midline_puts_the_plane_in_the_middle() -> None:
    head, _, _ = make_head((18, -10, 5), (12, 4, 0))
    aligned = align_to_midline(head, estimate_symmetry_plane(head))
    again = estimate_symmetry_plane(aligned)
    middle = float(head.affine[0, 0] * (SIZE[0] - 1) / 2 + head.affine[0, 3])
    degrees, _ = plane_error(again, np.array([1.0, 0, 0]), middle)
    assert degrees < 0.4
    assert float(again.offset) == pytest.approx(middle, abs=0.3)


@pytest.mark.parametrize("code", ["LAS", "RPS", "SAL"])
def test_the_storage_of_a_volume_does_not_matter(code: str) -> None:
    """A turned head, and the same voxels stored flipped or along other axes."""
    head, _, _ = make_head((18, -10, 5), (12, 4, 0), size=(63, 66, 31), spacing=(3.6, 3.6, 5.0))
    stored, back = Orientation(code, labels=None)(head), Orientation("RAS", labels=None)
    planes = [estimate_symmetry_plane(volume) for volume in (head, stored)]
    torch.testing.assert_close(planes[1].normal, planes[0].normal, atol=1e-6, rtol=0)
    torch.testing.assert_close(planes[1].offset, planes[0].offset, atol=1e-4, rtol=0)
    for make in (symmetry_map, align_to_midline):
        found, expected = back(make(stored, planes[1])), make(head, planes[0])
        torch.testing.assert_close(found.affine, expected.affine)
        torch.testing.assert_close(found.as_tensor(), expected.as_tensor(), atol=0.1, rtol=0)
    planes = SymmetryPlane(*(torch.stack([value, value]) for value in vars(planes[0]).values()))
    two = align_to_midline(torch.stack([stored.as_tensor()] * 2), planes, stored.affine)
    torch.testing.assert_close(two[1], align_to_midline(stored, planes[0]).as_tensor())


def test_slices_find_their_axis(device: torch.device) -> None:
    poses = [0, 12, -25, 20]
    slices = torch.stack(
        [make_head((yaw, 0, 0), (yaw / 2, 3, 0), i % 2)[0][..., 15] for i, yaw in enumerate(poses)]
    )
    axes = estimate_symmetry_axes(slices.as_tensor().to(device), SPACING[:2])
    found = torch.rad2deg(torch.atan2(axes.normal[:, 1], axes.normal[:, 0])).cpu()
    torch.testing.assert_close(found, torch.tensor(poses).double(), atol=0.4, rtol=0)
    assert (axes.normal[:, 2] == 0).all()
    centre = 1.8 * 127 / 2
    for i, yaw in enumerate(poses):  # the true axis goes through the head's centre
        point = torch.tensor([centre + yaw / 2, centre + 3, 0.0], dtype=torch.float64)
        assert float((axes.normal[i].cpu() * point).sum() - axes.offset[i]) == pytest.approx(0, abs=0.3)
    mirrored = slice_symmetry_map(slices.as_tensor().to(device), axes, SPACING[:2]).cpu()
    window = [x.clamp(0, 100).flatten() for x in (slices[0].as_tensor(), mirrored[0])]
    assert float(torch.corrcoef(torch.stack(window))[0, 1]) > 0.95


def test_eight_bit_slice_of_unknown_size() -> None:
    head, _, _ = make_head((14, 0, 0), (5, 0, 0))
    grey = ((head[..., 15].as_tensor() + 20) / 120 * 255).clamp(0, 255).round()
    out = SymmetryMapd(window=(0, 255), air=20, fill=0)({"image": MetaTensor(grey)})["image"]
    assert out.shape == (2, 128, 128)
    yaw = math.degrees(math.atan2(out.meta["symmetry_normal"][1], out.meta["symmetry_normal"][0]))
    assert yaw == pytest.approx(14, abs=0.4)


def test_transform_equals_function_and_is_invertible_around() -> None:
    head, _, _ = make_head((9, 4, 0), (4, 0, 0), 1)
    pre = Compose(
        [
            Spacingd("image", pixdim=(2.4, 2.4, 5.0)),
            Flipd("image", spatial_axis=1),
            SymmetryMapd("image"),
            Lambdad("image", lambda x: x.clamp(0, 100) / 100),
        ]
    )
    data = pre({"image": head})
    assert data["image"].shape[0] == 2
    spaced = Compose(pre.transforms[:2])({"image": head})["image"]
    assert torch.equal(data["image"].affine, spaced.affine)
    plane = estimate_symmetry_plane(spaced)
    expected = symmetry_map(spaced, plane).clamp(0, 100) / 100
    torch.testing.assert_close(data["image"][1].as_tensor(), expected[0].as_tensor())
    assert torch.equal(data["image"].meta["symmetry_normal"], plane.normal)

    data["pred"] = MetaTensor(data["image"][:1].as_tensor() > 0.5)
    back = Invertd("pred", pre, orig_keys="image", nearest_interp=True)(data)["pred"]
    assert back.shape == head.shape
    torch.testing.assert_close(back.affine, head.affine)


def test_registration_agrees_with_the_plane() -> None:
    """Independent reference: rigid registration of the flipped head."""
    head, _, _ = make_head((6, -4, 3), (4, 0, 0))
    ours = SymmetryMapd()({"image": head})["image"]
    reference = RegisteredSymmetryMapd()({"image": head})["image"]
    assert torch.equal(reference.affine, head.affine)
    inner = (slice(1, 2), slice(25, 103), slice(20, 108), slice(8, 24))
    smooth = torch.nn.AvgPool3d(3, 1, 1)  # the noise is interpolated at different places
    pair = [smooth(x.as_tensor().clamp(-100, 100))[inner].flatten() for x in (ours, reference)]
    assert float(torch.corrcoef(torch.stack(pair))[0, 1]) > 0.99


@pytest.mark.parametrize("kind", [SymmetryMapd, RegisteredSymmetryMapd])
def test_mask_strips_the_mirrored_channel_alone(kind: type[SymmetryMapd]) -> None:
    """The left half is masked away: the mirror image shows it at the right half, and nothing at the left."""
    image, _, _ = make_head()
    right = torch.zeros_like(image)
    right[:, SIZE[0] // 2 :] = 1
    out = kind("image", mask_key="brain")({"image": image, "brain": right})["image"]
    mirrored = out.as_tensor()[1]
    assert torch.equal(out.as_tensor()[0], image.as_tensor()[0])
    assert (mirrored[: SIZE[0] // 2 - 3] > 0).float().mean() > 0.3
    assert (mirrored[SIZE[0] // 2 + 3 :] > -1000).float().mean() < 0.01


def test_plane_needs_no_itk() -> None:
    code = "import sys; sys.modules['itk'] = None; import tools.symmetry"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


NOISE = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (torch.full((1, 64, 64, 16), -1024.0), "no head"),
        (torch.full((1, 64, 64, 16), 40.0), "constant"),
        (torch.randn((1, 64, 64, 16), generator=NOISE) * 10 - 1000, "no head"),
        (torch.full((1, 64, 64, 1), 40.0), "two slices"),
        (torch.full((64, 64, 16), 40.0), "shape"),
        (torch.full((1, 64, 64, 16), float("nan")), "finite"),
    ],
    ids=["all air", "constant", "noisy air", "one slice", "no channel", "nan"],
)
def test_degenerate_input_is_refused(volume: torch.Tensor, expected: str) -> None:
    with pytest.raises(InputError, match=f"scan_7.*{expected}"):
        estimate_symmetry_plane(volume, np.diag([3.5, 3.5, 8.0, 1.0]), case="scan_7")


def test_missing_affine_is_refused() -> None:
    with pytest.raises(InputError, match="affine"):
        estimate_symmetry_plane(torch.zeros(1, 64, 64, 16))
    with pytest.raises(InputError, match="affine"):
        RegisteredSymmetryMapd("image")({"image": torch.zeros(1, 64, 64, 16)})


def test_low_score_warns_with_the_case() -> None:
    """A heap of tissue without symmetry; a good head does not warn."""
    head, _, _ = make_head()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate_symmetry_plane(head)
    coarse = torch.randn((1, 1, 6, 6, 5), generator=torch.Generator().manual_seed(0))
    heap = torch.nn.functional.interpolate(coarse, size=(64, 64, 30), mode="trilinear", align_corners=True)[0]
    heap = torch.where(heap > 0.1, heap * 120, -1000.0)
    with pytest.warns(UserWarning, match=r"scan_9: symmetry score"):
        estimate_symmetry_plane(heap, np.diag([3.5, 3.5, 5.0, 1.0]), case="scan_9")


def test_real_scan(real_data: Path) -> None:
    """The head is turned by 11.6 degrees; the plane goes through the falx (see docs/symmetry.md)."""
    head = read_volume(real_data / "ge_head_ct_dicom")
    plane = estimate_symmetry_plane(head)
    yaw, roll = (
        math.degrees(math.atan2(plane.normal[1], plane.normal[0])),
        math.degrees(math.asin(plane.normal[2])),
    )
    assert yaw == pytest.approx(-11.6, abs=0.5)
    assert roll == pytest.approx(0.4, abs=0.7)
    assert float(plane.score) > 0.9
    # marked by hand, in voxels of the straightened series
    falx = [(275, 400, 28.8), (250, 270, 28.8), (237, 200, 28.8), (280, 430, 22.3), (233, 165, 22.3)]
    world = torch.tensor(falx).double() @ head.affine[:3, :3].T + head.affine[:3, 3]
    assert (world @ plane.normal - plane.offset).abs().max() < 2.5
