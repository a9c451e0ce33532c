"""RoiMix: how many training patches come from which region; the strategies of Abramova 2021."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor

from tools.core.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoiMix:
    """Shares of the patches by the region that their centre voxel lies in; they add up to 1.

    `lesion` patches are positive. All others are negative: their centres are never lesion voxels.

    Args:
        lesion: annotated lesion.
        image: anywhere in the image.
        brain: anywhere in the brain.
        border: band around the lesion's border.
        centre: cube around the brain's centre.
        ivh: hyperdense voxels that are no lesion, where intraventricular blood lies.
        border_or_ivh: border and hyperdense voxels together, each voxel of either equally likely.

    Raises:
        InputError: a share is negative or not finite, or they do not add up to 1.
    """

    lesion: float = 0.0
    image: float = 0.0
    brain: float = 0.0
    border: float = 0.0
    centre: float = 0.0
    ivh: float = 0.0
    border_or_ivh: float = 0.0

    def __post_init__(self) -> None:
        shares = asdict(self)
        for name, share in shares.items():
            if not (isinstance(share, (int, float)) and math.isfinite(share) and share >= 0):
                raise InputError(f"RoiMix: share '{name}' should be a number from 0 to 1, got {share!r}")
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise InputError(f"RoiMix: shares should add up to 1, got {sum(shares.values()):g} from {shares}")

    @classmethod
    def of(cls, mix: RoiMix | str | Mapping[str, float]) -> RoiMix:
        """The mix itself, a preset by its name, or shares by region name."""
        if isinstance(mix, RoiMix):
            return mix
        if isinstance(mix, str):
            if mix not in PRESETS:
                raise InputError(f"RoiMix: preset should be one of {', '.join(PRESETS)}, got '{mix}'")
            return PRESETS[mix]
        unknown = sorted(set(mix) - set(REGIONS))
        if unknown:
            raise InputError(
                f"RoiMix: regions should be among {', '.join(REGIONS)}, got {', '.join(unknown)}"
            )
        return cls(**mix)

    @property
    def shares(self) -> Tensor:
        """Shares in the order of `REGIONS`, (regions,) float64."""
        return torch.tensor([getattr(self, name) for name in REGIONS], dtype=torch.float64)

    def needs(self, region: str) -> bool:
        """Whether patches are wanted from a region."""
        return getattr(self, region) > 0

    def resolve(self, counts: Tensor, quiet: bool = False) -> Tensor:
        """Shares per case, (cases, regions) float64, given the voxels that each region has there.

        The share of an empty negative region goes to the other negative regions of the mix, in proportion;
        when all are empty, to the brain, and failing that to the image. A case without lesion gives only
        negatives, one that is all lesion only positives.

        Args:
            counts: voxels per case and region, (cases, regions) int64, regions in the order of `REGIONS`.
            quiet: do not log which regions are empty.

        Raises:
            InputError: a case in which no region has a voxel.
        """
        present = counts.cpu() > 0
        wanted = self.shares
        shares = torch.where(present, wanted, 0.0)
        negative = torch.arange(len(REGIONS)) != REGIONS.index("lesion")
        for row, has in zip(shares, present, strict=True):
            if row[negative].sum() == 0:  # every wanted one is empty: fall back on ever larger ones
                fallback = next((name for name in ("brain", "image") if has[REGIONS.index(name)]), None)
                if fallback is not None and (wanted[negative].sum() > 0 or row.sum() == 0):
                    row[REGIONS.index(fallback)] = 1.0
            lesion = wanted[0] if row[0] > 0 else row.new_zeros(())
            if row[negative].sum() > 0:
                row[negative] *= (1 - lesion) / row[negative].sum()
            elif row[0] > 0:
                row[0] = 1.0
            else:
                raise InputError(
                    "RoiMix: every case should have a voxel in some region, got one that has none"
                )
        for name, empty in zip(REGIONS, (~present).sum(0).tolist(), strict=True):
            if empty and self.needs(name) and not quiet:  # so that no share moves unseen
                found = f"'{name}' is empty in {empty} of {len(counts)} cases"
                logger.info("RoiMix: region %s; the others there take its share", found)
        return shares


REGIONS: tuple[str, ...] = tuple(field.name for field in fields(RoiMix))
"""Names of the regions; their order is the region index used throughout."""

PRESETS: dict[str, RoiMix] = {
    "none": RoiMix(lesion=0.5, image=0.5),
    "brain": RoiMix(lesion=0.5, brain=0.5),
    "brain_border": RoiMix(lesion=0.5, brain=0.35, border=0.15),
    "brain_border_centre": RoiMix(lesion=0.5, brain=0.2, border=0.15, centre=0.15),
    "brain_border_ivh": RoiMix(lesion=0.5, brain=0.2, border=0.15, ivh=0.15),
    "border_or_ivh": RoiMix(lesion=0.5, brain=0.35, border_or_ivh=0.15),
    "only_border_and_ivh": RoiMix(lesion=0.5, border=0.25, ivh=0.25),
}
"""The strategies of Tables 3 and 4 of Abramova 2021, and one more: half lesion, the others uniform in the
brain but for 30 % from the border band (sections 2.2.1, 3.3). That other regions get the same 30 % is our
reading. `only_border_and_ivh`, without plain brain, is how this project first read the final model."""
