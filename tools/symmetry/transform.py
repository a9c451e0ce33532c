"""The symmetry map as a MONAI dictionary transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from tools.errors import InputError
from tools.symmetry.itk_backend import itk_symmetry_map


class SymmetryMapd(MapTransform):
    """Append the mirrored, aligned volume as a second channel: (1, X, Y, Z) -> (2, X, Y, Z).

    Args:
        keys: images in HU, RAS, with affine (MetaTensor).
        backend: "itk", rigid registration of the flipped volume.
    """

    def __init__(
        self, keys: KeysCollection = "image", backend: str = "itk", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if backend not in ("itk",):
            raise InputError(f"symmetry backend must be 'itk', got {backend!r}")
        self.backend = backend

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self._stack(out[key])
        return out

    def _stack(self, image: MetaTensor) -> MetaTensor:
        plain = image.as_tensor().float()
        spacing = tuple(float(s) for s in image.affine[:3, :3].norm(dim=0))
        mirrored = itk_symmetry_map(plain[0], spacing)
        return MetaTensor(torch.cat([plain, mirrored[None]])).copy_meta_from(image)
