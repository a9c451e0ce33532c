"""Writing masks and maps where a viewer finds them over their image."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tools.core.errors import InputError
from tools.core.files import RESULT, nifti_bytes, write_bytes, write_text
from tools.core.names import case_name, is_picture


class SaveMaskd(SaveImaged):
    """Write label maps in the geometry of their file: NIfTI, and of pictures pictures.

    The mask of a JPEG or PNG is a PNG of the same size, 255 on 0; a border that was cut off when the picture
    was read is put on again. The name is the entry `case`, if there is one, which may hold folders. A mask
    keeps both forms (qform and sform) of a NIfTI file. Where the image came from no file, as in MONAI Deploy,
    nothing is written: who handed it over takes the mask from the dictionary.

    MONAI's `SaveImaged` drops the last axis, and with it the affine, of a volume of one slice; this is one,
    so that MONAI Label removes it from the postprocessing.

    Args:
        keys: label maps (1, X, Y, Z) in the geometry of the file, after `Invertd`.
        output_dir, output_postfix: the file is `<output_dir>/<name>_<output_postfix>`, .png or .nii.gz.
            Beside masks of DICOM images, `dicom_cases.csv` says which study each name stands for.
        output_dtype: of NIfTI files.
        pictures: False writes NIfTI files for pictures too, as probabilities need.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        output_postfix: str = "seg",
        output_dtype: torch.dtype = torch.uint8,
        pictures: bool = True,
    ) -> None:
        super().__init__(keys, output_dir=output_dir, output_postfix=output_postfix)
        self.folder, self.postfix = Path(output_dir), output_postfix
        self.dtype, self.pictures = output_dtype, pictures

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            mask = d[key]
            if "filename_or_obj" not in mask.meta:
                continue
            source = Path(mask.meta["filename_or_obj"])
            name = d.get("case") or case_name(source)
            if self.pictures and is_picture(source):
                write_bytes(self.folder / f"{name}_{self.postfix}.png", _png(mask, source))
            else:
                array = mask.as_tensor()[0].to(self.dtype).cpu().numpy()
                content = nifti_bytes(array, mask.affine.cpu().numpy(), source, result=True)
                write_bytes(self.folder / f"{name}_{self.postfix}.nii.gz", content)
            if d.get("study_uid"):
                _note_study(self.folder / "dicom_cases.csv", name, str(d["study_uid"]))
        return d


def _note_study(table: Path, case: str, uid: str) -> None:
    """Keep which study a neutral name stands for."""
    rows = set(table.read_text().splitlines()[1:]) if table.is_file() else set()
    lines = ["case,StudyInstanceUID", *sorted({*rows, f"{case},{uid}"})]
    write_text(table, "\n".join(lines) + "\n")


def _png(mask: MetaTensor, source: Path) -> bytes:
    """The mask (1, X, Y, 1) as a PNG of the size of `source`; the inverse of how pictures are read."""
    with Image.open(source) as picture:
        columns, rows = picture.size
    white = (mask.as_tensor()[0, :, :, 0].cpu().numpy().T[::-1, ::-1] > 0).astype(np.uint8) * 255
    borders = {(rows - white.shape[0]) // 2, (columns - white.shape[1]) // 2}
    if len(borders) != 1 or min(borders) < 0:
        raise InputError(f"{source}: expected a mask of its size {(rows, columns)}, found {white.shape}")
    buffer = io.BytesIO()
    said = PngInfo()
    said.add_text("Software", RESULT.decode())
    Image.fromarray(np.pad(white, borders.pop())).save(buffer, format="PNG", pnginfo=said)
    return buffer.getvalue()
