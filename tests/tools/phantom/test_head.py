"""Synthetic heads: geometry, anatomy, hemorrhage, determinism."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import DataLoader

from tools.core.errors import InputError
from tools.phantom import CLASSES, KINDS, HeadPhantom, PhantomStream
from tools.phantom.geometry import Pose, rotation, scan_affine
from tools.phantom.kinds import draw_types, lesion_types
from tools.phantom.scanner.closed_form import draw_scanner, noise_field

#: Coarse enough for tests, fine enough for thin layers of blood.
SMALL = {"shape": (96, 96, 20), "spacing": (2.4, 2.4, 8.0)}
TINY = {"shape": (48, 48, 12), "spacing": (4.8, 4.8, 13.0)}


def arrays(case) -> tuple[np.ndarray, ...]:
    """image, classes, brain, ventricles as numpy (X, Y, Z)."""
    volumes = (case.image, case.classes, case.brain, case.ventricles)
    return tuple(volume.as_tensor()[0].cpu().numpy() for volume in volumes)


@pytest.fixture(scope="module")
def normal():
    """A head without hemorrhage and without noise."""
    return HeadPhantom(seed=5, kind="normal", noise=False, **SMALL).render()


# --- geometry


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_is_right_handed(axis):
    turned = rotation(axis, 90.0) @ np.eye(3)[(axis + 1) % 3]
    assert np.allclose(turned, np.eye(3)[(axis + 2) % 3])


def test_affine_puts_the_volume_centre_at_the_world_origin():
    matrix = scan_affine((10, 20, 31), (0.5, 0.4, 5.0), tilt=18.5)
    assert np.allclose(matrix @ (4.5, 9.5, 15.0, 1), (0, 0, 0, 1))
    assert np.allclose(np.linalg.norm(matrix[:3, :3], axis=0), (0.5, 0.4, 5.0))


def mirrored(image: np.ndarray, affine: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """Image reflected at a world plane, by linear interpolation."""
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij")).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    world = world - 2 * normal[:, None] * (normal @ world - offset)
    voxel = np.linalg.solve(affine[:3, :3], world - affine[:3, 3:])
    return ndimage.map_coordinates(image, voxel, order=1, mode="nearest").reshape(image.shape)


@pytest.mark.parametrize("tilt", [0.0, 15.0])
def test_plane_is_the_symmetry_plane_of_the_undeformed_head(tilt):
    pose = Pose(yaw=11.0, roll=-6.0, pitch=8.0, shift=(7.0, -4.0, -10.0))
    head = HeadPhantom(
        seed=2,
        kind="normal",
        asymmetry=0.0,
        noise=False,
        pose=pose,
        tilt=tilt,
        shape=(80, 80, 40),
        spacing=(3, 3, 4),
    )
    case = head.render()
    image = arrays(case)[0].clip(-100, 100)
    affine = np.asarray(case.affine)
    normal, offset = np.asarray(case.truth["plane"]["normal"]), case.truth["plane"]["offset"]
    assert np.isclose(np.linalg.norm(normal), 1)
    assert normal[0] > 0

    inside = ndimage.binary_erosion(arrays(case)[2])  # next to bone interpolation itself errs

    def difference(n: np.ndarray, d: float) -> float:
        return float(np.abs(image - mirrored(image, affine, n, d))[inside].mean())

    truth = difference(normal, offset)
    assert truth < 4
    for axis in (1, 2):
        turned = rotation(axis, 3.0) @ normal
        assert difference(turned, offset) > 1.5 * truth
    for shift in (-3.0, 3.0):
        assert difference(normal, offset + shift) > 1.5 * truth


def test_mirror_points_have_the_same_hu():
    plan = HeadPhantom(seed=3, kind="normal", asymmetry=0.0, **TINY).plan()
    generator = torch.Generator().manual_seed(0)
    x, y, z = (torch.rand((3, 4000), generator=generator) - 0.5) * torch.tensor([150.0, 180.0, 150.0])[
        :, None
    ]
    right, left = plan.scene(x, y, z, 1.0), plan.scene(-x, y, z, 1.0)
    assert (right[0] - left[0]).abs().quantile(0.99) < 0.5
    assert torch.allclose(right[4], left[4], atol=1e-2)


def test_natural_heads_are_not_mirror_images():
    plan = HeadPhantom(seed=3, kind="normal", **TINY).plan()
    x, y, z = torch.linspace(20, 60, 50), torch.linspace(-40, 40, 50), torch.full((50,), 20.0)
    assert (plan.scene(x, y, z, 1.0)[0] - plan.scene(-x, y, z, 1.0)[0]).abs().mean() > 1


# --- tissue


def test_tissue_has_its_hu(normal):
    image, classes, brain, ventricles = arrays(normal)
    core = ndimage.binary_erosion(brain, iterations=2)
    assert 25 < np.median(image[core]) < 40
    spread = np.percentile(image[core], [2, 98])
    assert spread[0] > -5
    assert spread[1] < 60
    deep = ndimage.binary_erosion(ventricles)
    if deep.any():
        assert 0 <= np.median(image[deep]) < 20
    shell = ndimage.binary_dilation(brain, iterations=2) & ~ndimage.binary_dilation(brain)
    assert np.median(image[shell]) > 300
    assert image[0].max() == -1000
    assert image.min() >= -1024
    assert (image == image.round()).all()
    assert not classes.any()


def test_masks_are_nested(normal):
    _, _, brain, ventricles = arrays(normal)
    assert (ventricles <= brain).all()
    ml = np.prod(SMALL["spacing"]) / 1000
    assert 1000 < brain.sum() * ml < 2000
    assert 3 < ventricles.sum() * ml < 150
    assert ndimage.label(brain)[1] == 1


def test_metatensors_share_the_affine():
    case = HeadPhantom(seed=1, kind="iph", **TINY).render()
    for volume in (case.image, case.classes, case.brain, case.ventricles, case.label(("iph",))):
        assert volume.shape == (1, *TINY["shape"])
        assert torch.equal(volume.affine, case.affine)
    assert case.image.dtype == torch.float32
    assert case.classes.dtype == case.brain.dtype == torch.uint8
    assert case.affine.dtype == torch.float64


# --- hemorrhage


def beneath_bone(brain: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """mm from the outside of the brain mask."""
    return ndimage.distance_transform_edt(brain, sampling=spacing)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_type_lies_where_anatomy_says(kind):
    sizes = []
    for index in range(3):
        head = HeadPhantom(seed=11, index=index, kind=kind, noise=False, **SMALL)
        case = head.render()
        image, classes, brain, ventricles = arrays(case)
        mask = classes == CLASSES[kind]
        assert set(np.unique(classes)) <= {0, CLASSES[kind]}
        sizes.append(int(mask.sum()))
        ml = np.prod(SMALL["spacing"]) / 1000
        assert case.truth["volume_ml"][kind] == pytest.approx(mask.sum() * ml)
        assert sum(case.truth["volume_ml"].values()) == pytest.approx(mask.sum() * ml)
        assert (brain[mask] == 1).all()
        if not mask.any():
            continue
        depth = beneath_bone(brain, SMALL["spacing"])[mask]
        if kind == "ivh":
            assert (ventricles[mask] == 1).all()
        else:
            assert not ventricles[mask].any()
        sheet = kind == "sdh" and head.plan().scene.bleeds[0].where != "convexity"
        if kind in ("edh", "sdh") and not sheet:  # blood along falx and tentorium is far from the bone
            assert np.median(depth) < 16
        if kind == "edh":
            assert depth.min() < 4
            world = np.einsum("ij,jn->in", np.asarray(case.affine)[:3, :3], np.argwhere(mask).T)
            world += np.asarray(case.affine)[:3, 3:]
            plane = case.truth["plane"]
            beside = np.asarray(plane["normal"]) @ world - plane["offset"]
            assert (np.sign(beside) == np.sign(np.median(beside))).all()
        full = depth > 6  # clear of the partial volume with bone
        if kind == "sah" and full.any():  # too thin for these voxels to show its own HU
            twin = HeadPhantom(seed=11, index=index, kind="normal", noise=False, **SMALL).render()
            assert (image - arrays(twin)[0])[mask][full].mean() > 8
        elif full.sum() > 9:
            assert abs(np.median(image[mask][full]) - case.truth["blood_hu"][kind]) < 16
    assert sum(size > 0 for size in sizes) >= 2


def test_volumes_are_those_that_were_drawn():
    for kind in ("iph", "edh", "sdh"):
        for index in (0, 1, 3):
            head = HeadPhantom(seed=21, index=index, kind=kind, shape=(112, 112, 36), spacing=(2.0, 2.0, 4.5))
            plan = head.plan()
            drawn = plan.scene.bleeds[0].volume
            if drawn < 4:
                continue  # too thin for these voxels
            counted = head.render().truth["volume_ml"][kind]
            assert 0.6 * drawn < counted < 1.4 * drawn, (kind, index)


def test_a_large_bleed_presses_on_the_ventricles_and_shifts_the_midline():
    pose = Pose()
    for index in range(40):
        head = HeadPhantom(seed=4, index=index, kind="iph", noise=False, pose=pose, **SMALL)
        plan = head.plan()
        bleed = plan.scene.bleeds[0]
        if bleed.place == "putamen" and bleed.volume > 50:
            break
    moved = bleed.push(*(torch.tensor([v]) for v in (0.0, float(bleed.center[1]), 8.0)), torch.tensor([50.0]))
    # The anatomy found at the midline comes from the side of the bleed: it has been pushed across.
    assert float(moved[0]) * bleed.side > 0.5
    twin = HeadPhantom(seed=4, index=index, kind="normal", noise=False, pose=pose, **SMALL).render()
    assert head.render().truth["ventricles_ml"] < twin.truth["ventricles_ml"]


@pytest.mark.parametrize("kind", [*KINDS, "edh+sdh", "iph+sah"])
def test_every_kind_can_be_asked_for(kind):
    case = HeadPhantom(seed=8, index=1, kind=kind, **TINY).render()
    expected = {"normal": set(), "iph_ivh": {"iph", "ivh"}, "any": set(case.truth["types"])}.get(
        kind, set(kind.split("+"))
    )
    assert set(case.truth["types"]) == expected
    assert {name for name, ml in case.truth["volume_ml"].items() if ml > 0} <= expected


def test_kinds_are_drawn_with_their_shares():
    rng = np.random.default_rng(0)
    drawn = [draw_types("any", index, rng) for index in range(2000)]
    assert 0.10 < np.mean([not types for types in drawn]) < 0.20
    assert {name for types in drawn for name in types} == set(CLASSES)
    assert np.mean([len(types) > 1 for types in drawn]) > 0.3
    ivh = ["ivh" in draw_types("iph_ivh", index, rng) for index in range(15)]
    assert sum(ivh) == 5
    assert all(any(ivh[fold::5]) for fold in range(5))


@pytest.mark.parametrize(
    ("kind", "lesion", "expected"),
    [
        ("iph_ivh", None, ("iph",)),
        ("any", None, tuple(CLASSES)),
        ("any", "ivh,iph", ("iph", "ivh")),
        ("any", ["sah"], ("sah",)),
    ],
)
def test_label_is_the_lesion(kind, lesion, expected):
    assert lesion_types(kind, lesion) == expected


# --- scanner


def test_noise_has_unit_variance_and_leaves_slices_independent():
    scanner = draw_scanner(np.random.default_rng(0), 5.0)
    white = torch.randn((6, 96, 97), generator=torch.Generator().manual_seed(0))
    grain = noise_field(white, (0.5, 0.6), scanner)
    assert grain.shape == white.shape
    assert float(grain.std()) == pytest.approx(1, abs=0.05)
    beside = float((grain[:, 1:] * grain[:, :-1]).mean())
    across = float((grain[1:] * grain[:-1]).mean())
    assert beside > 0.3
    assert abs(across) < 0.05


def test_noise_is_what_noise_adds():
    quiet, loud = (HeadPhantom(seed=6, kind="iph", noise=on, **TINY).render() for on in (False, True))
    assert torch.equal(quiet.classes, loud.classes)
    inside = ndimage.binary_erosion(arrays(quiet)[2], iterations=2)
    assert 2 < (arrays(quiet)[0] - arrays(loud)[0])[inside].std() < 10


# --- determinism


def same(a, b) -> bool:
    """Whether two cases agree in every voxel and every recorded number."""
    volumes = ("image", "classes", "brain", "ventricles")
    return a.truth == b.truth and all(torch.equal(getattr(a, name), getattr(b, name)) for name in volumes)


def test_the_seed_and_index_decide_everything():
    first = HeadPhantom(seed=1, index=2, kind="any", **TINY).render()
    assert same(first, HeadPhantom(seed=1, index=2, kind="any", **TINY).render())
    assert not torch.equal(first.image, HeadPhantom(seed=1, index=3, kind="any", **TINY).render().image)
    assert not torch.equal(first.image, HeadPhantom(seed=2, index=2, kind="any", **TINY).render().image)


def test_cpu_and_device_agree(device):
    ours = HeadPhantom(seed=1, kind="iph_ivh", index=1, device="cpu", **SMALL).render()
    other = HeadPhantom(seed=1, kind="iph_ivh", index=1, device=device, **SMALL).render()
    assert other.image.device.type == device.type
    difference = (ours.image.as_tensor() - other.image.as_tensor().cpu()).abs()
    assert float(difference.quantile(0.999) if difference.numel() < 1e7 else difference.max()) <= 1
    assert float((ours.classes.as_tensor() != other.classes.as_tensor().cpu()).float().mean()) < 1e-4


def test_stream_gives_the_cases_of_its_seed_without_end():
    stream = PhantomStream(seed=7, kind="iph", start=3, **TINY)
    items = [item for item, _ in zip(stream, range(2), strict=False)]
    for number, item in enumerate(items, 3):
        case = HeadPhantom(seed=7, index=number, kind="iph", **TINY).render()
        assert torch.equal(item["image"], case.image)
        assert torch.equal(item["label"], case.label(("iph", "sah", "edh", "ivh", "sdh")))
        assert torch.equal(item["brain"], case.brain)


def test_workers_share_a_stream_out():
    stream = PhantomStream(seed=7, kind="normal", **TINY)
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    seen = [item["image"].as_tensor() for item, _ in zip(loader, range(4), strict=False)]
    expected = [
        HeadPhantom(seed=7, index=i, kind="normal", **TINY).render().image.as_tensor() for i in range(4)
    ]
    for image in expected:
        assert sum(torch.equal(image, other) for other in seen) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "tumour"},
        {"kind": "edh+tumour"},
        {"shape": (64, 64)},
        {"shape": (64, 64, 4)},
        {"shape": 64},
        {"spacing": (0.5, 0.5, 0.0)},
        {"spacing": ("a", 1, 1)},
    ],
)
def test_bad_arguments_are_named(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        HeadPhantom(**bad)


def test_plan_is_made_once_and_can_be_read():
    plan = HeadPhantom(seed=1, kind="any", **TINY).plan()
    assert dataclasses.is_dataclass(plan)
    assert abs(plan.pose.yaw) <= 20
    assert abs(plan.pose.roll) <= 20
    assert abs(plan.pose.pitch) <= 15
    assert max(map(abs, plan.pose.shift)) <= 20


# --- against a real scan


def test_in_brain_statistics_are_those_of_a_real_scan(real_data):
    from tools.volumes.read import read_volume

    def quantiles(volume) -> np.ndarray:
        """10, 50, 90 % of HU well inside the skull, in the slices that hold much brain."""
        hu = volume.as_tensor()[0].cpu().numpy()
        spacing = float(np.linalg.norm(np.asarray(volume.affine)[:3, 0]))
        steps = round(8 / spacing)
        mask = np.zeros(hu.shape, bool)
        for k in range(hu.shape[2]):
            ring = ndimage.binary_closing(np.pad(hu[:, :, k] > 200, 2 * steps), iterations=steps)
            ring = ring[2 * steps : -2 * steps, 2 * steps : -2 * steps]
            hole = ndimage.binary_erosion(
                ndimage.binary_fill_holes(ring) & ~ring, iterations=round(4 / spacing)
            )
            parts, count = ndimage.label(hole)
            if count:
                mask[:, :, k] = parts == np.bincount(parts.ravel())[1:].argmax() + 1
        area = mask.sum((0, 1))
        return np.percentile(hu[mask & (area > 0.6 * area.max())], [10, 50, 90])

    real = quantiles(read_volume(real_data / "ge_head_ct_dicom"))
    heads = []
    for index in range(12):
        head = HeadPhantom(
            seed=1, index=index, kind="normal", shape=(160, 160, 28), spacing=(1.44, 1.44, 5.5)
        )
        if 50 < head.plan().truth["age"] < 80:
            heads.append(quantiles(head.render().image))
    low, median, high = np.mean(heads, axis=0)
    assert abs(median - real[1]) < 4
    assert abs((high - low) / (real[2] - real[0]) - 1) < 0.25, (real, heads)
