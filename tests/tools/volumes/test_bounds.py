"""Files that would take all memory, or wait for ever, are refused by their headers, in every reader."""

from __future__ import annotations

import gzip
import json
import os
import signal

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from tools.core.errors import InputError
from tools.data.datalist import inference_cases, load_datalist
from tools.slices.load import slice_cases
from tools.slices.read import read_grey, read_slice
from tools.volumes.dicom import list_series, read_header
from tools.volumes.dicom_file import read_dicom
from tools.volumes.read import find_volume_files, read_label, read_volume

HUGE = (2000, 2000, 1000)  # voxels of a byte, and as float32: 20 GB
AFFINE = np.diag([0.5, 0.5, 5.0, 1.0])


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    """The limit that holds where nobody says another; and an end to whatever waits for a pipe."""

    def end(*_: object) -> None:
        raise TimeoutError("still waiting")

    monkeypatch.delenv("HEADCT_MAX_GB", raising=False)
    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield monkeypatch
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def huge_nifti(path):
    """A header that promises 4 GB of voxels, with none behind it."""
    header = nib.Nifti1Header()
    header.set_data_shape(HUGE)
    header.set_data_dtype(np.uint8)
    header.set_sform(AFFINE, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    return path


def huge_nrrd(path):
    lines = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2000 2000 1000\nencoding: gzip\n"
    path.write_bytes(lines.encode() + b"\n" + gzip.compress(bytes(9)))
    return path


def head(path, behind=b""):
    data = np.full((8, 9, 4), -1000, np.int16)
    data[2:6], data[2, 2] = 40, 1000
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, AFFINE).to_bytes() + behind))
    return path


@pytest.mark.parametrize("read", [read_volume, read_label, lambda path: read_slice(path, 1)])
def test_a_header_that_promises_too_much(tmp_path, read):
    path = huge_nifti(tmp_path / "a.nii.gz")
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: expected a file that takes at most 4.0 GB of memory, found 20.0 GB "
        "(HEADCT_MAX_GB raises the limit)"
    )


def test_the_same_of_what_itk_reads(tmp_path):
    with pytest.raises(InputError, match=r"a\.nrrd: expected a file that takes at most 4\.0 GB .* 20\.0 GB"):
        read_volume(huge_nrrd(tmp_path / "a.nrrd"))


def test_the_same_in_a_datalist(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        huge_nifti(tmp_path / name)
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"training": [{"image": "a.nii.gz", "label": "b.nii.gz", "fold": 0}]}))
    with pytest.raises(InputError, match=r"a\.nii\.gz: expected a file that takes at most 4\.0 GB"):
        load_datalist(path)


def test_the_limit_is_the_users(tmp_path, limit):
    path = head(tmp_path / "a.nii.gz")
    limit.setenv("HEADCT_MAX_GB", "0.000001")  # 1,000 bytes; there are 288 voxels of 2 + 4
    with pytest.raises(InputError, match=r"at most 0\.0 MB of memory"):
        read_volume(path)
    limit.setenv("HEADCT_MAX_GB", "0.001")
    assert read_volume(path).shape == (1, 8, 9, 4)
    for bad in ("many", "0", "-1", "nan"):
        limit.setenv("HEADCT_MAX_GB", bad)
        with pytest.raises(
            InputError, match=f"^HEADCT_MAX_GB: expected a number of GB above 0, found '{bad}'"
        ):
            read_volume(path)


def test_what_is_packed_behind_the_voxels(tmp_path, limit):
    limit.setenv("HEADCT_MAX_GB", "0.01")
    assert read_volume(head(tmp_path / "a.nii.gz", bytes(10**6))).shape == (1, 8, 9, 4)
    with pytest.raises(InputError, match=r"at most 10\.0 MB of memory, found 1\d\.\d MB"):
        read_volume(head(tmp_path / "a.nii.gz", bytes(2 * 10**7)))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.nii", read_volume),
        ("a.nii.gz", read_volume),
        ("a.nrrd", read_volume),
        ("a.nii.gz", read_label),
        ("a.nii", lambda path: read_slice(path, 1)),
        ("a.png", read_slice),
        ("a.png", read_grey),
        ("a.dcm", read_dicom),
        ("a.nii", find_volume_files),
        ("a.nii", inference_cases),
        ("a.png", slice_cases),
    ],
)
def test_a_pipe_is_not_waited_for(tmp_path, name, read):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: expected a file, found a pipe$"):
        read(tmp_path / name)


def test_a_pipe_in_a_datalist_and_in_a_folder(tmp_path):
    for name in ("a.nii", "b.nii"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "dataset.json").write_text('{"testing": [{"image": "a.nii", "label": "b.nii"}]}')
    with pytest.raises(InputError, match=r"a\.nii: expected a file, found a pipe"):
        load_datalist(tmp_path / "dataset.json")
    with pytest.raises(InputError, match=r"expected DICOM images, found none"):
        list_series(tmp_path)


def test_a_device(tmp_path):
    with pytest.raises(InputError, match=r"^/dev/zero: expected a file, found a device or socket$"):
        find_volume_files("/dev/zero")


def dicom(path, syntax=DeflatedExplicitVRLittleEndian, filling=0, **attributes):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = "1.2.3"
    image.SeriesInstanceUID, image.Modality = "1.2", "CT"
    image.Rows = image.Columns = 4
    image.BitsAllocated = 16
    image.add_new(0x00091010, "OB", bytes(filling))
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.PixelData = bytes(32)
    image["PixelData"].VR = "OW"
    image.save_as(path, enforce_file_format=True)
    return path


def test_a_deflated_header_that_grows(tmp_path, limit):
    header, reason = read_header(
        dicom(tmp_path / "small.dcm", filling=6 * 10**7)
    )  # any file may grow to 64 MiB
    assert header is not None, reason
    path = dicom(tmp_path / "large.dcm", filling=10**8)
    assert path.stat().st_size < 200_000
    header, reason = read_header(path)
    assert header is None
    assert reason == "0.1 MB that become 71.3 MB or more (HEADCT_MAX_GB raises the limit)"
    with pytest.raises(InputError, match=r"large\.dcm: expected a file that grows at most 60 times"):
        read_dicom(path)
    limit.setenv("HEADCT_MAX_GB", "1")
    assert read_header(path)[0] is not None


def test_pixels_that_are_only_promised(tmp_path):
    path = dicom(tmp_path / "a.dcm", ExplicitVRLittleEndian, Rows=60000, Columns=60000)
    assert read_dicom(path, stop_before_pixels=True).Rows == 60000
    with pytest.raises(
        InputError, match=r"a\.dcm: expected a file that takes at most 4\.0 GB .* found 21\.6 GB"
    ):
        read_dicom(path)


def test_what_pydicom_reads_is_read_alike(tmp_path):
    for syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian):
        path = dicom(tmp_path / "a.dcm", syntax)
        assert read_dicom(path) == pydicom.dcmread(path)
