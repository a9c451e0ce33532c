"""Studies of DICOM -> NIfTI volumes beside the datalist, chosen and converted as `headct predict` does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.volumes import file_name
from headct.predict.input.scan import read_scan
from headct.predict.input.sources import Source, Study
from tools.core.errors import InputError
from tools.core.files import nifti_bytes, write_bytes
from tools.volumes.dicom import read_header


def study_of(path: Path, files: Sequence[Path]) -> Source:
    """The study of these files.

    Raises:
        InputError: a file that is no DICOM image.
    """
    study = Study("")
    for file in files:
        header, reason = read_header(file)
        if header is None:
            raise InputError(f"{file}: expected a DICOM image, found {reason}")
        study.headers[file] = header
    return Source(path, path.name, study)


def converted(collection: Collection, source: Source, case: str, options: Options) -> Path:
    """The plain head CT of a study as NIfTI in HU, int16; returns its path in the folder of the masks.

    Raises:
        InputError: see `headct.predict.input.scan.read_scan`.
    """
    options.masks.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hemorrhage_ct_") as work:
        scan = read_scan(source, None, Path(work))
    volume = np.rint(scan.volume.numpy()[0]).clip(-32768, 32767).astype(np.int16)
    target = options.masks / "images" / f"{file_name(case)}.nii.gz"
    for note in scan.notes:
        collection.find("note", f"{case}: {note}")
    return write_bytes(target, nifti_bytes(volume, scan.volume.affine.numpy()))
