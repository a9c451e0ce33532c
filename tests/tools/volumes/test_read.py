"""Volumes from NIfTI and DICOM: what comes out, and the one line that each unusable input gets."""

from __future__ import annotations

import gzip
import re
import shutil

import itk
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from headct.predict.input.sources import find_sources
from tools.core.errors import InputError
from tools.data.datalist import inference_cases
from tools.volumes.read import LoadVolumed, find_volume_files, read_label, read_volume

AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 5, -30], [0, 0, 0, 1.0]])  # stored LPS


def head(shape=(8, 9, 4)):
    """Values of a head CT: air, water, bone."""
    data = np.full(shape, -1000, np.int16)
    data[2:6, 2:6] = 40
    data[2, 2] = 1000
    return data


def save(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def test_values_geometry_and_orientation(tmp_path):
    data = head()
    data[7, 8, 3] = -3024
    data[0, 0, 0] = 77
    volume = read_volume(save(tmp_path / "a.nii.gz", data))
    assert volume.shape == (1, 8, 9, 4)
    assert volume.dtype == torch.float32
    assert volume.min() == -1024  # padding below the scale
    assert volume[0, 7, 8, 0] == 77  # LPS -> RAS turns the first two axes round
    assert nib.aff2axcodes(volume.affine.numpy()) == ("R", "A", "S")
    # the voxel stays where it was in the world
    assert np.allclose(volume.affine.numpy() @ [7, 8, 0, 1], AFFINE @ [0, 0, 0, 1])
    kept = read_volume(tmp_path / "a.nii.gz", orientation=None)
    assert np.allclose(kept.affine.numpy(), AFFINE)
    assert kept[0, 0, 0, 0] == 77


def test_a_file_in_a_folder_of_its_name(tmp_path):
    (tmp_path / "a.nii").mkdir()
    save(tmp_path / "a.nii/a.nii", head())
    assert torch.equal(read_volume(tmp_path / "a.nii"), read_volume(tmp_path / "a.nii/a.nii"))


def test_label_keeps_its_values(tmp_path):
    data = np.zeros((8, 9, 4), np.uint8)
    data[0, 0, 0] = 3
    assert read_label(save(tmp_path / "a.nii.gz", data)).unique().tolist() == [0, 3]


def _no_affine(path):
    image = nib.Nifti1Image(head(), AFFINE)
    image.header["sform_code"] = image.header["qform_code"] = 0
    image.header.structarr["sform_code"] = 0
    raw = bytearray(image.to_bytes())
    raw[252:256] = b"\0\0\0\0"  # qform_code, sform_code
    path.write_bytes(raw)


def _no_offset(path):
    raw = bytearray(nib.Nifti1Image(np.tile(head(), (3, 3, 3)), AFFINE).to_bytes())
    raw[108:112] = bytes(4)  # vox_offset
    path.write_bytes(raw)


def _nan(path):
    data = head().astype(np.float32)
    data[1, 1, 1] = np.nan
    save(path, data)


def _truncated(path):
    rng = np.random.default_rng(0)
    save(path, (head() + rng.integers(0, 9, (8, 9, 4))).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-40])


def _truncated_gzip(path):
    rng = np.random.default_rng(0)
    raw = nib.Nifti1Image((head() + rng.integers(0, 9, (8, 9, 4))).astype(np.int16), AFFINE).to_bytes()
    path.write_bytes(gzip.compress(raw)[:-60])


def _as_stored(padding):
    """A head whose values lack their intercept, in a round field of view."""
    data = np.tile(head(), (3, 3, 3)) + 1024
    data[:6, :6] = data[-6:, -6:] = padding
    data[8:16, 9:18] = 1060
    return data


REFUSALS = [
    ("stored.nii.gz", lambda p: save(p, _as_stored(-2000)), "brain near 40, found 1060 in the middle"),
    # name, how the file is made, what the message says
    ("four.nii.gz", lambda p: save(p, np.stack([head(), head()], -1)), "3D volume of several slices"),
    ("flat.nii.gz", lambda p: save(p, head()[..., 0]), "3D volume of several slices"),
    ("slice.nii.gz", lambda p: save(p, head()[..., :1]), "3D volume of several slices"),
    ("no_affine.nii", _no_affine, "expected an affine"),
    ("offset.nii", _no_offset, "from byte 352 on (vox_offset), found 0"),
    ("nan.nii.gz", _nan, "found 1 voxels that are NaN"),
    ("bytes.nii.gz", lambda p: save(p, np.arange(288, dtype=np.uint8).reshape(8, 9, 4)), "Hounsfield units"),
    ("unit.nii.gz", lambda p: save(p, np.linspace(0, 1, 288).reshape(8, 9, 4)), "Hounsfield units"),
    ("truncated.nii", _truncated, "complete NIfTI file"),
    ("truncated.nii.gz", _truncated_gzip, "complete NIfTI file"),
    ("text.nii.gz", lambda p: p.write_text("hello"), "complete NIfTI file"),
    ("scan.png", lambda p: p.write_text("hello"), "expected a NIfTI, NRRD, MetaImage or Analyze file"),
    ("absent.nii.gz", lambda p: None, "found nothing there"),
    ("empty", lambda p: p.mkdir(), "expected DICOM images, found none"),
]


