"""Headers with any bytes changed: a volume that passes all checks, or one line, and never another error."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tools.core.errors import InputError
from tools.volumes.dicom import list_series, select_series
from tools.volumes.read import read_volume

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of values that are none

SETTINGS = hypothesis.settings(
    max_examples=100,
    deadline=None,
    derandomize=True,  # the same examples in each run
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
SHAPE = (8, 8, 4)
SMALL = 2**16  # values of a header that ask for more memory than this are the business of the size check


def nifti() -> bytes:
    """A volume of 8x8x4 voxels with air and bone, not compressed."""
    import nibabel as nib

    voxels = np.linspace(-1000, 1000, int(np.prod(SHAPE))).reshape(SHAPE).astype(np.int16)
    return nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 5.0, 1.0])).to_bytes()


GOOD = nifti()


@SETTINGS
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6),
    st.one_of(st.just(len(GOOD)), st.integers(0, len(GOOD))),
    st.booleans(),
)
def test_nifti(tmp_path_factory, changes, length, packed):
    """One to six bytes of the header, perhaps cut, perhaps gzipped."""
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    sizes = np.frombuffer(bytes(data[42:56]), np.int16).astype(np.int64)
    hypothesis.assume(np.abs(sizes[sizes != 0]).prod() < SMALL)
    path = folder_of(tmp_path_factory) / ("a.nii.gz" if packed else "a.nii")
    content = bytes(data[:length])
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    volume, line = answer(read_volume, path)
    if volume is None:
        assert str(path) in line
        assert "expected" in line
    else:
        assert volume.ndim == 4
        assert torch.isfinite(volume).all()
        assert torch.isfinite(volume.affine).all()


def dicom(folder: Path, values: dict[str, object]) -> Path:
    """One slice whose attributes may be anything that pydicom writes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["slice"])
    slice_ = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    slice_.StudyInstanceUID = slice_.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    slice_.Modality, slice_.Rows, slice_.Columns = "CT", 4, 4
    slice_.BitsAllocated = slice_.BitsStored = 16
    slice_.HighBit, slice_.PixelRepresentation, slice_.SamplesPerPixel = 15, 1, 1
    slice_.PhotometricInterpretation = "MONOCHROME2"
    slice_.PixelSpacing, slice_.ImagePositionPatient = [1, 1], [0, 0, 0]
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.PixelData = bytes(32)
    with pydicom.config.disable_value_validation():
        for keyword, value in values.items():
            if value is None:
                delattr(slice_, keyword)
            else:
                setattr(slice_, keyword, value)
        path = folder / "a.dcm"
        slice_.save_as(path, enforce_file_format=True)
    return path


NUMBERS = st.one_of(st.none(), st.integers(0, 65535))
TEXTS = st.one_of(st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12))
VALUES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("Rows", "Columns", "BitsAllocated", "SamplesPerPixel"), NUMBERS),
        **dict.fromkeys(("Modality", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID"), TEXTS),
        "PixelSpacing": st.one_of(st.none(), st.lists(st.integers(-3, 3), max_size=3)),
        "ImageOrientationPatient": st.one_of(st.none(), st.lists(st.integers(-1, 1), max_size=7)),
    },
)


@SETTINGS
@hypothesis.given(VALUES, st.lists(st.tuples(st.integers(132, 700), st.integers(0, 255)), max_size=4))
def test_dicom(tmp_path_factory, values, changes):
    """Attributes of other kinds or none, and up to four bytes changed below the preamble."""
    folder = folder_of(tmp_path_factory)
    try:
        path = dicom(folder, values)
    except (ValueError, TypeError, AttributeError, OverflowError):  # pydicom can't write it: nothing to read
        hypothesis.reject()
    data = bytearray(path.read_bytes())
    for place, value in changes:
        if place < len(data):
            data[place] = value
    path.write_bytes(data)
    for read in (list_series, select_series):
        found, line = answer(read, folder)
        assert found or (str(folder) in line and "expected" in line)


def answer(read: Callable[[Path], Any], path: Path) -> tuple[Any, str]:
    """What it gives, or the line that it raises."""
    try:
        return read(path), ""
    except InputError as error:
        return None, str(error)


def folder_of(tmp_path_factory) -> Path:
    """One folder for all examples, emptied: thousands of them would be slow."""
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    for file in os.scandir(folder):
        os.unlink(file)
    return folder
