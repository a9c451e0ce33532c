"""Regions against brute force and against phantoms whose blood is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from tools.core.errors import InputError
from tools.core.tensors import bounding_box, voxel_spacing
from tools.phantom import HeadPhantom
from tools.sampling.case_regions import RoiSettings, as_volume, case_masks
from tools.sampling.mix import REGIONS, RoiMix
from tools.sampling.regions import border_band, centre_cube, dilate, erode, hyperdense_region, in_voxels
from tools.sampling.run_table import RunTable, mask_runs
from tools.volumes.brain import extract_brain
from tools.volumes.read import read_volume

SPACING = (0.9, 0.9, 5.0)


def random_mask(shape, share, seed, device="cpu"):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share).to(device)


@pytest.mark.parametrize("radius", [(0, 0, 0), (1, 1, 1), (3, 0, 2), (5, 7, 1), (11, 4, 9), (40, 1, 1)])
def test_dilation_and_erosion_equal_scipy(radius, device):
    mask = random_mask((23, 19, 12), 0.01, 1, device)
    box = np.ones([2 * r + 1 for r in radius])
    expected = ndimage.binary_dilation(mask.cpu().numpy(), box)
    assert np.array_equal(dilate(mask, radius).cpu().numpy(), expected)
    expected = ndimage.binary_erosion(~mask.cpu().numpy(), box, border_value=1)
    assert np.array_equal(erode(~mask, radius).cpu().numpy(), expected)


def test_dilation_leaves_its_argument_alone():
    mask = random_mask((9, 9, 9), 0.05, 2)
    before = mask.clone()
    dilate(mask, (2, 2, 2)), dilate(mask, (0, 0, 0))
    assert torch.equal(mask, before)


@pytest.mark.parametrize(
    ("mm", "spacing", "expected"),
    [
        (5.0, (0.5, 0.5, 5.0), (10, 10, 1)),
        (5.0, (0.45, 0.45, 3.0), (12, 12, 2)),
        (0.1, (1.0, 1.0, 1.0), (1, 1, 1)),  # never an empty band
        (0.3, (0.1, 0.1, 0.1), (3, 3, 3)),  # 0.3 / 0.1 is above 3 in floating point
    ],
)
def test_mm_become_voxels(mm, spacing, expected):
    assert in_voxels(mm, spacing) == expected


def test_spacing_of_a_turned_volume():
    affine = torch.tensor([[0.0, -0.5, 0, 3], [0.4, 0, 0, 1], [0, 0, 5, -7], [0, 0, 0, 1]])
    assert voxel_spacing(affine) == pytest.approx((0.4, 0.5, 5.0))


def test_border_band_is_every_voxel_near_the_border(device):
    """By definition: outside the lesion, and at most the reach away from a border voxel on every axis."""
    lesion = torch.zeros(16, 15, 8, dtype=torch.bool, device=device)
    lesion[4:9, 5:11, 2:5] = True
    lesion[6, 7, 5] = True
    spacing, width = (1.0, 0.7, 2.0), 2.0
    inner = ndimage.binary_erosion(lesion.cpu().numpy(), np.ones((3, 3, 3)))
    border = torch.from_numpy(lesion.cpu().numpy() & ~inner).nonzero()
    expected = torch.zeros(lesion.shape, dtype=torch.bool)
    for x, y, z in np.ndindex(*lesion.shape):
        reach = (border - torch.tensor([x, y, z])).abs() <= torch.tensor([2, 3, 1])
        expected[x, y, z] = bool(reach.all(1).any()) and not lesion[x, y, z]
    assert torch.equal(border_band(lesion, spacing, width).cpu(), expected)


def test_empty_masks_give_empty_regions(device):
    empty = torch.zeros(8, 8, 4, dtype=torch.bool, device=device)
    image = torch.full((8, 8, 4), 60.0, device=device)
    assert not border_band(empty, SPACING).any()
    assert not centre_cube(empty, SPACING).any()
    assert not hyperdense_region(image, empty, SPACING).any()
    assert bounding_box(empty) is None


def test_centre_cube_by_hand(device):
    """Brain from 2 to 11, 5 to 7, 1 to 2: centre (6.5, 6, 1.5); half a side, 2 mm, is 2, 4 and 0.4 voxels."""
    brain = torch.zeros(16, 14, 4, dtype=torch.bool, device=device)
    brain[2, 6, 1] = brain[11, 5, 2] = brain[4, 7, 1] = True
    cube = centre_cube(brain, (1.0, 0.5, 5.0), 4.0)
    expected = torch.zeros_like(brain)
    expected[5:9, 2:11, 0:0] = True
    assert torch.equal(cube, expected), "a cube thinner than the gap between two slices' centres holds none"
    expected[5:9, 2:11, 1:3] = True
    assert torch.equal(centre_cube(brain, (1.0, 0.5, 4.0), 4.0), expected)


def make_head(seed, index):
    """A phantom of kind iph_ivh; every third index has intraventricular blood."""
    return HeadPhantom(seed, index=index, shape=(256, 256, 32), spacing=SPACING, kind="iph_ivh").render()


@pytest.fixture(scope="module")
def ivh_heads():
    """Three heads with 19 to 47 mL of intraventricular blood; that of the first is pale."""
    return [make_head(seed, index) for seed, index in ((11, 4), (21, 1), (24, 1))]


def test_hyperdense_region_finds_the_ivh_and_little_else(ivh_heads, device):
    """Recall at least 0.9 of the IVH; at most 10 % of the region is the brain's rim or near the falx."""
    found = total = region_size = rim_or_falx = 0
    for head in ivh_heads:
        classes, brain = as_volume(head.classes)[0].to(device), as_volume(head.brain)[0].to(device) > 0
        lesion, ivh = classes == 2, classes == 3
        region = hyperdense_region(as_volume(head.image)[0].to(device), brain, SPACING, lesion)
        assert not (region & lesion).any()
        assert not (region & ~brain).any()
        found, total = found + int((region & ivh).sum()), total + int(ivh.sum())
        region_size += int(region.sum())
        rim = ~erode(brain, in_voxels(4.0, SPACING))
        midline = near_midline(head, 3.0).to(device) & ~dilate(ivh, (2, 2, 0))
        rim_or_falx += int((region & (rim | midline)).sum())
    assert total > 0
    assert found / total >= 0.9
    assert rim_or_falx / region_size <= 0.1


