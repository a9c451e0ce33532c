"""Training windows at the places where inference cuts them, those without hemorrhage undersampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from scripts.windows import check_stride
from tools.core.errors import InputError
from tools.sampling.mix import REGIONS
from tools.sampling.patches import StoredVolume
from tools.sampling.sampler import RoiPatchSampler

__all__ = ["WindowSampler", "window_masks"]


def window_masks(masks: Sequence[torch.Tensor], size: int = 160, stride: int = 80) -> list[torch.Tensor]:
    """Regions of pixels turned into regions of windows: one pixel, the centre, per window of a region.

    A window that shows lesion belongs to the lesion alone. The grid is that of `WindowedNetwork`: where it
    does not fit the slice, its last windows reach beyond the end, at most so far that their centre is in it.

    Args:
        masks: (X, Y, Z) bool in the order of `tools.sampling.mix.REGIONS`, X and Y at least `size`.
        size, stride: of the windows, in pixels; the centre of an even size is the pixel after its middle.
    """
    rows, columns = (
        [min(start, n - 1 - size // 2) for start in range(0, n - size + stride, stride)]
        for n in masks[0].shape[:2]
    )

    def shown(mask: torch.Tensor) -> torch.Tensor:
        """(rows, columns, Z): whether a window shows something of the mask."""
        strips = torch.stack([mask[i : i + size].any(0) for i in rows])
        return torch.stack([strips[:, j : j + size].any(1) for j in columns], 1)

    places = [torch.tensor(starts, device=masks[0].device) + size // 2 for starts in (rows, columns)]
    lesion = shown(masks[REGIONS.index("lesion")])
    result = []
    for name, mask in zip(REGIONS, masks, strict=True):
        centres = torch.zeros_like(mask)
        centres[places[0][:, None], places[1]] = lesion if name == "lesion" else shown(mask) & ~lesion
        result.append(centres)
    return result


class WindowSampler(RoiPatchSampler):
    """`RoiPatchSampler` whose patches are the windows that slices are cut into (Hssayeni 2020).

    Each epoch draws windows with hemorrhage and, as undersampling, no more without it than the mix says.

    Args:
        cohort: slices or volumes, at least one window large.
        roi_size: size of the windows, square.
        stride: pixels between windows.
        mix: shares of windows: `lesion` those that show some, `image` any other, `brain` any other that shows
            more than background.
        kwargs: see `RoiPatchSampler`.

    Raises:
        InputError: windows that are not square, larger than a slice, or with gaps between them.
    """

    def __init__(
        self,
        cohort: Sequence[Mapping[str, Any]],
        roi_size: Sequence[int] = (160, 160),
        stride: int = 80,
        mix: Mapping[str, float] | str = "none",
        **kwargs: Any,
    ) -> None:
        if roi_size[0] != roi_size[1]:
            raise InputError(f"roi_size: expected square windows, found {list(roi_size)}")
        check_stride(roi_size[0], stride)
        self.stride = stride
        super().__init__(cohort, roi_size, mix, **kwargs)
        self.settings["stride"] = stride

    def read_case(self, item: Mapping[str, Any], index: int) -> tuple[StoredVolume, list[torch.Tensor]]:
        """See `RoiPatchSampler`; the regions are sets of windows."""
        volume, masks = super().read_case(item, index)
        size = self.roi_size[0]
        if min(masks[0].shape[:2]) < size:
            raise InputError(
                f"roi_size: expected slices of at least {size} x {size}, found {tuple(masks[0].shape[:2])}"
            )
        return volume, window_masks(masks, size, self.stride)