@pytest.mark.parametrize(("name", "make", "message"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refusals_name_the_file(tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}"):
        read_volume(path)


def test_singular_affine(tmp_path):
    path = save(tmp_path / "a.nii", head())
    raw = bytearray(path.read_bytes())
    raw[280:312] = bytes(32)  # first two rows of the sform
    path.write_bytes(raw)
    with pytest.raises(InputError, match="invertible affine"):
        read_volume(path)


def test_label_of_other_shape_or_affine(tmp_path):
    image = save(tmp_path / "image.nii.gz", head())
    smaller = save(tmp_path / "smaller.nii.gz", np.zeros((8, 9, 3), np.uint8))
    moved = save(
        tmp_path / "moved.nii.gz", np.zeros((8, 9, 4), np.uint8), AFFINE + np.eye(4)[:, [3, 3, 3, 0]] * 3
    )
    load = LoadVolumed(["image", "label"], label_keys=["label"])
    with pytest.raises(InputError, match=r"smaller.*expected the shape \(8, 9, 4\).*found \(8, 9, 3\)"):
        load({"image": str(image), "label": str(smaller)})
    with pytest.raises(InputError, match=r"moved.*expected the affine"):
        load({"image": str(image), "label": str(moved)})


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".NII.GZ"])
def test_other_formats_are_what_nifti_is(ending, tmp_path):
    """Written by ITK; read as the NIfTI file of the same volume is."""
    generator = np.random.default_rng(1)
    data = generator.integers(-1000, 1500, (5, 4, 3)).astype(np.int16)
    affine = np.array([[-2.0, 0, 0, 30], [0, -2, 0, 40], [0, 0, 5, -60], [0, 0, 0, 1]])
    if ending != ".hdr":  # Analyze knows no directions
        angle = np.deg2rad(20)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = turn @ affine
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "a.nii.gz")
    path = tmp_path / f"b{ending}"
    if ending == ".NII.GZ":
        path.write_bytes((tmp_path / "a.nii.gz").read_bytes())
    elif ending == ".hdr":
        nib.save(nib.Nifti1Pair(data, affine), path)
    else:
        itk.imwrite(itk.imread(str(tmp_path / "a.nii.gz")), str(path))
    expected, found = (read_volume(p, orientation=None) for p in (tmp_path / "a.nii.gz", path))
    assert torch.equal(expected.as_tensor(), found.as_tensor())
    np.testing.assert_allclose(expected.affine, found.affine, atol=1e-4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".hdr"])
