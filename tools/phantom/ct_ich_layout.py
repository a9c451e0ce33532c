"""Cases as 8-bit JPEG slices in the layout of CT-ICH 1.0.0 (Hssayeni 2020, doi 10.13026/w8q8-ky94).

    OUT/Patients_CT/049/brain/1.jpg          650 x 650, brain window (level 40, width 120)
    OUT/Patients_CT/049/brain/1_HGE_Seg.jpg  white hemorrhage on black, only where there is some
    OUT/Patients_CT/049/bone/1.jpg           bone window
    OUT/hemorrhage_diagnosis.csv             one row per slice; starts with a byte-order mark
    OUT/patient_demographics.csv             one row per patient; a header cell holds a line break
    OUT/truth/case_000.json                  as in the other layout

Patients are numbered from 49 and slices from 1 at the skull base, as in the original. A slice fills 640 x 640
pixels and has a black border of 5.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tools.core.files import jpeg_bytes, write_bytes
from tools.core.windows import CT_ICH_WINDOW
from tools.phantom.head import PhantomCase
from tools.phantom.kinds import CLASSES

FIRST_PATIENT = 49
SIZE, BORDER = 640, 5
BONE_WINDOW = (700.0, 3200.0)

#: Columns of the two tables, in their order, and the words of the demographics' remark.
COLUMNS = {
    "ivh": "Intraventricular",
    "iph": "Intraparenchymal",
    "sah": "Subarachnoid",
    "edh": "Epidural",
    "sdh": "Subdural",
}
REMARKS = {
    "ivh": "IVH",
    "iph": "Intracranial HGE",
    "sah": "SAH",
    "edh": "Extradural HGE",
    "sdh": "Subdural HGE",
}
SLICE_HEADER = ["PatientNumber", "SliceNumber", *COLUMNS.values(), "No_Hemorrhage", "Fracture_Yes_No"]
PATIENT_HEADER = [
    "Patient Number", "Age\n(years)", "Gender", *COLUMNS.values(),
    "Fracture (Yes/No)", "Condition on file", "Note",
]  # fmt: skip


def picture(plane: np.ndarray, spacing: tuple[float, float], resample: Image.Resampling) -> np.ndarray:
    """A slice (X, Y) uint8 as the data set shows it: front up, patient's right at the left, 650 x 650."""
    image = Image.fromarray(np.ascontiguousarray(plane.T[::-1, ::-1]))
    width, height = plane.shape[0] * spacing[0], plane.shape[1] * spacing[1]
    scale = SIZE / max(width, height)
    image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), resample)
    whole = Image.new("L", (SIZE + 2 * BORDER,) * 2)
    whole.paste(image, tuple((SIZE + 2 * BORDER - n) // 2 for n in image.size))
    return np.asarray(whole)


def windowed(hu: torch.Tensor, window: tuple[float, float]) -> np.ndarray:
    """8-bit grey values of a display window (level, width)."""
    level, width = window
    grey = ((hu - (level - width / 2)) / width * 255).round().clamp(0, 255)
    return grey.to(torch.uint8).cpu().numpy()


class CtIchLayout:
    """Writes cases below `out`; `types` make up the masks."""

    name = "ct_ich_v1"

    def __init__(self, out: Path, types: Sequence[str], description: str) -> None:
        self.out, self.types, self.description = out, types, description

    def patient(self, name: str) -> int:
        """Patient number of a case."""
        return FIRST_PATIENT + int(name.rsplit("_", 1)[1])

    def folder(self, name: str) -> Path:
        """Folder of a case's slices."""
        return self.out / "Patients_CT" / f"{self.patient(name):03d}"

    def write(self, case: PhantomCase, name: str) -> None:
        """Write the slices of a case, and keep in its truth which slice shows what."""
        spacing = tuple(np.linalg.norm(np.asarray(case.affine.cpu())[:3, :2], axis=0))
        hu = case.image.as_tensor()[0]
        brain, bone = windowed(hu, CT_ICH_WINDOW), windowed(hu, BONE_WINDOW)
        mask = case.label(self.types).as_tensor()[0].cpu().numpy() * np.uint8(255)
        classes = case.classes.as_tensor()[0]
        seen = torch.stack([(classes == CLASSES[kind]).any(0).any(0) for kind in COLUMNS], -1).cpu().tolist()
        folder = self.folder(name)
        for k in range(hu.shape[2]):
            files = {f"brain/{k + 1}.jpg": brain[:, :, k], f"bone/{k + 1}.jpg": bone[:, :, k]}
            for path, plane in files.items():
                data = jpeg_bytes(picture(plane, spacing, Image.Resampling.BICUBIC))
                write_bytes(folder / path, data)
            segmentation = folder / f"brain/{k + 1}_HGE_Seg.jpg"
            segmentation.unlink(missing_ok=True)  # of an earlier run with other arguments
            if mask[:, :, k].any():
                data = jpeg_bytes(picture(mask[:, :, k], spacing, Image.Resampling.NEAREST))
                write_bytes(segmentation, data)
        case.truth["slices"] = [
            [kind for kind, there in zip(COLUMNS, row, strict=True) if there] for row in seen
        ]

    def complete(self, truth: dict[str, Any]) -> bool:
        """Whether all slices of a case exist."""
        slices = truth.get("slices")
        numbers = range(1, len(slices or []) + 1)
        folder = self.folder(truth["case"])
        return bool(slices) and all(
            (folder / window / f"{n}.jpg").is_file() for n in numbers for window in ("brain", "bone")
        )

    def slice_rows(self, truth: dict[str, Any]) -> list[list[int]]:
        """Rows of `hemorrhage_diagnosis.csv`; a fracture is noted on every slice of its patient."""
        fracture = int("fracture" in truth["confounders"])
        patient = self.patient(truth["case"])
        rows = []
        for number, seen in enumerate(truth["slices"], 1):
            flags = [int(kind in seen) for kind in COLUMNS]
            rows.append([patient, number, *flags, int(not seen), fracture])
        return rows

    def patient_row(self, truth: dict[str, Any]) -> list[Any]:
        """Row of `patient_demographics.csv`; what a patient does not have stays empty."""
        seen = [kind for kind in COLUMNS if any(kind in row for row in truth["slices"])]
        flags = [1 if kind in seen else "" for kind in COLUMNS]
        remark = " + ".join(REMARKS[kind] for kind in seen) or "Normal CT"
        fracture = 1 if "fracture" in truth["confounders"] else ""
        patient = self.patient(truth["case"])
        age = "" if truth["age"] is None else int(truth["age"])  # of a real scan it is not known
        return [patient, age, truth.get("sex", "").capitalize(), *flags, fracture, remark, ""]

    def finish(self, truths: Sequence[dict[str, Any]], cases: int, folds: int) -> Path:
        """Write both tables; the data set has no folds, so `cases` and `folds` are not used."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\r\n")
        writer.writerow(SLICE_HEADER)
        writer.writerows(row for truth in truths for row in self.slice_rows(truth))
        write_bytes(self.out / "hemorrhage_diagnosis.csv", table.getvalue().encode("utf-8-sig"))
        table = io.StringIO()
        # Words in quotes, numbers and empty cells bare.
        for row in [PATIENT_HEADER, *(self.patient_row(truth) for truth in truths)]:
            cells = [f'"{cell}"' if isinstance(cell, str) and cell else str(cell) for cell in row]
            table.write(",".join(cells) + "\n")
        write_bytes(self.out / "patient_demographics.csv", table.getvalue().encode())
        return self.out