def near_midline(head, mm):
    """Voxels (X, Y, Z) within `mm` of the phantom's own mid-sagittal plane."""
    plane, affine = head.truth["plane"], torch.as_tensor(head.affine)
    voxels = torch.stack(torch.meshgrid(*[torch.arange(n) for n in head.image.shape[1:]], indexing="ij"), -1)
    world = voxels.double() @ affine[:3, :3].T + affine[:3, 3]
    return (world @ torch.tensor(plane["normal"], dtype=torch.float64) - plane["offset"]).abs() <= mm


def test_hyperdense_region_is_small_without_ivh():
    """A head whose only blood is the annotated lesion: calcium and falx give less than 0.5 % of the brain."""
    head = make_head(11, 0)
    classes, brain = as_volume(head.classes)[0], as_volume(head.brain)[0] > 0
    region = hyperdense_region(as_volume(head.image)[0], brain, SPACING, classes == 2)
    assert (classes == 2).any()
    assert region.sum() / brain.sum() < 0.005


def test_hyperdense_region_of_a_real_head(real_data):
    """A real scan with beam hardening at base and vertex: less than 2 % of the brain, all of it inside."""
    volume = read_volume(real_data / "ge_head_ct_dicom")
    brain = as_volume(extract_brain(volume))[0] > 0
    region = hyperdense_region(as_volume(volume)[0], brain, voxel_spacing(volume.affine))
    assert not (region & ~brain).any()
    assert 0 < region.sum() / brain.sum() < 0.02


def test_hyperdense_region_by_hand():
    """A block is kept; a wall of 2 mm, a speck, calcium, the rim and the lesion are not."""
    spacing = (1.0, 1.0, 3.0)
    image = torch.full((80, 80, 8), 30.0)
    brain = torch.zeros(80, 80, 8, dtype=torch.bool)
    brain[10:70, 10:70] = True
    lesion = torch.zeros_like(brain)
    image[20:32, 20:32, 2:6] = 65.0  # ventricular blood: 1.7 mL
    image[39:41, 10:70, :] = 60.0  # falx
    image[60:62, 60:62, 3] = 70.0  # speck
    image[50:58, 20:28, 2:6] = 300.0  # calcium
    image[10:12, 10:70, :] = 80.0  # rim
    image[50:62, 40:52, 2:6] = 65.0  # annotated lesion
    lesion[50:62, 40:52, 2:6] = True
    region = hyperdense_region(image, brain, spacing, lesion)
    block = torch.zeros_like(brain)
    block[20:32, 20:32, 2:6] = True
    assert (region & block).sum() / block.sum() >= 0.9
    assert not (region & ~dilate(block, (1, 1, 0))).any()


def test_hyperdense_region_on_a_finer_grid_is_the_same_place(ivh_heads):
    """Every pixel of a head cut into four, as in 512 x 512 at 0.45 mm: the same region, cut into four."""

    def finer(volume):
        return volume.repeat_interleave(2, 0).repeat_interleave(2, 1)

    head = ivh_heads[0]
    image, brain, lesion = (
        as_volume(head.image)[0],
        as_volume(head.brain)[0] > 0,
        as_volume(head.classes)[0] == 2,
    )
    region = finer(hyperdense_region(image, brain, SPACING, lesion))
    fine = hyperdense_region(finer(image), finer(brain), (0.45, 0.45, 5.0), finer(lesion))
    assert region.any()
    assert (region & fine).sum() / (region | fine).sum() >= 0.95


def case(shape=(20, 18, 6), seed=0):
    random = torch.Generator().manual_seed(seed)
    label = torch.zeros(1, *shape)
    label[:, 5:9, 6:9, 2:4] = 1
    brain = torch.zeros(1, *shape)
    brain[:, 2:-2, 2:-2] = 1
    return {"image": torch.rand(2, *shape, generator=random), "label": label, "brain": brain}


