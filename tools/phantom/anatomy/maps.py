"""Reading a folder of label maps: which numbers they use, whether they are whole, and their grid.

Three numberings are read: FreeSurfer's with those of the whole-head maps of SynthSeg (`labels`), BrainWeb's
twelve tissues, and any other with a file `labels.json` beside the maps, {"number in the map": number of
`labels`, ...}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F

from tools.core.errors import InputError
from tools.phantom.anatomy import labels as L

#: Where the maps that `KNOWN_MAPS` lists come from.
SOURCE = (
    "https://github.com/BBillot/SynthSeg/tree/66342c1f/data/training_label_maps"
    " (Apache-2.0; Billot et al., Medical Image Analysis 2023)"
)

#: SHA-256 of the 20 whole-head maps of SynthSeg.
KNOWN_MAPS = {
    "training_seg_01.nii.gz": "4ed64dd063649054f0f14315662cf5f65f6ad2d240eb1180df8bf04f26e408be",
    "training_seg_02.nii.gz": "de61ac0483b5ae0b9c4f1e76e0209e9aaf35d3077bf53dc392dcc8a051a2703f",
    "training_seg_03.nii.gz": "cdbccdf2d75def76ec5311adf335e89c730f8ed89808eda281887030dbf9f279",
    "training_seg_04.nii.gz": "139efd0ff81404f463f9531297b589ff2ec6ddf721e9166e2aa8e6660f216b7e",
    "training_seg_05.nii.gz": "62047a6929bd9905ccc8125a7c9f584d422210a2bd77d1f418b4ad16a21f6251",
    "training_seg_06.nii.gz": "101e13d09350975a9533890b812fecd4da90e06d970ba5e00f9872973139ca8f",
    "training_seg_07.nii.gz": "b56c72532fce71ce21859558561d5bd25ec0a087aa5988a80f121339afbc28a2",
    "training_seg_08.nii.gz": "7294f6e6500333ec3ae41b7601527e614c4a182d2573bd667472b4403d0271a8",
    "training_seg_09.nii.gz": "9072a4b936297ef53e50f0649cc34dfe4248dc18986ca6058fc93b57ce71ca10",
    "training_seg_10.nii.gz": "b6e1a8f35148c9061d63992703cfe4b299e712a81e2744c31f94d3bababef826",
    "training_seg_11.nii.gz": "c130649b012d77a33c33fd5680859f407c6474e968fbf4d8b2edd393fdc74755",
    "training_seg_12.nii.gz": "c01d6a2f897cf8e60ae32e53e6b284266fa234a00f4e31961ef464a52d0cbda3",
    "training_seg_13.nii.gz": "a0709dc05d89a84d7412a57e1e7559e05de6c316e30e06419124984407fc8b18",
    "training_seg_14.nii.gz": "e99c34e850cce0a5f1ea77c6bde99bee60c2162dde9f35868d39b633c06378b7",
    "training_seg_15.nii.gz": "40a3964a7403a56effaef3178d9884d619a70953d43b02702f303eccf3418e54",
    "training_seg_16.nii.gz": "44906fc8eb121dbddbbae556de851d1c3f99fdcfafc1204b2a3b5681eba72e4b",
    "training_seg_17.nii.gz": "d1cb4ffccff1155042807f6e5a267215deb0604d3e7bb550e73788d67da8e904",
    "training_seg_18.nii.gz": "7db34536934d482a6930ba3df889160ea3c1faa12ae46c822f7e5c7819fbbb34",
    "training_seg_19.nii.gz": "00edde62b8f4c25b6842abba1f80bc7b0665b8026625ea7fa8f1c3f77d762eef",
    "training_seg_20.nii.gz": "8f21433b9ae2fa0d2db3bc2b18c76e545cf5e9cc2298db71f4c6cd4732f6098b",
}

#: BrainWeb's discrete tissues (Aubert-Broche et al. 2006). They name no sides, no ventricles, no dura and no
#: parts of the grey matter: `prepare` finds sides and ventricles by their place.
BRAINWEB = {
    0: L.AIR, 1: L.CSF, 2: L.CORTEX_LEFT, 3: L.WHITE_LEFT, 4: L.FAT, 5: L.MUSCLE, 6: L.SKIN, 7: L.BONE,
    8: L.SINUS, 9: L.SOFT, 10: L.CSF, 11: L.MARROW,
}  # fmt: skip


@dataclass
class LabelMap:
    """Label map on a RAS grid of 1 mm.

    labels int16 (X, Y, Z), numbers of `labels`; affine 4x4 float64, voxel to RAS mm.
    """

    name: str
    labels: torch.Tensor
    affine: np.ndarray


def stem(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def list_maps(folder: str | Path, names: Sequence[str] | None = None) -> list[Path]:
    """The maps (.nii, .nii.gz) of a folder by name; `names` chooses some, with or without their ending.

    Raises:
        InputError: no folder, no map in it, or a name that is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected 'procedural' or a folder of label maps, found no folder; maps: {SOURCE}"
        )
    paths = {
        stem(path): path for path in sorted(folder.glob("*.nii*")) if path.name.endswith((".nii", ".nii.gz"))
    }
    if not paths:
        raise InputError(f"{folder}: expected label maps (.nii.gz), found none; maps: {SOURCE}")
    if names is None:
        return list(paths.values())
    chosen = [stem(Path(name)) for name in ([names] if isinstance(names, str) else names)]
    if not chosen:
        raise InputError("maps: expected at least one name of a label map, found none")
    missing = [name for name in chosen if name not in paths]
    if missing:
        raise InputError(
            f"{folder}: expected label maps named {', '.join(chosen)}, found none named {', '.join(missing)}"
        )
    return [paths[name] for name in chosen]


