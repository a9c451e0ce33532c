"""From files to what the network sees: the deterministic part of training, evaluation and inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import (
    Compose,
    ConcatItemsd,
    CropForegroundd,
    DeleteItemsd,
    MapTransform,
    Orientationd,
    ScaleIntensityRanged,
)

from scripts.background import mark_foreground
from scripts.brain import ExtractBraind, HyperdenseRegiond
from scripts.hard_cases import TurnHardCased
from scripts.registration import RegisterRigidd
from scripts.spacing import ResampleSpacingd
from tools.core.errors import InputError
from tools.core.flags import is_true
from tools.symmetry.transform import SymmetryMapd
from tools.volumes.read import LoadVolumed

__all__ = ["MarkBraind", "MinMaxd", "PercentileZScored", "Preprocessing", "StripSkulld"]

NORMALISATIONS = ("window", "percentile", "minmax")


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


class MarkBraind(MapTransform):
    """Let no voxel of the brain hold the value that stands for what lies outside of it.

    Then the image alone says where the brain is, as `WindowProbabilityInferer` needs it in MONAI Label, which
    hands over no mask: see `scripts.background`.

    Args:
        keys: images, (C, X, Y, Z), of which the first channel is marked.
        brain_key: mask, (1, X, Y, Z).
    """

    def __init__(self, keys: KeysCollection, brain_key: str = "brain") -> None:
        super().__init__(keys)
        self.brain_key = brain_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        brain = d[self.brain_key].as_tensor()
        for key in self.key_iterator(d):
            d[key] = mark_foreground(d[key], brain)
        return d


class PercentileZScored(MapTransform):
    """Clip to percentiles of the brain's voxels and scale them to mean 0 and standard deviation 1.

    Every channel by itself; what lies outside the brain becomes 0, the brain's mean (Abramova 2022; that mean
    and deviation are the brain's, and not those of a picture that is mostly background, is our reading).

    Args:
        keys: images, (C, X, Y, Z).
        brain_key: mask, (1, X, Y, Z).
        percentiles: lowest and highest percentile that is kept.
    """

    def __init__(
        self, keys: KeysCollection, brain_key: str = "brain", percentiles: Sequence[float] = (0.5, 99.5)
    ) -> None:
        super().__init__(keys)
        self.brain_key = brain_key
        self.percentiles = tuple(percentiles)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        inside = d[self.brain_key].as_tensor()[0] > 0
        for key in self.key_iterator(d):
            image = d[key].clone()
            for channel in image.as_tensor():
                low, high = (_percentile(channel[inside], p) for p in self.percentiles)
                clipped = channel.clamp(low, high)
                mean, deviation = clipped[inside].mean(), clipped[inside].std()
                channel.copy_(((clipped - mean) / deviation.clamp(min=1e-6)).masked_fill(~inside, 0.0))
            d[key] = image
        return d


class MinMaxd(MapTransform):
    """Scale the brain's lowest value to 0 and its highest to 1 (Abramova 2022, section 3).

    Every channel by itself; what lies outside the brain becomes 0.

    Args:
        keys: images, (C, X, Y, Z).
        brain_key: mask, (1, X, Y, Z).
    """

    def __init__(self, keys: KeysCollection, brain_key: str = "brain") -> None:
        super().__init__(keys)
        self.brain_key = brain_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        inside = d[self.brain_key].as_tensor()[0] > 0
        for key in self.key_iterator(d):
            image = d[key].clone()
            for channel in image.as_tensor():
                low, high = channel[inside].min(), channel[inside].max()
                channel.copy_(((channel - low) / (high - low).clamp(min=1e-6)).masked_fill(~inside, 0.0))
            d[key] = image
        return d


def _percentile(values: torch.Tensor, percent: float) -> torch.Tensor:
    """The value of that rank; `torch.quantile` ends at 16 million voxels."""
    rank = round((values.numel() - 1) * percent / 100)
    return values.kthvalue(rank + 1).values


class Preprocessing(Compose):
    """Files -> brain, in RAS, normalised, with its mirror image and CT angiography as further channels.

    The channels are the brain, its mirror image if `symmetric`, CT angiography if `cta`. Cropping to the
    brain loses nothing, since all outside is background by then, and is undone by `Invertd`. Where there is
    a label, the hyperdense region that negative patches are drawn from is found while the image is still in
    HU (Abramova 2021, section 2.2.1).

    Args:
        spacing: voxel size in mm to resample to; None keeps the scanner's, as the paper does.
        symmetric: append the mirrored, rigidly aligned volume.
        cta: append CT angiography, the volume under the key `cta`, registered rigidly to the image.
        window: HU that become 0 and 1.
        cta_window: HU of CT angiography that become 0 and 1; the paper states none, contrast reaches 400 HU.
        normalisation: "window" (2021); or, within the window, "percentile": `PercentileZScored` (2022, whose
            brain is 0 to 100 HU); or "minmax": `MinMaxd`, which 2022 compared it with.
        regions: find the hyperdense region; only training needs it.
        crop: crop to the brain; False where patches are drawn from the whole image.
        converted_dir: folder to keep converted DICOM series in.

    Raises:
        InputError: `normalisation` is unknown; while running, a case has no `cta`.
    """

    def __init__(
        self,
        spacing: Sequence[float] | None = None,
        symmetric: bool = True,
        cta: bool = False,
        window: Sequence[float] = (0.0, 100.0),
        cta_window: Sequence[float] = (0.0, 400.0),
        normalisation: str = "window",
        regions: bool = True,
        crop: bool = True,
        converted_dir: str | Path | None = None,
    ) -> None:
        if normalisation not in NORMALISATIONS:
            raise InputError(f"normalisation: expected one of {NORMALISATIONS}, found {normalisation!r}")
        symmetric, cta = is_true(symmetric, "symmetric"), is_true(cta, "cta")
        pair = ["image", "label"]
        with_reference = ["image", "label", "reference"]
        everything = ["image", "label", "brain", "hyperdense"]
        optional = {"allow_missing_keys": True}

        def normalised(key: str, low: float, high: float) -> list[MapTransform]:
            steps = [
                StripSkulld(key, brain_key="brain", value=low),
                ScaleIntensityRanged(key, low, high, 0.0, 1.0, clip=True),
            ]
            if normalisation == "percentile":
                steps.append(PercentileZScored(key, brain_key="brain"))
            if normalisation == "minmax":
                steps.append(MinMaxd(key, brain_key="brain"))
            return steps

        steps = [LoadVolumed(with_reference, ["label", "reference"], converted_dir, **optional)]
        if cta:
            steps.append(LoadVolumed("cta", converted_dir=converted_dir, **optional))
        steps += [
            Orientationd([*pair, "cta"] if cta else pair, axcodes="RAS", labels=None, **optional),
            ResampleSpacingd(pair, spacing, mode=["bilinear", "nearest"], **optional),
            ExtractBraind("image", brain_key="brain", method="rules2022"),
        ]
        if regions:
            steps.append(HyperdenseRegiond("image", "brain", "label", region_key="hyperdense"))
        if cta:
            steps.append(RegisterRigidd("cta", reference_key="image"))
        if symmetric:
            steps.append(SymmetryMapd("image", mask_key="brain"))
        steps += normalised("image", *window)
        if cta:
            steps += [*normalised("cta", *cta_window), ConcatItemsd(["image", "cta"], "image")]
            steps.append(DeleteItemsd("cta"))
        steps.append(MarkBraind("image", brain_key="brain"))
        if crop:
            steps.append(
                CropForegroundd(everything, source_key="brain", margin=1, allow_smaller=True, **optional)
            )
        steps.append(TurnHardCased(everything, **optional))
        super().__init__(steps)
