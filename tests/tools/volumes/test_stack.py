"""Slices of a series: what is left out, what is taken once, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGExtended12Bit,
)

from tools.core.errors import InputError
from tools.volumes.dicom import list_series, series_of
from tools.volumes.read import read_volume
from tools.volumes.stack import stack_slices

N, STEP = 12, 5.0
Change = Callable[[int, Dataset], None]


def dataset(i: int, change: Change = lambda i, d: None, height: float | None = None) -> Dataset:
    """Slice number i of a head-like block: air around, bone, and i HU inside."""
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, f"1.2.3.{i + 1}"
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.1", "1.2.2", "1.2.9"
    d.Modality, d.ImageType, d.SeriesNumber, d.AcquisitionNumber = (
        "CT",
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        2,
        1,
    )
    d.Rows = d.Columns = 32
    d.PixelSpacing, d.SliceThickness, d.ImageOrientationPatient = [6, 6], STEP, [1, 0, 0, 0, 1, 0]
    d.ImagePositionPatient = [-93, -93, i * STEP if height is None else height]
    d.SamplesPerPixel, d.PhotometricInterpretation, d.BitsAllocated = 1, "MONOCHROME2", 16
    d.BitsStored, d.HighBit, d.PixelRepresentation, d.RescaleSlope, d.RescaleIntercept = 16, 15, 0, 1, -1024
    hu = np.full((32, 32), -1000)
    hu[6:26, 6:26] = 1000
    hu[8:24, 8:24] = 10 + i
    d.PixelData = (hu + 1024).astype("<u2").tobytes()
    change(i, d)
    return d


def write(folder: Path, datasets: list[Dataset]) -> Path:
    folder.mkdir(parents=True)
    for number, d in enumerate(datasets):
        d.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder


def stacked(folder: Path, **options) -> tuple[list[float], list[str]]:
    """Heights of the slices that are taken, and what is said."""
    (series,) = list_series(folder)
    slices, notes = stack_slices(series.headers, **options)
    return [float(d.ImagePositionPatient[2]) for d in slices.values()], notes


def beside(kind: list[str], placed: bool) -> Dataset:
    d = dataset(90)
    d.ImageType, d.ImageOrientationPatient = kind, [1, 0, 0, 0, 0, -1]
    if not placed:
        for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
            delattr(d, keyword)
    return d


WHOLE = [i * STEP for i in range(N)]


@pytest.mark.parametrize(
    "other",
    [
        beside(["ORIGINAL", "PRIMARY", "LOCALIZER"], True),
        beside(["ORIGINAL", "PRIMARY", "AXIAL"], True),
        beside(["DERIVED", "SECONDARY", "SCREEN SAVE"], False),
        beside([], False),
    ],
)
@pytest.mark.parametrize("at", [0, N])
def test_what_is_no_slice_is_left_out_with_a_note(other, at, tmp_path):
    datasets = [dataset(i) for i in range(N)]
    datasets.insert(at, other)
    folder = write(tmp_path / "a", datasets)
    heights, notes = stacked(folder)
    assert heights == WHOLE
    assert f"left out: {at:03d}.dcm" in notes[0]
    volume = read_volume(folder)
    assert volume.shape == (1, 32, 32, N)


def test_copies_are_taken_once_and_other_images_at_the_same_place_refused(tmp_path):
    heights, notes = stacked(write(tmp_path / "a", [*map(dataset, range(N)), dataset(3)]))
    assert heights == WHOLE
    assert "twice" in notes[0]

    def other(i, d):
        d.PixelData = bytes(len(d.PixelData))

    with pytest.raises(InputError, match="another image at the position"):
        stacked(write(tmp_path / "b", [*map(dataset, range(N)), dataset(3, other)]))


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_of_two_passes_one_is_taken(shift, tmp_path):
    def second(i, d):
        d.AcquisitionNumber, d.SOPInstanceUID = 2, f"1.2.4.{i + 1}"
        d.PixelData = bytes(len(d.PixelData))

    passes = [*map(dataset, range(N)), *(dataset(i, second, i * STEP + shift) for i in range(N))]
    heights, notes = stacked(write(tmp_path / "a", passes))
    assert heights == WHOLE
    assert "2 acquisitions of the same head" in notes[0]


def _colour(i: int, d: Dataset) -> None:
    d.SamplesPerPixel, d.PhotometricInterpretation, d.BitsAllocated = 3, "RGB", 8
    d.BitsStored, d.HighBit, d.PixelData = 8, 7, bytes(32 * 32 * 3)


def test_a_picture_in_colour_is_no_slice(tmp_path):
    folder = write(tmp_path / "a", [dataset(3, _colour), *map(dataset, range(N))])
    assert stacked(folder)[0] == WHOLE


@pytest.mark.parametrize("known", ["order", "folder", "places", "InstanceNumber restarts"])
@pytest.mark.parametrize("thick", [True, False])
def test_two_passes_are_told_apart_without_their_numbers(known, thick, tmp_path):
    """Shifted by 2 mm: all slices together would look like a thin scan with uneven distances."""

    def change(second):
        def apply(i, d):
            del d.AcquisitionNumber
            if not thick:
                del d.SliceThickness
            if known == "order":
                d.InstanceNumber = i + 1 + second * N
            elif "Instance" in known:
                d.InstanceNumber = i + 1
            d.SOPInstanceUID += f".{second}"

        return apply

    for second in (0, 1):
        slices = [dataset(i, change(second), i * STEP + 2 * second) for i in range(N)]
        if known == "folder":
            write(tmp_path / "in" / str(second), slices)
        else:
            (tmp_path / "in").mkdir(exist_ok=True)
            for i, d in enumerate(slices):
                d.save_as(tmp_path / "in" / f"{i}_{second}.dcm", enforce_file_format=True)
    heights, notes = stacked(tmp_path / "in")
    assert heights == WHOLE
    assert "2 acquisitions of the same head" in notes[0]


def test_a_repeated_part_does_not_cost_the_rest(tmp_path):
    """Base and vault are two acquisitions, a third repeats some slices of the base."""

    def number(i, d):
        d.AcquisitionNumber = 1 if i < 5 else 2

    def repeat(i, d):
        d.AcquisitionNumber, d.PixelData = 3, bytes(len(d.PixelData))

    slices = [*(dataset(i, number) for i in range(N)), *(dataset(i, repeat) for i in (1, 2, 3))]
    heights, notes = stacked(write(tmp_path / "a", slices))
    assert heights == WHOLE
    assert "12 of 15 slices were taken" in notes[0]


@pytest.mark.parametrize("some", [True, False], ids=["alternating", "on every second slice"])
def test_numbers_that_alternate_are_one_scan(some, tmp_path):
    def change(i, d):
        if some:
            d.AcquisitionNumber = 1 + i % 2
        elif i % 2:
            del d.AcquisitionNumber

    assert stacked(write(tmp_path / "a", [dataset(i, change) for i in range(N)])) == (WHOLE, [])


def test_acquisitions_that_follow_one_another_are_one_scan(tmp_path):
    def second(i, d):
        d.AcquisitionNumber = 1 + (i >= 5)

    assert stacked(write(tmp_path / "a", [dataset(i, second) for i in range(N)])) == (WHOLE, [])


def test_many_passes_are_a_perfusion_study(tmp_path):
    def at(time):
        def change(i, d):
            d.AcquisitionNumber, d.SOPInstanceUID = time, f"1.3.{time}.{i + 1}"
            d.PixelData = bytes([time]) * len(d.PixelData)

        return change

    slices = [dataset(i, at(time)) for time in range(1, 7) for i in range(N)]
    with pytest.raises(InputError, match="6 acquisitions of the same place"):
        stacked(write(tmp_path / "a", slices))


@pytest.mark.parametrize(("lost", "missing"), [([4], 1), ([4, 6], 2), ([5, 6, 7], 3), ([3, 5, 7, 9], 4)])
@pytest.mark.parametrize("thickness", [STEP, 0, None])
def test_missing_slices_are_counted(lost, missing, thickness, tmp_path):
    def thick(i, d):
        d.SliceThickness = thickness

    folder = write(tmp_path / "a", [dataset(i, thick) for i in range(N) if i not in lost])
    with pytest.raises(InputError, match=f" {missing} slices? of the series (is|are) missing"):
        stacked(folder)
    heights, notes = stacked(folder, allow_gaps=True)
    assert len(heights) == N - len(lost)
    assert str(missing) in notes[0]


@pytest.mark.parametrize(
    "heights",
    [
        [*np.arange(0, 30, 2.5), *np.arange(30, 80, 5.0)],  # closer slices at the base
        list(np.arange(0, 60, 3.0)),  # that overlap
        list(np.arange(0, 100, 10.0)),  # thin slices far apart
    ],
)
def test_what_scanners_do_is_no_gap(heights, tmp_path):
    def thickness(i, d):
        d.SliceThickness = STEP

    found, notes = stacked(write(tmp_path / "a", [dataset(i, thickness, h) for i, h in enumerate(heights)]))
    assert found == pytest.approx(heights)
    assert notes == []


@pytest.mark.parametrize("keyword", ["RescaleIntercept", "RescaleSlope"])
def test_slices_without_rescale_are_named(keyword, tmp_path):
    def without(i, d):
        if i in (6, 7):
            delattr(d, keyword)

    with pytest.raises(InputError, match=rf"006.dcm: expected {keyword} .* 2 slices would have wrong HU"):
        read_volume(write(tmp_path / "a", [dataset(i, without) for i in range(N)]))


def varies(i: int, d: Dataset) -> None:
    d.SeriesNumber, d.SeriesDescription, d.StudyTime = 2 + i % 2, f"Head {i % 2}", f"1200{i:02d}"


def scaled(i: int, d: Dataset) -> None:
    """The same HU stored with another intercept on every second slice."""
    if i % 2:
        hu = np.frombuffer(d.PixelData, "<u2").astype(int) - 1024
        d.RescaleIntercept, d.PixelRepresentation = -24, 1
        d.PixelData = (hu + 24).astype("<i2").tobytes()


def deflated(i: int, d: Dataset) -> None:
    d.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def bare(i: int, d: Dataset) -> None:
    for keyword in ("SOPClassUID", "SliceThickness", "FrameOfReferenceUID", "StudyInstanceUID"):
        delattr(d, keyword)
    d.file_meta.MediaStorageSOPClassUID = CTImageStorage


@pytest.mark.parametrize("change", [varies, scaled, deflated, bare])
def test_one_stack_is_one_volume_whatever_its_headers_say(change, tmp_path):
    volume = read_volume(write(tmp_path / "a", [dataset(i, change) for i in range(N)]))
    assert volume.shape == (1, 32, 32, N)
    assert volume[0, 16, 16].tolist() == [10.0 + i for i in range(N)]
    assert volume.affine[2, 3] == 0


def test_twelve_bits_of_lossy_jpeg_are_refused_with_advice(tmp_path):
    """Neither dcm2niix nor Pillow nor GDCM reads them; pylibjpeg-libjpeg is GPL, imagecodecs 79 MB."""

    def extended(i, d):
        d.file_meta.TransferSyntaxUID, d.BitsStored, d.HighBit = JPEGExtended12Bit, 12, 11
        d.PixelData = encapsulate([b"\xff\xd8\xff\xc1" + bytes(100)])
        d["PixelData"].is_undefined_length = True

    folder = write(tmp_path / "a", [dataset(i, extended) for i in range(N)])
    with pytest.raises(
        InputError, match=r"000.dcm: .*12 bits in JPEG Extended.*pip install pylibjpeg .*dcmdjpeg"
    ) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value)


def test_files_without_preamble_are_read(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for i in range(N):
        d = dataset(i)
        d.file_meta = FileMetaDataset()
        d.save_as(folder / f"{i}.dcm", implicit_vr=True, little_endian=True)
    assert read_volume(folder)[0, 16, 16].tolist() == [10.0 + i for i in range(N)]


def test_a_series_of_its_own_for_every_slice_is_one_series():
    def own(i, d):
        d.SeriesInstanceUID, d.SeriesNumber = f"1.2.5.{i}", i

    headers = {Path(f"{i}.dcm"): dataset(i, own) for i in range(N)}
    (series,) = series_of(headers)
    assert series.files == list(headers)


def test_images_of_two_patients_are_not_one_series():
    """Whose PatientID is missing is of either."""

    headers = {Path(f"{i}.dcm"): dataset(i) for i in range(N)}
    headers[Path("0.dcm")].PatientID = headers[Path("1.dcm")].PatientID = "A"
    assert len(series_of(headers)) == 1
    headers[Path("2.dcm")].PatientID = "B"
    with pytest.raises(InputError, match=r"^2\.dcm: expected the PatientID of 0\.dcm, .* of 2 patients"):
        series_of(headers)


def test_slices_that_name_no_series_belong_to_the_one_that_is_like_them():
    def without(i, d):
        if i % 3 == 0:
            del d.SeriesInstanceUID

    def long(i, d):
        d.SeriesInstanceUID, d.SOPInstanceUID, d.ConvolutionKernel = "1.2.7", f"1.2.8.{i}", "BONE"

    headers = {Path(f"{i}.dcm"): dataset(i, without) for i in range(N)}
    headers |= {Path(f"b{i}.dcm"): dataset(i, long) for i in range(3 * N)}
    assert sorted(len(series.files) for series in series_of(headers)) == [N, 3 * N]


def test_series_of_one_slice_beside_a_long_one_are_one():
    def own(i, d):
        d.SeriesInstanceUID = f"1.2.5.{i}"

    headers = {Path(f"{i}.dcm"): dataset(i, own) for i in range(N)}
    headers |= {Path(f"b{i}.dcm"): dataset(i) for i in range(3 * N)}
    assert sorted(len(series.files) for series in series_of(headers)) == [N, 3 * N]


def test_plain_copies_do_without_what_every_ct_has(tmp_path):
    def poor(i, d):
        scaled(i, d)
        if i % 2 == 0:
            for keyword in ("SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "HighBit"):
                delattr(d, keyword)

    volume = read_volume(write(tmp_path / "a", [dataset(i, poor) for i in range(N)]))
    assert volume[0, 16, 16].tolist() == [10.0 + i for i in range(N)]
