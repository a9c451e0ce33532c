"""The symmetry map as a MONAI dictionary transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from tools.core.tensors import file_name, plain
from tools.symmetry.canonical import HEAD_HU
from tools.symmetry.mirror import AIR_HU, symmetry_map
from tools.symmetry.plane import LOW_SCORE, SOFT_HU, estimate_symmetry_plane
from tools.symmetry.slices import estimate_symmetry_axes, slice_symmetry_map


class SymmetryMapd(MapTransform):
    """Append the mirrored, aligned image as a second channel: (1, X, Y, Z) -> (2, X, Y, Z).

    A slice (1, X, Y) is mirrored at its own axis. Place it after the orientation (RAS) and before the
    intensity is rescaled. It changes no geometry, so that `Invertd` works on predictions. The plane is kept
    in `meta` as `symmetry_normal`, `symmetry_offset` (mm) and `symmetry_score`.

    Args:
        keys: images in HU.
        mask_key: key of a mask, (1, X, Y, Z): what is mirrored is stripped to it; the plane is that of the
            whole head.
        window: HU interval that is compared, for slices of 8-bit images (0, 255).
        fill: value where the mirrored image has no data.
        low_score: below this score a UserWarning names the case.
        spacing: pixel size in mm of slices; None takes their larger side as 240 mm.
        air: values up to this are air, for slices.

    Raises:
        InputError: no head in the image.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        window: Sequence[float] = SOFT_HU,
        fill: float = AIR_HU,
        low_score: float = LOW_SCORE,
        spacing: Sequence[float] | None = None,
        air: float = HEAD_HU,
        mask_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = (float(window[0]), float(window[1]))
        self.fill, self.low_score, self.mask_key = fill, low_score, mask_key
        self.spacing, self.air = spacing, air

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self._stack(out[key], None if self.mask_key is None else out[self.mask_key])
        return out

    def _stack(self, image: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        content = image if mask is None else image.masked_fill(mask == 0, self.fill)
        mirrored, plane = self.mirrored(image, content)
        both = torch.cat([plain(image).float(), plain(mirrored)])
        if not isinstance(image, MetaTensor):
            return both
        both = MetaTensor(both).copy_meta_from(image)
        if plane is not None:
            both.meta |= {f"symmetry_{name}": getattr(plane, name) for name in ("normal", "offset", "score")}
        return both

    def mirrored(self, image: torch.Tensor, content: torch.Tensor):
        """`content` mirrored at the symmetry plane of `image`, and that plane, if one was found."""
        if image.ndim == 4:
            plane = estimate_symmetry_plane(image, window=self.window, low_score=self.low_score)
            return symmetry_map(content, plane, fill=self.fill), plane
        case, name = plain(image)[None], file_name(image, "slice")
        axes = estimate_symmetry_axes(case, self.spacing, self.window, self.air, self.low_score, [name])
        return slice_symmetry_map(plain(content)[None], axes, self.spacing, self.fill)[0], axes[0]
