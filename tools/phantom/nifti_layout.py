"""Cases as NIfTI files with a MONAI datalist.

OUT/images/case_000.nii.gz      int16 HU
OUT/labels/case_000.nii.gz      uint8 0/1, the task's lesion
OUT/classes/case_000.nii.gz     uint8, 0 background 1 EDH 2 IPH 3 IVH 4 SAH 5 SDH
OUT/brains/case_000.nii.gz      uint8, inside of the skull (brain, ventricles, sulci, extra-axial blood)
OUT/ventricles/case_000.nii.gz  uint8
OUT/truth/case_000.json         seed, kind, mid-sagittal plane, pose, volumes; written last
OUT/dataset.json                datalist with folds
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.core.files import nifti_bytes, write_bytes
from tools.phantom.head import PhantomCase

#: Key in the datalist, and folder, of each volume of a case.
FOLDERS = {
    "image": "images",
    "label": "labels",
    "classes": "classes",
    "brain": "brains",
    "ventricles": "ventricles",
}


class NiftiLayout:
    """Writes cases below `out`; `types` make up the label."""

    name = "nifti"

    def __init__(self, out: Path, types: Sequence[str], description: str) -> None:
        self.out, self.types, self.description = out, types, description

    def path(self, key: str, case: str) -> str:
        """Path of a volume relative to `out`."""
        return f"{FOLDERS[key]}/{case}.nii.gz"

    def write(self, case: PhantomCase, name: str) -> None:
        """Write the volumes of a case."""
        volumes = {
            "image": case.image.as_tensor().to(torch.int16),
            "label": case.label(self.types).as_tensor(),
            "classes": case.classes.as_tensor(),
            "brain": case.brain.as_tensor(),
            "ventricles": case.ventricles.as_tensor(),
        }
        affine = np.asarray(case.affine.cpu())
        for key, volume in volumes.items():
            write_bytes(self.out / self.path(key, name), nifti_bytes(volume[0].cpu().numpy(), affine))

    def complete(self, truth: dict[str, Any]) -> bool:
        """Whether all files of a case exist."""
        return all((self.out / self.path(key, truth["case"])).is_file() for key in FOLDERS)

    def entry(self, truth: dict[str, Any]) -> dict[str, Any]:
        """A case's line in `dataset.json`; paths are relative to it."""
        name = truth["case"]
        return {key: self.path(key, name) for key in FOLDERS} | {
            "truth": f"truth/{name}.json",
            "case": name,
            "patient": name,
            "ivh": truth["volume_ml"]["ivh"] > 0,
            "volume_ml": truth["volume_ml"],
        }

    def finish(self, truths: Sequence[dict[str, Any]], cases: int, folds: int) -> Path:
        """Write `dataset.json`: the first `cases` train, the others test."""
        dataset = {
            "name": f"phantom_{truths[0]['kind']}",
            "description": self.description,
            "labels": {"0": "background", "1": "hemorrhage"},
            "training": [self.entry(t) | {"fold": i % folds} for i, t in enumerate(truths[:cases])],
            "testing": [self.entry(t) for t in truths[cases:]],
        }
        path = self.out / "dataset.json"
        write_bytes(path, (json.dumps(dataset, indent=2) + "\n").encode())
        return path