def check_bytes(path: Path) -> None:
    """Raise `InputError` when a map of `KNOWN_MAPS` was altered or cut short on its way."""
    expected = KNOWN_MAPS.get(path.name)
    if expected is not None:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise InputError(
                f"{path}: expected SHA-256 {expected[:12]}..., found {found[:12]}...;"
                f" fetch it again from {SOURCE}"
            )


def read_numbering(folder: Path) -> dict[int, int] | None:
    """`labels.json` of a folder, or None where there is none."""
    path = folder / "labels.json"
    if not path.is_file():
        return None
    try:
        table = {int(key): int(value) for key, value in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: expected {{'number in the map': label, ...}}, found {error}") from None
    unknown = sorted(set(table.values()) - L.KNOWN)
    if unknown:
        raise InputError(f"{path}: expected labels of tools.phantom.anatomy.labels, found {unknown[:5]}")
    return table


def renumber(array: np.ndarray, table: dict[int, int] | None, path: Path) -> np.ndarray:
    """int16 array in the numbers of `labels`; without a table BrainWeb's are recognised by their range."""
    present = np.flatnonzero(np.bincount(array.ravel()))
    if table is None:
        table = BRAINWEB if present.max() <= 11 else {number: number for number in L.KNOWN}
    unknown = [int(number) for number in present if int(number) not in table]
    if unknown:
        raise InputError(
            f"{path}: expected FreeSurfer's or BrainWeb's label numbers, or a labels.json that maps others,"
            f" found {unknown[:5]}"
        )
    lookup = np.zeros(int(present.max()) + 1, np.int16)
    for number in present:
        lookup[number] = table[int(number)]
    return lookup[array]


def read_map(path: str | Path) -> LabelMap:
    """Read a label map onto a RAS grid of 1 mm (nearest label).

    Raises:
        InputError: no readable three-dimensional NIfTI file of whole numbers, a known map with other
            bytes, an unknown label number, or no brain in it.
    """
    path = Path(path)
    check_bytes(path)
    try:
        image = nib.as_closest_canonical(nib.load(path))
        array = np.asanyarray(image.dataobj)
    except Exception as error:
        raise InputError(f"{path}: expected a readable NIfTI label map, found {error}") from None
    array = array.reshape(array.shape[:3]) if array.ndim > 3 and set(array.shape[3:]) == {1} else array
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"{path}: expected a three-dimensional label map, found shape {array.shape}")
    whole = np.issubdtype(array.dtype, np.integer)
    if not whole and (not np.isfinite(array).all() or (array != np.rint(array)).any()):
        raise InputError(f"{path}: expected whole label numbers from 0, found other values")
    if array.min() < 0 or array.max() > 32767:
        raise InputError(
            f"{path}: expected label numbers from 0 to 32767, found {array.min()} to {array.max()}"
        )
    array = renumber(array.astype(np.int16), read_numbering(path.parent), path)
    affine = np.asarray(image.affine, float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    labels = torch.from_numpy(np.ascontiguousarray(array))
    if not np.allclose(spacing, 1, atol=1e-3):
        shape = [max(1, round(n * mm)) for n, mm in zip(labels.shape, spacing, strict=True)]
        labels = F.interpolate(labels[None, None].float(), size=shape, mode="nearest-exact")[0, 0].to(
            torch.int16
        )
        scale = np.asarray(array.shape) / np.asarray(shape)  # voxels of the map per voxel of the grid
        affine = affine @ np.diag([*scale, 1.0])
        affine[:3, 3] += np.asarray(image.affine)[:3, :3] @ (scale / 2 - 0.5)
    if L.is_in(labels, (*L.WHITE, *L.CORTEX)).sum() < 1000:
        raise InputError(f"{path}: expected a label map of a head, found less than 1 mL of brain")
    return LabelMap(stem(path), labels, affine)
