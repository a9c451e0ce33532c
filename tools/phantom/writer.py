"""Phantom cases on disk: NIfTI files, one truth file per case, and a MONAI datalist.

    OUT/images/case_000.nii.gz      int16 HU
    OUT/labels/case_000.nii.gz      uint8 0/1, the task's lesion
    OUT/classes/case_000.nii.gz     uint8, 0 background 1 EDH 2 IPH 3 IVH 4 SAH 5 SDH
    OUT/brains/case_000.nii.gz      uint8, inside of the skull (brain, ventricles, sulci, extra-axial blood)
    OUT/ventricles/case_000.nii.gz  uint8
    OUT/truth/case_000.json         seed, kind, mid-sagittal plane, pose, volumes; written last
    OUT/dataset.json                datalist with folds

The truth file names every argument and is written last, so an interrupted run goes on where it stopped and a
case made with other arguments is made again.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

from tools.errors import InputError
from tools.phantom.head import HeadPhantom, PhantomCase
from tools.phantom.kinds import check_kind, lesion_types

#: Raised whenever the same seed gives another picture, so that old files are not taken for new ones.
PHANTOM_VERSION = 2

LAYOUTS = ("nifti", "ct_ich_v1")
FOLDERS = ("images", "labels", "classes", "brains", "ventricles")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def nifti_bytes(array: np.ndarray, affine: np.ndarray) -> bytes:
    """Gzipped NIfTI-1 of `array`, mm, scanner coordinates; the same input gives the same bytes."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    return gzip.compress(image.to_bytes(), compresslevel=3, mtime=0)


def write_case(
    out: Path, name: str, case: PhantomCase, lesion: Sequence[str], parameters: dict[str, Any]
) -> None:
    """Write one case; its truth file comes last and so marks it as complete."""
    affine = np.asarray(case.affine)
    arrays = {
        "images": case.image.round().clamp(-32768, 32767).to(torch.int16),
        "labels": case.label(lesion),
        "classes": case.classes,
        "brains": case.brain,
        "ventricles": case.ventricles,
    }
    for folder, tensor in arrays.items():
        array = (
            tensor.as_tensor()[0].cpu().numpy() if hasattr(tensor, "as_tensor") else tensor[0].cpu().numpy()
        )
        write_bytes(out / folder / f"{name}.nii.gz", nifti_bytes(array, affine))
    truth = {"case": name, **case.truth, "lesion": list(lesion), "parameters": parameters}
    write_bytes(out / "truth" / f"{name}.json", (json.dumps(truth, indent=2) + "\n").encode())


def finished(out: Path, name: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Truth of a complete case that was made with these very parameters, else None."""
    try:
        truth = json.loads((out / "truth" / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    complete = all((out / folder / f"{name}.nii.gz").is_file() for folder in FOLDERS)
    return truth if complete and truth.get("parameters") == parameters else None


def datalist_entry(truth: dict[str, Any], fold: int | None) -> dict[str, Any]:
    """One line of `dataset.json`; paths are relative to it."""
    name = truth["case"]
    keys = {
        "image": "images",
        "label": "labels",
        "classes": "classes",
        "brain": "brains",
        "ventricles": "ventricles",
    }
    entry: dict[str, Any] = {key: f"{folder}/{name}.nii.gz" for key, folder in keys.items()}
    entry |= {"truth": f"truth/{name}.json", "case": name, "patient": name}
    if fold is not None:
        entry["fold"] = fold
    return entry | {"ivh": truth["volume_ml"]["ivh"] > 0, "volume_ml": truth["volume_ml"]}


def check_arguments(
    cases: int,
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    folds: int,
    test_cases: int,
    layout: str,
) -> None:
    """Raise `InputError` for the first argument that cannot be used."""
    if int(cases) != cases or cases < 1:
        raise InputError(f"cases: expected a whole number above 0, found {cases!r}")
    if int(test_cases) != test_cases or test_cases < 0:
        raise InputError(f"test_cases: expected a whole number from 0, found {test_cases!r}")
    if int(seed) != seed or seed < 0:
        raise InputError(f"seed: expected a whole number from 0, found {seed!r}")
    if int(folds) != folds or folds < 1:
        raise InputError(f"folds: expected a whole number above 0, found {folds!r}")
    if layout not in LAYOUTS:
        raise InputError(f"layout: expected one of {', '.join(LAYOUTS)}, found {layout!r}")


def write_phantoms(
    out: str | Path,
    cases: int = 12,
    seed: int = 0,
    shape: Sequence[int] = (256, 256, 32),
    spacing: Sequence[float] = (0.9, 0.9, 5.0),
    kind: str = "iph_ivh",
    folds: int = 5,
    test_cases: int = 0,
    lesion: str | Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    layout: str = "nifti",
    overwrite: bool = False,
) -> Path:
    """Write a synthetic data set to the folder `out` and return the path of its `dataset.json`.

    Args:
        out: folder to write to; complete cases in it that were made with the same arguments are kept.
        cases: number of training cases, shared out to the folds in turn.
        seed: the same seed gives the same bytes.
        shape: voxels along right, anterior, superior.
        spacing: voxel size in mm along the same axes.
        kind: `iph_ivh`, `any`, `normal`, one type, or types joined by `+`.
        folds: number of cross-validation folds.
        test_cases: number of further cases, listed under `testing`.
        lesion: types that make up the binary label; default: IPH for kind `iph_ivh`, else all.
        device: where cases are made.
        layout: `nifti`, or `ct_ich_v1` for the 8-bit JPEG slices of CT-ICH 1.0.0.
        overwrite: make every case again.

    Raises:
        InputError: an argument that cannot be used, or `out` is a file.
    """
    check_arguments(cases, seed, shape, spacing, folds, test_cases, layout)
    check_kind(kind)
    types = lesion_types(kind, lesion)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write phantoms to, found a file")
    if layout == "ct_ich_v1":
        raise InputError("layout: ct_ich_v1 is not available yet, expected nifti")

    parameters = {
        "version": PHANTOM_VERSION,
        "seed": int(seed),
        "shape": [int(n) for n in shape],
        "spacing": [float(mm) for mm in spacing],
        "kind": kind,
        "lesion": list(types),
    }
    entries = []
    for index in tqdm(range(cases + test_cases), desc=f"phantoms ({kind})", unit="case"):
        name = f"case_{index:03d}"
        truth = None if overwrite else finished(out, name, parameters)
        if truth is None:
            case = HeadPhantom(
                seed, index=index, shape=shape, spacing=spacing, kind=kind, device=device
            ).render()
            write_case(out, name, case, types, parameters)
            truth = {"case": name, **case.truth}
        entries.append(datalist_entry(truth, index % folds if index < cases else None))
    dataset = {
        "name": f"phantom_{kind}",
        "description": f"Synthetic head CT, seed {seed}; no patient data. Label: {', '.join(types)}.",
        "labels": {"0": "background", "1": "hemorrhage"},
        "training": entries[:cases],
        "testing": entries[cases:],
    }
    path = out / "dataset.json"
    write_bytes(path, (json.dumps(dataset, indent=2) + "\n").encode())
    return path
