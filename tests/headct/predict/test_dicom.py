"""DICOM in and out: series made here, tilted and uneven, and a real one."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import warnings
import zipfile
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from headct.predict import predict
from headct.predict.input.sources import find_sources
from headct.predict.output.dicom_seg import frames_of
from tools.core.errors import InputError


@pytest.fixture(scope="module")
def tilted(head, tmp_path_factory, support):
    """A series with a gantry tilt of 15 degrees, slices 4 and 8 mm apart, in no order."""
    folder = tmp_path_factory.mktemp("dicom") / "tilted"
    heights = np.cumsum([0, *[4.0] * 16, *[8.0] * 9]) - 66
    support.write_series(folder, head(), heights=heights, tilt=15)
    return folder


@pytest.fixture(scope="module")
def result(bright, tilted, tmp_path_factory):
    return predict(tilted, bright, tmp_path_factory.mktemp("out"), uncertainty=False, save_ct=True)


def truth_of(file: Path) -> np.ndarray:
    """Where the ball is on an original slice, from the slice's own position: (rows, columns)."""
    image = pydicom.dcmread(file)
    origin, axes = np.array(image.ImagePositionPatient, float), np.array(image.ImageOrientationPatient, float)
    rows, columns = np.meshgrid(np.arange(image.Rows), np.arange(image.Columns), indexing="ij")
    spacing = [float(mm) for mm in image.PixelSpacing]
    points = origin + columns[..., None] * spacing[1] * axes[:3] + rows[..., None] * spacing[0] * axes[3:]
    return np.linalg.norm(points * [-1, -1, 1] - [30, 0, 20], axis=-1) < 20


def read_seg(content: bytes) -> highdicom.seg.Segmentation:
    return highdicom.seg.segread(io.BytesIO(content))


def test_seg_lies_on_the_original_slices(result, tilted):
    case = result.cases[0]
    seg = read_seg(case.path("dicom_seg").read_bytes())
    originals = {str(pydicom.dcmread(f).SOPInstanceUID): f for f in tilted.iterdir()}
    order = list(originals)
    assert set(seg.get_source_image_uids()[i][2] for i in range(len(order))) <= set(order)
    masks = seg.get_pixels_by_source_instance(order, assert_missing_frames_are_empty=True)[..., 0] > 0
    truth = np.stack([truth_of(file) for file in originals.values()])
    assert 2 * (masks & truth).sum() / (masks.sum() + truth.sum()) > 0.85
    # the frame of reference is the scan's, and each frame lies exactly where its original does
    first = pydicom.dcmread(next(iter(originals.values())))
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert seg.StudyInstanceUID == first.StudyInstanceUID
    positions = {tuple(map(float, pydicom.dcmread(f).ImagePositionPatient)) for f in originals.values()}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        found = tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
        assert min(np.abs(np.array(found) - p).max() for p in positions) < 1e-3


def test_seg_says_what_it_is(result, bright):
    seg = read_seg(result.cases[0].path("dicom_seg").read_bytes())
    segment = seg.get_segment_description(1)
    assert (segment.segmented_property_type.value, segment.segmented_property_type.scheme_designator) == (
        "1386000",
        "SCT",
    )
    assert segment.segment_label == "lesion 1, blood"
    assert segment.algorithm_identification.name == "bright"


def test_label_map_lies_on_the_straightened_scan(result):
    case = result.cases[0]
    label, ct = nib.load(case.path("label")), nib.load(case.path("ct"))
    assert label.shape == ct.shape
    assert np.allclose(label.affine, ct.affine, atol=1e-4)
    inside = np.asarray(ct.dataobj)[np.asarray(label.dataobj) > 0]
    assert np.median(inside) == pytest.approx(75, abs=2)
    assert case.lesions[0].centroid_mm == pytest.approx([30, 0, 20], abs=3)
    assert case.volume_ml == pytest.approx(4 / 3 * np.pi * 20**3 / 1000, rel=0.15)
    assert any("tilted by 15.0 degrees" in text for text in case.warnings)
    assert any("from 4" in text or "from 3.9" in text for text in case.warnings)


def test_results_are_no_input(result):
    """Masks, maps, SEG and the straightened scan, as a second run finds them within its input."""
    assert len(list(result.cases[0].folder.iterdir())) > 6
    with pytest.raises(InputError, match="expected volumes, zips or DICOM images, found none but results"):
        find_sources(result.out)


def test_frames_against_a_look_up_pixel_by_pixel(tilted):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (30, 33, 20)).astype(np.uint8)
    affine = np.diag([-7.0, 6.5, 8, 1])
    affine[:3, 3] = (100, -100, -60)
    affine[:3, :3] = affine[:3, :3] @ np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(tilted.iterdir())[:3]]
    frames = frames_of(label, affine, headers)
    inverse = np.linalg.inv(affine)
    for frame, header in zip(frames, headers, strict=True):
        axes = np.array(header.ImageOrientationPatient, float)
        for row, column in rng.integers(0, 80, (200, 2)):
            point = np.array(header.ImagePositionPatient, float)
            point = point + column * float(header.PixelSpacing[1]) * axes[:3]
            point = point + row * float(header.PixelSpacing[0]) * axes[3:]
            voxel = np.rint((inverse @ [-point[0], -point[1], point[2], 1])[:3]).astype(int)
            inside = ((voxel >= 0) & (voxel < label.shape)).all()
            assert frame[row, column] == (label[tuple(voxel)] if inside else 0)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("key", ["dicom_seg", "dicom_sr"])
