"""From files to what a 2D network sees: the deterministic part of training, evaluation and inference."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, Orientationd, Pad, Padd, Resized

from tools.core.errors import InputError
from tools.core.flags import is_true
from tools.core.windows import CT_ICH_WINDOW, DisplayWindow
from tools.slices.load import LoadSlicesd
from tools.slices.resize import ResizeSlicesd
from tools.symmetry.canonical import HEAD_HU
from tools.symmetry.transform import SymmetryMapd

logger = logging.getLogger(__name__)

DARK_GREY = 20  # of 255; in pictures, which don't reach down to air, all that is darker counts as air


class SliceSymmetryd(MapTransform):
    """Append the mirrored, aligned image as a second channel: (1, X, Y, Z) -> (2, X, Y, Z), in HU.

    A volume is mirrored at its mid-sagittal plane, a single slice at its own axis (Li 2021: left-right flip
    and rigid alignment). Where nothing can be aligned, as above the head, the slice is flipped as it lies.

    Args:
        keys: images in HU, RAS.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            try:
                d[key] = SymmetryMapd(key)(d)[key] if image.shape[-1] > 1 else _mirrored_slice(image)
            except InputError as error:
                logger.warning("%s; mirrored at the middle of the image instead", error)
                both = torch.cat([image.as_tensor(), image.as_tensor().flip(1)])
                d[key] = MetaTensor(both).copy_meta_from(image)
        return d


def _mirrored_slice(image: MetaTensor) -> MetaTensor:
    """`SymmetryMapd` of a volume of one slice."""
    window = image.meta.get("windowed")
    low, high = (CT_ICH_WINDOW if window is None else DisplayWindow(*window)).hu
    settings: dict[str, Any] = {"air": HEAD_HU}
    if window is not None:
        settings = {"window": (low, high), "air": low + (high - low) * DARK_GREY / 255, "fill": low}
    spacing = image.affine[:3, :3].norm(dim=0)[:2].tolist()
    flat = MetaTensor(image.as_tensor()[..., 0]).copy_meta_from(image)
    mirrored = SymmetryMapd("image", spacing=spacing, **settings)({"image": flat})["image"]
    return MetaTensor(mirrored.as_tensor()[..., None]).copy_meta_from(image)


class WindowChannelsd(MapTransform):
    """HU -> [0, 1], one channel for each window and channel: (C, X, Y, Z) -> (C * windows, X, Y, Z).

    First all windows of the first channel, then those of the second (the mirrored one).

    Args:
        keys: images in HU.
        windows: intervals (low, high) of HU that become 0 and 1; what lies beyond is clipped.
        bone_hu: from here on it is bone and set to 0 in every window (D-Unet: bones are filtered out); None
            keeps it. Pictures that end at this value or below are cut at their own end.
    """

    def __init__(
        self, keys: KeysCollection, windows: Sequence[Sequence[float]], bone_hu: float | None = None
    ) -> None:
        super().__init__(keys)
        self.windows = [(float(low), float(high)) for low, high in windows]
        for low, high in self.windows:
            if low >= high:
                raise InputError(f"windows: expected a lower and a higher HU value, found {[low, high]}")
        self.bone_hu = bone_hu

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            hu = image.as_tensor()
            channels = [((hu - low) / (high - low)).clamp_(0, 1) for low, high in self.windows]
            scaled = torch.stack(channels, dim=1).flatten(0, 1)
            if self.bone_hu is not None:
                window = image.meta.get("windowed")
                end = self.bone_hu if window is None else min(self.bone_hu, DisplayWindow(*window).hu[1])
                bone = (hu >= end - 0.5)[:, None].expand(-1, len(self.windows), -1, -1, -1)
                scaled = scaled.masked_fill_(bone.flatten(0, 1), 0)
            d[key] = MetaTensor(scaled).copy_meta_from(image)
        return d


class PadToSquare(Pad):
    """Pad the shorter in-plane side (C, X, Y, Z), so that resizing a slice keeps the head's proportions."""

    def compute_pad_width(self, spatial_shape: Sequence[int]) -> Any:
        """Voxels before and after, for the channels and each axis."""
        side = max(spatial_shape[:2])
        width = [((side - n) // 2, side - n - (side - n) // 2) for n in spatial_shape[:2]]
        return ((0, 0), *width, (0, 0))


class SlicePreprocessing(Compose):
    """What 2D training, evaluation and inference share, as transforms of dictionaries.

    Load, RAS, optionally mirror, window to [0, 1], pad to a square, resize in-plane.

    Args:
        size: pixels of the network's input, (x, y).
        window: HU interval of the brain window; the default is that of CT-ICH.
        windows: several intervals, one channel each, instead of `window`.
        symmetric: append the mirrored image, in the same windows.
        bone_hu: see `WindowChannelsd`.
        picture_window: level and width in HU of pictures whose datalist entry has no key `windowed`.
        converted_dir: see `read_volume`.

    Returns (when called with a datalist entry):
        `image` (C, *size, Z) float32 in [0, 1] with C = windows * (1 + symmetric); `label` (1, *size, Z);
        `reference`, where the entry has that key, as it lies in the file.
    """

    def __init__(
        self,
        size: Sequence[int] = (256, 256),
        window: Sequence[float] = CT_ICH_WINDOW.hu,
        windows: Sequence[Sequence[float]] | None = None,
        symmetric: bool = False,
        bone_hu: float | None = None,
        picture_window: Sequence[float] = CT_ICH_WINDOW,
        converted_dir: str | Path | None = None,
    ) -> None:
        pair = ["image", "label"]
        optional: dict[str, Any] = {"allow_missing_keys": True}
        with_reference = [*pair, "reference"]
        steps = [
            LoadSlicesd(with_reference, ["label", "reference"], picture_window, converted_dir, **optional),
            Orientationd(pair, axcodes="RAS", labels=None, **optional),
        ]
        if is_true(symmetric, "symmetric"):
            steps.append(SliceSymmetryd("image"))
        steps += [
            WindowChannelsd("image", windows or [window], bone_hu),
            Padd(pair, PadToSquare(), **optional),
            ResizeSlicesd("image", size),
            Resized("label", (*size, -1), mode="nearest-exact", **optional),
        ]
        super().__init__(steps)