def test_other_formats_are_complete(ending, packed, tmp_path, capfd):
    """One line, and none of ITK's own beside it."""
    data = np.random.default_rng(1).integers(-1000, 1500, (9, 8, 7)).astype(np.int16)
    path = tmp_path / f"a{ending}"
    if ending == ".hdr":
        nib.save(nib.Nifti1Pair(data, AFFINE), path)
    else:
        itk.imwrite(itk.image_from_array(data), str(path), compression=packed)
    assert read_volume(path).shape[0] == 1
    voxels = next((file for file in tmp_path.iterdir() if file != path), path)
    voxels.write_bytes(voxels.read_bytes()[:-60])
    with pytest.raises(InputError, match=rf"a{re.escape(ending)}: expected .*(truncated|received|got only)"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


def test_a_wrong_checksum_is_found(tmp_path):
    data = np.zeros((8, 8, 8), np.int16)
    data[0], data[1] = -1000, 1000
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii\.gz: expected a complete NIfTI file, found: CRC"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("header", "voxels"), [("a.hdr", "a.img"), ("A.HDR", "A.IMG")])
def test_a_pair_is_one_volume(header, voxels, tmp_path):
    nib.save(nib.Nifti1Pair(head(), AFFINE), tmp_path / "pair.hdr")
    (tmp_path / "pair.hdr").rename(tmp_path / header)
    (tmp_path / "pair.img").rename(tmp_path / voxels)
    other = save(tmp_path / "b.nii", head())
    alone = tmp_path / "c.img"
    alone.write_bytes(b"")
    assert find_volume_files(tmp_path) == [tmp_path / header, other, alone]
    assert [source.path for source in find_sources(tmp_path)] == [tmp_path / header, other, alone]
    assert [item["case"] for item in inference_cases(tmp_path)] == [header[0], "b", "c"]


def test_each_dicom_header_is_read_once_to_choose_and_to_convert(series, monkeypatch):
    read = []
    dcmread = pydicom.dcmread

    def counted(file, **options):
        read.append(options.get("stop_before_pixels", False))
        return dcmread(file, **options)

    monkeypatch.setattr(pydicom, "dcmread", counted)
    assert len(inference_cases(series)) == 1
    assert read == [True] * 28
    read.clear()
    read_volume(series)
    assert read == [True] * 28


def test_a_gzipped_file_is_read_once(tmp_path, monkeypatch):
    path = save(tmp_path / "a.nii.gz", np.tile(head(), (10, 10, 10)))
    size = len(gzip.decompress(path.read_bytes()))
    count = 0
    read = gzip._GzipReader.read

    def counted(self, n=-1):
        nonlocal count
        data = read(self, n)
        count += len(data)
        return data

    monkeypatch.setattr(gzip._GzipReader, "read", counted)
    read_volume(path)
    assert size <= count < 1.2 * size  # and the header twice, to know the format


def test_find_volume_files(tmp_path, real_data):
    a = save(tmp_path / "a.nii.gz", head())
    b = save(tmp_path / "b.nii", head())
    assert find_volume_files(tmp_path) == [a, b]
    assert find_volume_files(a) == [a]
    series = real_data / "ge_head_ct_dicom"
    assert find_volume_files(series) == []
    assert [item["image"] for item in inference_cases(series)] == [str(series)]
    with pytest.raises(InputError, match="found nothing there"):
        find_volume_files(tmp_path / "absent")


# The real series: 28 files, gantry tilt 18.5 degrees, uneven slice distances, padding -1500.


@pytest.fixture(scope="module")
def series(real_data):
    return real_data / "ge_head_ct_dicom"


def test_real_series(series, tmp_path):
    volume = read_volume(series, converted_dir=tmp_path)
    assert volume.shape == (1, 512, 611, 37)  # tilt and distances corrected by resampling
    assert volume.min() == -1024
    assert np.allclose(volume.pixdim, [0.488, 0.488, 4.0], atol=0.01)
    axes = volume.affine[:3, :3] / volume.pixdim
    assert torch.allclose(axes.T @ axes, torch.eye(3, dtype=axes.dtype), atol=1e-3)  # no shear is left
    # the scanned length stays: first and last slice as the files give them, along the table
    positions = [pydicom.dcmread(f).ImagePositionPatient[2] for f in series.glob("*.dcm")]
    span = float((volume.affine @ torch.tensor([0.0, 0, 36, 0], dtype=torch.float64))[:3].norm())
    expected = (max(positions) - min(positions)) * np.cos(np.deg2rad(18.5))
    assert span == pytest.approx(expected, abs=float(volume.pixdim[2]))
    again = read_volume(tmp_path / "ge_head_ct_dicom.nii.gz")
    assert torch.equal(again, volume)
    assert torch.allclose(again.affine, volume.affine)


def _copy(series, folder, change=None, count=28):
    folder.mkdir()
    for file in sorted(series.glob("*.dcm"))[:count]:
        image = pydicom.dcmread(file)
        if change:
            change(image)
        image.save_as(folder / file.name)
    return folder


def test_several_series_are_listed_and_can_be_chosen(series, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(series, both / "first", ignore=shutil.ignore_patterns("LICENSE", "*.md"))

    def other(image):
        image.SeriesInstanceUID = "1.2.3"
        image.SeriesNumber = 77
        image.SeriesDescription = "bone kernel"

    _copy(series, both / "second", other)
    with pytest.raises(InputError, match=r"found 2: .*; number 77 \(CT, 28 files, UID 1.2.3\)") as error:
        read_volume(both)
    assert "bone" not in str(error.value)  # descriptions may name a patient
    assert read_volume(both, series=77).shape == (1, 512, 611, 37)
    with pytest.raises(InputError, match="number or UID 5"):
        read_volume(both, series=5)


def test_other_modality(series, tmp_path):
    folder = _copy(series, tmp_path / "mr", lambda image: setattr(image, "Modality", "MR"), count=3)
    with pytest.raises(InputError, match="expected modality CT, found MR"):
        read_volume(folder)


def test_truncated_dicom_is_named(series, tmp_path):
    folder = _copy(series, tmp_path / "cut", count=4)
    victim = sorted(folder.iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:-1000])
    with pytest.raises(InputError, match=re.escape(str(victim))):
        read_volume(folder)


@pytest.mark.parametrize("mm", [0.05, 3000.0])
def test_voxels_in_another_unit_are_refused(tmp_path, mm):
    """An affine in micrometres or in decimetres, for images and labels alike."""
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 4), np.int16), np.diag([mm, mm, 5.0, 1])), path)
    found = re.escape(f"found {mm:.3g} x {mm:.3g} x 5 mm: the affine is wrong, or its unit")
    for read in (read_volume, read_label):
        with pytest.raises(InputError, match=f"expected voxels of 0.1 to 20 mm, {found}"):
            read(path)
