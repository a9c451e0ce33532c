"""RandRoiCropd: patches and their geometry, shares, seeds, and MONAI's data sets and loaders around it."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor
from monai.transforms import Compose
from monai.utils import set_determinism

from tools.core.errors import InputError
from tools.sampling.mix import REGIONS

AFFINE = torch.tensor([[-2.0, 0, 0, 30], [0, 2, 0, -20], [0, 0, 5, 7], [0, 0, 0, 1]], dtype=torch.float64)


@pytest.fixture(scope="module")
def rois(bundle):
    from scripts import crop

    return crop


def make_item(shape=(20, 18, 8), lesion=True):
    """A volume whose value at (x, y, z) is 1 + 10000 x + 100 y + z: a patch tells where it comes from."""
    x, y, z = torch.meshgrid(*[torch.arange(float(size)) for size in shape], indexing="ij")
    image = (1 + 10000 * x + 100 * y + z)[None]
    label = torch.zeros(1, *shape)
    if lesion:
        label[:, 6:10, 7:11, 3:5] = 1
    return {"image": MetaTensor(image, affine=AFFINE), "label": MetaTensor(label, affine=AFFINE)}


def centre_of(patch):
    """Voxel of the volume that the patch's centre voxel comes from."""
    middle = tuple(size // 2 for size in patch["image"].shape[1:])
    value = int(patch["image"][(0, *middle)]) - 1
    return value // 10000, value // 100 % 100, value % 100


def test_patches_know_their_place(rois):
    """The affine of a patch maps its voxels to the millimetres that the volume's affine maps them to."""
    item = make_item()
    crop = rois.RandRoiCropd(roi_size=(6, 5, 4), mix="none", num_samples=200).set_random_state(0)
    outside = 0
    for number, patch in enumerate(crop(item)):
        assert patch["image"].shape == patch["label"].shape == (1, 6, 5, 4)
        assert patch["image"].meta["patch_index"] == number
        corner = [c - size // 2 for c, size in zip(centre_of(patch), (6, 5, 4), strict=True)]
        world = AFFINE @ torch.tensor([*corner, 1.0], dtype=torch.float64)
        for key in ("image", "label"):
            assert torch.allclose(
                patch[key].affine @ torch.tensor([0, 0, 0, 1.0], dtype=torch.float64), world
            )
        for i, j, k in ((0, 0, 0), (5, 4, 3), (2, 1, 0)):
            place = [c + step for c, step in zip(corner, (i, j, k), strict=True)]
            inside = all(0 <= p < n for p, n in zip(place, (20, 18, 8), strict=True))
            outside += not inside
            for key in ("image", "label"):
                expected = float(item[key][(0, *place)]) if inside else 0.0
                assert float(patch[key][0, i, j, k]) == expected
    assert outside > 0


@pytest.mark.parametrize("prepared", [False, True])
def test_shares_and_regions(rois, prepared):
    """Lesion centres in half of 2000 draws, border centres in 15 %, within 4 sigma; the label agrees."""
    item = make_item()
    if prepared:
        item = rois.RoiRunsd(mix="brain_border", regions={"border_mm": 4.0})(item)
    crop = rois.RandRoiCropd(
        roi_size=(1, 1, 1), mix="brain_border", num_samples=2000, regions={"border_mm": 4.0}
    )
    patches = crop.set_random_state(1)(item)
    lesion = torch.tensor([float(patch["label"][0, 0, 0, 0]) for patch in patches])
    near = torch.tensor(
        [
            all(a - 2 <= v < b + 2 for v, a, b in zip(centre_of(p)[:2], (6, 7), (10, 11), strict=True))
            and 2 <= centre_of(p)[2] < 6
            for p in patches
        ]
    )
    assert abs(float(lesion.sum()) - 1000) <= 4 * math.sqrt(2000 * 0.25)
    border_voxels, brain_voxels = 8 * 8 * 4 - 32, 20 * 18 * 8 - 32
    share = 0.15 + 0.35 * border_voxels / brain_voxels
    found = float((near & (lesion == 0)).sum())
    assert abs(found - 2000 * share) <= 4 * math.sqrt(2000 * share * (1 - share))


def test_the_same_seed_gives_the_same_patches_with_and_without_preparation(rois):
    item = make_item()
    crop = rois.RandRoiCropd(roi_size=(4, 4, 4), mix="brain_border", num_samples=5)
    first = [centre_of(patch) for patch in crop.set_random_state(5)(item)]
    again = [centre_of(patch) for patch in crop.set_random_state(5)(rois.RoiRunsd(mix="brain_border")(item))]
    other = [centre_of(patch) for patch in crop.set_random_state(6)(item)]
    assert first == again
    assert first != other


def test_a_case_without_lesion_and_one_without_regions(rois):
    crop = rois.RandRoiCropd(
        roi_size=(4, 4, 4), mix="border_or_ivh", num_samples=20, regions={"blood": [5e5, 6e5]}
    )
    patches = crop.set_random_state(0)(make_item(lesion=False))
    assert not any(patch["label"].any() for patch in patches)


def test_masks_that_only_served_the_search_are_left_out(rois):
    item = make_item() | {
        "brain": torch.ones(1, 20, 18, 8),
        "hyperdense": torch.ones(1, 20, 18, 8),
        "name": "a",
    }
    patch = rois.RandRoiCropd(roi_size=(4, 4, 4), mix="brain")(rois.RoiRunsd(mix="brain")(item))[0]
    assert set(patch) == {"image", "label", "name"}
    kept = rois.RandRoiCropd(["image", "label", "brain"], (4, 4, 4), mix="brain")(item)[0]
    assert kept["brain"].shape == (1, 4, 4, 4)


def test_two_sizes_give_slices(rois):
    patches = rois.RandRoiCropd(roi_size=(7, 6), mix="brain_border", num_samples=3)(make_item())
    assert all(patch["image"].shape == patch["label"].shape == (1, 7, 6) for patch in patches)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_in_a_loader_of_bare_cases(rois, workers, cached):
    """As in MONAI Label: nothing but image and label, volumes of different shapes, any number of workers."""
    items = [make_item(shape) for shape in ((20, 18, 8), (16, 24, 6), (12, 12, 5))]
    steps = [
        rois.RoiRunsd(mix="brain_border"),
        rois.RandRoiCropd(roi_size=(8, 8, 8), mix="brain_border", num_samples=4),
    ]

    def centres():
        set_determinism(7)
        transform = Compose(steps)
        data = CacheDataset(items, transform, progress=False) if cached else Dataset(items, transform)
        loader = DataLoader(data, batch_size=2, shuffle=True, num_workers=workers)
        return torch.cat([batch["image"][:, 0, 4, 4, 4] for batch in loader]).tolist()

    try:
        first = centres()
        assert len(first) == 12
        assert first == centres()
        assert len(set(first)) > 6
    finally:
        set_determinism(None)


def test_bad_arguments_are_named(rois):
    with pytest.raises(InputError, match="num_samples"):
        rois.RandRoiCropd(num_samples=0)
    with pytest.raises(InputError, match="roi_size"):
        rois.RandRoiCropd(roi_size=(4,))
    with pytest.raises(InputError, match="the hyperdense region expects the key"):
        rois.RandRoiCropd(roi_size=(4, 4, 4), mix="border_or_ivh")(make_item())
    assert len(rois.RoiRunsd(mix="brain")(make_item())["roi"]) == len(REGIONS)