def test_objects_are_valid(result, key):
    run = subprocess.run(["dciodvfy", result.cases[0].path(key)], capture_output=True, text=True)
    assert [line for line in run.stderr.splitlines() if line.startswith("Error")] == []


SECRETS = ("Doe_Jane", "Doe^Jane", "PID4711", "19500203", "ACC99", "20200101")


def test_no_identifiers(bright, tilted, tmp_path):
    secret = tmp_path / "Doe_Jane"
    shutil.copytree(tilted, secret)
    result = predict(secret, bright, tmp_path / "plain", uncertainty=False)
    assert result.cases[0].name.startswith("case_")
    for file in (tmp_path / "plain").rglob("*"):
        assert not any(word in file.name for word in SECRETS)
        if file.is_file() and file.suffix != ".gz":
            content = file.read_bytes()
            if file.suffix in (".html", ".json"):  # letters in base64 mean nothing
                content = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", content)
            found = [word for word in SECRETS if len(word) > 4 and word.encode() in content]
            assert found == [], file.name
    kept = predict(secret, bright, tmp_path / "kept", uncertainty=False, keep_identifiers=True).cases[0]
    assert kept.name == "Doe_Jane"
    assert "Doe^Jane" in kept.path("json").read_text()
    assert "PID4711" in kept.path("html").read_text()
    assert str(pydicom.dcmread(kept.path("dicom_seg")).PatientID) == "PID4711"


MODULES = ("patient", "general-study", "patient-study", "clinical-trial-subject", "clinical-trial-study",
           "clinical-trial-series", "general-series")  # fmt: skip
MARK = "Zyxwv"
TEXTS = {"PN": f"{MARK}^Name", "LO": MARK, "SH": MARK, "LT": MARK, "ST": MARK, "UT": MARK, "AE": MARK}


def test_no_attribute_of_the_patient_reaches_any_output(bright, head, tmp_path, support, capsys):
    """Every attribute of the patient, study and trial modules that can hold a text holds a marker."""
    standard = Path(highdicom.__file__).parent / "_standard" / "module_attribute_map.json"
    modules = json.loads(standard.read_text())
    keywords = {item["keyword"] for name in MODULES for item in modules[name] if not item["path"]}
    assert len(keywords) > 80
    fixed = ("Modality", "BodyPartExamined", "PatientPosition", "Laterality")

    def mark(i, dataset):
        for keyword in keywords - set(fixed):
            vr = dictionary_VR(tag_for_keyword(keyword))
            if vr in TEXTS:
                setattr(dataset, keyword, TEXTS[vr])
        dataset.SeriesDescription = f"Head {MARK} 5.0"
        dataset.PatientBirthDate = dataset.StudyDate = dataset.SeriesDate = "19610917"

    folder = support.write_series(tmp_path / f"{MARK}_Müller" / "17.09.1961", head(), change=mark)
    result = predict(folder, bright, tmp_path / "out", uncertainty=False, save_ct=True, say=print)
    assert result.failures == []
    assert "dicom_seg" in result.cases[0].files
    seen = capsys.readouterr()
    texts = {"log": (seen.out + seen.err).encode()}
    for file in (tmp_path / "out").rglob("*"):
        texts[f"name of {file.name}"] = file.name.encode()
        if file.is_file():
            content = file.read_bytes()
            texts[file.name] = gzip.decompress(content) if file.suffix == ".gz" else content
    for where, content in texts.items():
        for secret in (MARK, "17.09.1961", "19610917", "ller"):
            assert secret.encode() not in content, where


def test_zip_and_the_choice_of_a_series(bright, tilted, head, tmp_path, support):
    """A zip with a study of four series: only one is a plain head CT."""
    folder = tmp_path / "study"
    shutil.copytree(tilted, folder / "a")
    for number, changes in enumerate(
        (
            {"SeriesDescription": "CTA head"},
            {"ConvolutionKernel": "BONE"},
            {"ImageType": ["DERIVED", "SECONDARY"]},
        )
    ):
        support.write_series(folder / f"b{number}", head(), number=10 + number, **changes)
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in folder.rglob("*.dcm"):
            file.write(path, path.relative_to(folder))
    result = predict(archive, bright, tmp_path / "out", uncertainty=False)
    assert result.failures == []
    assert result.cases[0].name.startswith("case_")
    assert "number 2" in result.cases[0].scan["series"]
    assert "CTA head" in " ".join(result.cases[0].warnings)
    assert not list((tmp_path / "out").glob(".predict-*"))
    chosen = predict(folder, bright, tmp_path / "out2", uncertainty=False, series=10).cases[0]
    assert any(
        "vessels, perfusion or a computed map by its SeriesDescription" in text for text in chosen.warnings
    )