ALL = RoiMix(lesion=0.2, image=0.1, brain=0.2, border=0.2, centre=0.2, ivh=0.1)


def test_border_or_ivh_is_the_union_of_both():
    item, spacing = case(), RoiSettings(spacing=(1.0, 1.0, 1.0))
    item["hyperdense"] = torch.zeros_like(item["label"])
    item["hyperdense"][:, 2:4, 2:4] = 1
    each = RoiMix(lesion=0.4, border=0.2, ivh=0.2, border_or_ivh=0.2)
    masks = dict(zip(REGIONS, case_masks(item, "a", each, spacing, 0.0), strict=True))
    assert masks["border"].any()
    assert masks["ivh"].any()
    assert torch.equal(masks["border_or_ivh"], masks["border"] | masks["ivh"])
    alone = case_masks(item, "a", RoiMix.of("border_or_ivh"), spacing, 0.0)
    assert torch.equal(alone[REGIONS.index("border_or_ivh")], masks["border_or_ivh"])


def test_negative_regions_have_no_lesion_and_lie_in_the_brain():
    item = case() | {"hyperdense": torch.ones(1, 20, 18, 6)}
    masks = dict(zip(REGIONS, case_masks(item, "a", ALL, RoiSettings(spacing=(1, 1, 5)), 0.0), strict=True))
    lesion, brain = masks["lesion"], item["brain"][0] > 0
    assert torch.equal(lesion, item["label"][0] > 0)
    for name in ("image", "brain", "border", "centre", "ivh"):
        assert masks[name].any()
        assert not (masks[name] & lesion).any()
        assert name == "image" or not (masks[name] & ~brain).any() or name == "ivh"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, "case 7: expected the key 'label'"),
        ({"label": torch.zeros(2, 20, 18, 6)}, r"'label' should have the shape \(1, X, Y, Z\)"),
        ({"image": torch.zeros(2, 20, 18, 5)}, "'image'"),
        ({"brain": torch.zeros(1, 20, 18, 5)}, "'brain'"),
        ({}, "the hyperdense region expects the key"),
    ],
)
def test_bad_cases_are_named(change, words):
    item = {key: value for key, value in {**case(), **change}.items() if value is not None}
    with pytest.raises(InputError, match=words):
        case_masks(item, "case 7", ALL, RoiSettings(), 0.0)


def test_hyperdense_region_from_hu_or_from_thresholds_in_the_images_units():
    shape = (40, 40, 6)
    hu = torch.full((1, *shape), 30.0)
    hu[:, 12:24, 12:24, 1:5] = 65.0
    brain = torch.ones(1, *shape)
    item = {"image": hu / 100, "label": torch.zeros(1, *shape), "brain": brain}
    spacing = RoiSettings(spacing=(1, 1, 5))
    scaled = RoiSettings(spacing=(1, 1, 5), blood=(0.5, 1.0))
    by_hu = case_masks(item | {"hu": hu}, "a", ALL, spacing, 0.0)[REGIONS.index("ivh")]
    by_units = case_masks(item, "a", ALL, scaled, 0.0)[REGIONS.index("ivh")]
    assert by_hu[14:22, 14:22, 1:5].all()
    assert torch.equal(by_hu, hyperdense_region(hu[0], brain[0] > 0, (1, 1, 5)))
    assert torch.equal(by_units, hyperdense_region(hu[0], brain[0] > 0, (1, 1, 5), blood=(50.0, 100.0)))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_runs_hold_exactly_the_mask(share, device):
    mask = random_mask((7, 9, 5), share, 3, device)
    found = torch.zeros(mask.numel(), dtype=torch.bool)
    for start, length in mask_runs(mask).tolist():
        assert length > 0
        assert not found[start : start + length].any()
        found[start : start + length] = True
    assert torch.equal(found.view(mask.shape), mask.cpu())


def test_every_voxel_of_every_region_is_drawn_by_its_own_chance(device):
    """The chance (rank + 1/2) / count gives the voxel of that rank: all are reached, and equally often."""
    masks = [[random_mask((6, 5, 4), share, c, device) for share in (0.1, 0.5, 0.9)] for c in range(3)]
    table = RunTable([[mask_runs(mask) for mask in case] for case in masks], device)
    for c, of_case in enumerate(masks):
        for r, mask in enumerate(of_case):
            expected = mask.flatten().nonzero()[:, 0]
            count = len(expected)
            assert int(table.counts[c, r]) == count
            chance = ((torch.arange(count, dtype=torch.float64) + 0.5) / count).to(device)
            rows = torch.full((count,), c, device=device)
            assert torch.equal(table.draw(rows, torch.full_like(rows, r), chance), expected)
            edges = torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64, device=device)
            ends = table.draw(rows[:2], torch.full_like(rows[:2], r), edges[: len(rows)])
            assert ends.tolist() == [int(expected[0]), int(expected[-1])]
