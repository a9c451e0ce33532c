"""From files to what the network sees: the deterministic part of training, evaluation and inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import Compose, CropForegroundd, MapTransform, Orientationd, ScaleIntensityRanged

from tools.brain import ExtractBraind
from tools.roi_case import HyperdenseRegiond
from tools.spacing import ResampleSpacingd
from tools.symmetry import SymmetryMapd
from tools.volume_io import LoadVolumed

__all__ = ["Preprocessing", "StripSkulld"]


class StripSkulld(MapTransform):
    """Set what lies outside the brain to one value, in every channel.

    Args:
        keys: images, (C, X, Y, Z).
        brain_key: mask, (1, X, Y, Z).
        value: value outside, in the unit of the images.
    """

    def __init__(self, keys: KeysCollection, brain_key: str = "brain", value: float = 0.0) -> None:
        super().__init__(keys)
        self.brain_key = brain_key
        self.value = value

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        outside = d[self.brain_key].as_tensor() == 0
        for key in self.key_iterator(d):
            d[key] = d[key].masked_fill(outside, self.value)
        return d


class Preprocessing(Compose):
    """Files -> brain, in RAS, 0 to 1 within a window of HU, with its mirror image as second channel.

    Cropping to the brain loses nothing, since all outside is background by then, and is undone by `Invertd`.
    Where there is a label, the hyperdense region that negative patches are drawn from is found while the
    image is still in HU (Abramova 2021, section 2.2.1).

    Args:
        spacing: voxel size in mm to resample to; None keeps the scanner's, as the paper does.
        symmetric: append the mirrored, rigidly aligned volume.
        backend: how the mirror image is aligned, see `tools.symmetry.SymmetryMapd`.
        window: HU that become 0 and 1.
        regions: find the hyperdense region; only training needs it.
        converted_dir: folder to keep converted DICOM series in.
    """

    def __init__(
        self,
        spacing: Sequence[float] | None = None,
        symmetric: bool = True,
        backend: str = "torch",
        window: Sequence[float] = (0.0, 100.0),
        regions: bool = True,
        converted_dir: str | Path | None = None,
    ) -> None:
        low, high = window
        pair = ["image", "label"]
        with_reference = ["image", "label", "reference"]
        steps = [
            LoadVolumed(with_reference, ["label", "reference"], converted_dir, allow_missing_keys=True),
            Orientationd(pair, axcodes="RAS", labels=None, allow_missing_keys=True),
            ResampleSpacingd(pair, spacing, mode=["bilinear", "nearest"], allow_missing_keys=True),
            ExtractBraind("image", brain_key="brain"),
            *([HyperdenseRegiond("image", "brain", "label", region_key="hyperdense")] if regions else []),
            *([SymmetryMapd("image", backend=backend, mask_key="brain")] if symmetric else []),
            StripSkulld("image", brain_key="brain", value=low),
            ScaleIntensityRanged("image", low, high, 0.0, 1.0, clip=True),
            CropForegroundd(
                ["image", "label", "brain", "hyperdense"],
                source_key="brain",
                margin=1,
                allow_smaller=True,
                allow_missing_keys=True,
            ),
        ]
        super().__init__(steps)