def enhanced(folder: Path, to: Path, **changes: str) -> Path:
    """A series as one multi-frame file, made by highdicom."""
    images = [pydicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))]
    uids = [highdicom.UID() for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = LegacyConvertedEnhancedCTImage(images, uids[0], 20, uids[1], 1)
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    to.mkdir(parents=True)
    image.save_as(to / "enhanced.dcm")
    return to


@pytest.mark.parametrize("real", [False, True], ids=["phantom", "scanner"])
def test_enhanced_is_its_slices(bright, tilted, tmp_path, request, real):
    """One file with all slices gives the mask and the SEG of the files it was made from."""
    folder = request.getfixturevalue("real_data") / "ge_head_ct_dicom" if real else tilted
    one = enhanced(folder, tmp_path / "one")
    results = [
        predict(path, bright, tmp_path / name, uncertainty=False, save_ct=True)
        for name, path in (("out_files", folder), ("out_frames", one))
    ]
    assert [result.failures for result in results] == [[], []]
    files, frames = (result.cases[0] for result in results)
    for output in ("ct", "label"):
        expected, found = nib.load(files.path(output)), nib.load(frames.path(output))
        assert np.allclose(expected.affine, found.affine, atol=1e-4)
        assert np.array_equal(np.asarray(expected.dataobj), np.asarray(found.dataobj))
    assert files.warnings == frames.warnings  # of the tilt and the uneven distances
    source = pydicom.dcmread(one / "enhanced.dcm")
    of_frames = read_seg(frames.path("dicom_seg").read_bytes())
    assert {str(uid[2]) for uid in of_frames.get_source_image_uids()} == {str(source.SOPInstanceUID)}
    shown = of_frames.get_pixels_by_source_frame(
        source.SOPInstanceUID, list(range(1, source.NumberOfFrames + 1)), assert_missing_frames_are_empty=True
    )
    slices = [
        str(frame.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID)
        for frame in source.PerFrameFunctionalGroupsSequence
    ]
    of_files = read_seg(files.path("dicom_seg").read_bytes())
    expected = of_files.get_pixels_by_source_instance(slices, assert_missing_frames_are_empty=True)
    assert expected.any()
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize(
    ("changes", "copies", "reason"),
    [
        ({"NumberOfFrames": "25"}, 1, "does not say where its frames lie"),
        ({"ContrastBolusAgentSequence": [Dataset()]}, 1, "with contrast agent"),
        ({"SeriesInstanceUID": "1.2.826.0.9"}, 2, "several multi-frame images"),
        ({"PixelData": b"12" * 25 * 80 * 80}, 1, "expected 332800 bytes of pixels, found 320000"),
    ],
    ids=["positions", "contrast", "two", "truncated"],
)
def test_enhanced_that_cannot_be_taken(bright, tilted, tmp_path, changes, copies, reason):
    for copy in range(copies):
        enhanced(tilted, tmp_path / "in" / str(copy), **changes)
    result = predict(tmp_path / "in", bright, tmp_path / "out")
    assert result.cases == []
    assert reason in str(result.failures)


def test_real_series(bright, real_data, tmp_path):
    """A scanner's own tilt and uneven distances: the SEG shows what the mask shows."""
    folder = real_data / "ge_head_ct_dicom"
    case = predict(folder, bright, tmp_path, uncertainty=False, save_ct=True).cases[0]
    seg = read_seg(case.path("dicom_seg").read_bytes())
    originals = {str(pydicom.dcmread(f).SOPInstanceUID): pydicom.dcmread(f) for f in folder.glob("*.dcm")}
    masks = (
        seg.get_pixels_by_source_instance(list(originals), assert_missing_frames_are_empty=True)[..., 0] > 0
    )
    assert masks.any()
    # the straightened scan, looked up where the pixels of the original slices are, shows the same
    ct = nib.load(case.path("ct"))
    looked_up = frames_of(np.asarray(ct.dataobj).astype(np.int16), ct.affine, list(originals.values()))
    differences = []
    for image, frame in zip(originals.values(), looked_up, strict=True):
        shown = image.pixel_array.clip(-100, 200).astype(float)
        errors = {
            by: np.abs(shown - np.roll(frame, by, 0).clip(-100, 200)).mean() for by in (-4, -2, 0, 2, 4)
        }
        assert min(errors, key=errors.get) == 0
        differences.append(errors[0])
    assert np.mean(differences) < 8  # HU, within -100 to 200; between slices values are interpolated
    assert any("tilted by 18.5 degrees" in text for text in case.warnings)
    if shutil.which("dciodvfy"):
        run = subprocess.run(["dciodvfy", case.path("dicom_seg")], capture_output=True, text=True)
        assert [line for line in run.stderr.splitlines() if line.startswith("Error")] == []
