"""RandRoiCropd: the regions of RoiMix as an ordinary MONAI transform, for any MONAI data set and loader."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable
from monai.utils import ImageMetaKey
from torch import Tensor

from tools.core.errors import InputError
from tools.core.options import options_of
from tools.core.tensors import file_name
from tools.sampling.case_regions import RoiSettings, as_volume, case_masks
from tools.sampling.mix import RoiMix
from tools.sampling.patches import cut
from tools.sampling.run_table import RunTable, mask_runs


class RoiRunsd(MapTransform):
    """Find the regions of a case once; put it before `RandRoiCropd`, so that they are cached with the case.

    Adds `roi_key`: the runs of each region in the order of `REGIONS`, about 1 MB per case.

    Args:
        keys: `image`, whose foreground is the brain in a case without a mask of it; the lesion is `label`.
        mix: strategy; regions without a share are not searched.
        regions: how the regions are found, see `RoiSettings`.
        background: image value outside the head or brain.
        roi_key: where the runs go.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        mix: RoiMix | str | Mapping[str, float] = "border_or_ivh",
        regions: RoiSettings | Mapping[str, Any] | None = None,
        background: float = 0.0,
        roi_key: str = "roi",
    ) -> None:
        super().__init__(keys)
        self.roi_key, self.background = roi_key, background
        self.mix, self.settings = RoiMix.of(mix), options_of(RoiSettings, regions)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        name = file_name(item.get("image"), "case 0")
        masks = case_masks(item, name, self.mix, self.settings, self.background)
        item[self.roi_key] = [mask_runs(mask) for mask in masks]
        return item


class RandRoiCropd(Randomizable, MapTransform):
    """Crop patches whose centres are drawn by region, `num_samples` from each case.

    The counterpart of `RoiPatchSampler` for pipelines that hold a bare list of {image, label} cases, such as
    MONAI Label's. It returns a list of dictionaries, as MONAI's `RandCropByPosNegLabeld` does. Patches are
    padded with the background where they stick out; their affines say where they lie.

    Regions are searched at every call, unless `RoiRunsd` has found them. Volumes that only serve that search
    (brain, hyperdense, hu) are left out of the result, unless they are among `keys`.

    Args:
        keys: volumes (C, X, Y, Z) that are cropped; of them `label` above 0 is lesion.
        roi_size: patch size in voxels; with two sizes a patch is (C, rx, ry), of any slice.
        mix: `RoiMix`, the name of a preset, or shares by region.
        num_samples: patches per case.
        regions: how the regions are found, see `RoiSettings`.
        background: image value outside the volume; labels and other keys are padded with 0.
        roi_key: where `RoiRunsd` put the regions.

    Raises:
        InputError: a case or an argument that cannot be used.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        roi_size: Sequence[int] = (32, 32, 16),
        mix: RoiMix | str | Mapping[str, float] = "border_or_ivh",
        num_samples: int = 1,
        regions: RoiSettings | Mapping[str, Any] | None = None,
        background: float = 0.0,
        roi_key: str = "roi",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if num_samples < 1:
            raise InputError(f"num_samples: expected 1 or more, found {num_samples}")
        self.roi_size = tuple(int(size) for size in roi_size)
        if len(self.roi_size) not in (2, 3) or min(self.roi_size) < 1:
            raise InputError(f"roi_size: expected 2 or 3 sizes from 1, found {list(roi_size)}")
        self.roi_key, self.num_samples = roi_key, num_samples
        self.background = background
        self._find = RoiRunsd("image", mix, regions, background, roi_key)
        self._points: list[tuple[float, float]] = []

    def randomize(self, data: Any = None) -> None:
        """Two numbers in [0, 1) per patch: which region, and which voxel of it."""
        self._points = [(self.R.random_sample(), self.R.random_sample()) for _ in range(self.num_samples)]

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        item = dict(data)
        if self.roi_key not in item:
            item = self._find(item)
        self.randomize()
        centres = self._centres(item)
        settings = self._find.settings
        unused = {self.roi_key, settings.brain_key, settings.hyperdense_key, settings.hu_key} - set(self.keys)
        rest = {key: value for key, value in item.items() if key not in unused and key not in self.keys}
        patches = []
        for number, centre in enumerate(centres):
            sizes = (*self.roi_size, 1)[:3]
            corner = [middle - size // 2 for middle, size in zip(centre, sizes, strict=True)]
            patch = dict(rest)
            for key in self.key_iterator(item):
                fill = self.background if key == "image" else 0
                patch[key] = _cropped(item[key], corner, self.roi_size, fill, number)
            patches.append(patch)
        return patches

    def _centres(self, item: Mapping[Hashable, Any]) -> list[list[int]]:
        """Centre voxels (num_samples, 3)."""
        table = RunTable([item[self.roi_key]])
        until = self._find.mix.resolve(table.counts, quiet=True)[0].cumsum(0)
        until[until > 1 - 1e-9] = 2.0
        points = torch.tensor(self._points, dtype=torch.float64)
        region = torch.searchsorted(until, points[:, 0].contiguous(), right=True)
        flat = table.draw(torch.zeros_like(region), region, points[:, 1])
        _, ny, nz = as_volume(item["image"]).shape[1:]
        return torch.stack([flat // (ny * nz), flat // nz % ny, flat % nz], dim=1).tolist()


def _cropped(volume: Any, corner: Sequence[int], size: Sequence[int], fill: float, number: int) -> Tensor:
    """Patch of a volume; that of a MetaTensor knows its place."""
    patch = cut(as_volume(volume), corner, (*size, 1)[:3], fill)
    patch = patch[..., 0] if len(size) == 2 else patch
    if not isinstance(volume, MetaTensor):
        return patch
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = torch.tensor(corner, dtype=torch.float64)
    meta = {key: value for key, value in volume.meta.items() if key != "affine"}
    meta |= {ImageMetaKey.PATCH_INDEX: number, ImageMetaKey.SPATIAL_SHAPE: tuple(size)}
    affine = torch.as_tensor(volume.affine, dtype=torch.float64).cpu() @ shift
    return MetaTensor(patch, affine=affine, meta=meta, applied_operations=volume.applied_operations)
