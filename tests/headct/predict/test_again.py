"""A scan beside the patient's earlier one, and results that somebody has corrected."""

from __future__ import annotations

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from headct.cli.main import main
from headct.predict import Case, correct, predict
from tools.core.errors import InputError


@pytest.fixture(scope="module")
def earlier(bright, head, tmp_path_factory, support):
    """A ball of 15 mm radius."""
    root = tmp_path_factory.mktemp("earlier")
    scan = support.save_nifti(root / "monday.nii.gz", head(15.0))
    return predict(scan, bright, root / "out", uncertainty=False).cases[0]


@pytest.mark.parametrize("part", ["", "report.html", "report.json", ".."])
def test_growth_since_the_earlier_scan(earlier, bright, scan, tmp_path, part):
    """Told by a case's folder, one of its reports, or the folder of results of one case."""
    case = predict(scan, bright, tmp_path, prior=earlier.folder / part, uncertainty=False).cases[0]
    assert case.prior.name == "monday"
    assert case.prior.change_ml == pytest.approx(case.volume_ml - earlier.volume_ml)
    assert case.prior.change_percent == pytest.approx(100 * (case.volume_ml / earlier.volume_ml - 1))
    assert case.prior.change_percent == pytest.approx(100 * ((20 / 15) ** 3 - 1), abs=25)  # two balls
    assert case.prior.doubts == []
    page = case.path("html").read_text()
    assert f"{case.prior.change_ml:+.1f} mL ({case.prior.change_percent:+.0f} %) since monday" in page
    assert Case.read(case.folder).prior == case.prior


def test_what_makes_a_change_doubtful(earlier, other, head, tmp_path, support):
    """Another model; a bleed that is gone; and the same images."""
    scan = support.save_nifti(tmp_path / "friday.nii.gz", head(0.0))
    case = predict(scan, other, tmp_path / "out", prior=earlier.folder, min_ml=0.5).cases[0]
    assert case.prior.change_percent == -100
    assert [text.split()[0] for text in case.prior.doubts] == ["Other", "Lesions"]
    grown = predict(scan, other, tmp_path / "two", prior=case.folder, min_ml=0.5).cases[0]
    assert grown.prior.change_percent is None
    assert grown.prior.doubts == ["The earlier result is of the same images."]


def test_earlier_results_of_many_scans_go_by_name(earlier, bright, head, tmp_path, support):
    for name in ("monday", "new"):
        support.save_nifti(tmp_path / "in" / f"{name}.nii.gz", head())
    shutil.copytree(earlier.folder, tmp_path / "before" / "monday")
    (failure,) = predict(tmp_path / "in", bright, tmp_path / "out", prior=earlier.folder).failures
    assert "new: expected earlier results of each scan, found those of one" in failure.message
    shutil.copytree(earlier.folder, tmp_path / "before" / "tuesday")
    report = tmp_path / "before" / "tuesday" / "report.json"
    report.write_text(report.read_text().replace('"monday"', '"tuesday"'))
    said: list[str] = []
    result = predict(tmp_path / "in", bright, tmp_path / "out2", prior=tmp_path / "before", say=said.append)
    assert "new: no earlier result of this name" in said
    assert {case.name: case.prior and case.prior.name for case in result.cases} == {
        "monday": "monday",
        "new": None,
    }


def test_no_earlier_results_is_one_line_and_nothing_written(bright, scan, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    for path, text in ((tmp_path / "nothing", "found no report.json"), (tmp_path, "cannot be read")):
        with pytest.raises(InputError, match=text):
            predict(scan, bright, tmp_path / "out", prior=path)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def predicted(bright, scan, earlier, tmp_path):
    return predict(scan, bright, tmp_path / "out", prior=earlier.folder, save_probabilities=True).cases[0]


def corrected_mask(case, path, change):
    """The label map of a case, changed as a viewer would: in another order of voxels."""
    image = nib.load(case.path("label"))
    values = np.asarray(image.dataobj).copy()
    change(values)
    flipped = image.affine @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] = image.affine[:3, :3] @ [values.shape[0] - 1, 0, 0] + image.affine[:3, 3]
    nib.save(nib.Nifti1Image(values[::-1], flipped), path)
    return path, values


def halve(values):
    values[:, :, : np.flatnonzero(values.any((0, 1))).mean().astype(int)] = 0


def test_a_corrected_mask_is_measured_and_renews_the_report(predicted, scan, tmp_path, capsys):
    """Numbers from the mask by hand; correcting again still compares with what the models had found."""
    old = predicted
    was = old.path("label").read_bytes()
    mask, values = corrected_mask(old, tmp_path / "mask.nii.gz", halve)
    with (tmp_path / "out" / "summary.csv").open("a") as file:
        file.write("broken,failed,,,,,,,,,,,,why\n")
    assert main(["correct", str(old.folder), str(mask), "--scan", str(scan)]) == 0
    case = Case.read(old.folder)
    assert capsys.readouterr().out.splitlines() == [f"bleed: {case.verdict}", str(case.path("html"))]
    image = nib.load(case.path("label"))
    assert np.array_equal(np.asarray(image.dataobj), values)
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    assert case.volume_ml == pytest.approx((values > 0).sum() * voxel_ml)
    assert case.corrected.automatic_ml == pytest.approx(old.volume_ml)
    assert case.corrected.dice == pytest.approx(2 * case.volume_ml / (case.volume_ml + old.volume_ml))
    assert case.prior.change_ml == pytest.approx(case.volume_ml - case.prior.volume_ml)
    assert case.models == old.models
    assert case.path("automatic").read_bytes() == was
    assert set(case.files) == {*old.files, "automatic"}
    assert all(case.path(key).is_file() for key in case.files)
    page = case.path("html").read_text()
    assert "Corrected by hand" in page
    assert f"before correction {old.volume_ml:.1f} mL" in page
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert float(rows["bleed"]["volume_ml"]) == pytest.approx(case.volume_ml, abs=1e-3)
    assert rows["broken"]["error"] == "why"
    nothing, _ = corrected_mask(case, tmp_path / "nothing.nii.gz", lambda values: values.fill(0))
    again = correct(old.folder, nothing, scan)
    assert again.corrected.automatic_ml == pytest.approx(old.volume_ml)
    assert again.corrected.dice == 0
    assert not again.hemorrhage
    assert again.path("automatic").read_bytes() == was


def test_a_corrected_case_is_done(predicted, bright, scan, earlier, tmp_path):
    """Predicting the folder again does not throw the correction away."""
    correct(predicted.folder, corrected_mask(predicted, tmp_path / "mask.nii.gz", halve)[0], scan)
    options = {"prior": earlier.folder, "save_probabilities": True}
    again = predict(scan, bright, tmp_path / "out", **options).cases[0]
    assert again.skipped
    assert again.corrected
    anew = predict(scan, bright, tmp_path / "out", overwrite=True, **options).cases[0]
    assert anew.corrected is None
    assert "automatic" not in anew.files


def test_what_does_not_belong_together_is_refused(predicted, scan, head, tmp_path, support):
    before = {path: path.read_bytes() for path in predicted.folder.iterdir()}
    good, _ = corrected_mask(predicted, tmp_path / "mask.nii.gz", halve)
    three, _ = corrected_mask(predicted, tmp_path / "three.nii.gz", lambda values: values.fill(3))
    small = tmp_path / "small.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), small)
    another = support.save_nifti(tmp_path / "another.nii.gz", head(10.0))
    for arguments, text in (
        ((tmp_path, good, scan), "expected the folder of a case"),
        ((predicted.folder, tmp_path / "no.nii.gz", scan), "no.nii.gz: expected a corrected label map"),
        ((predicted.folder, good, another), "expected the scan that bleed was predicted from, found another"),
        ((predicted.folder, small, scan), r"small.nii.gz: expected the shape"),
        ((predicted.folder, three, scan), r"three.nii.gz: expected the values 0, 1 \(blood\), found 3"),
    ):
        with pytest.raises(InputError, match=text):
            correct(*arguments)
    assert {path: path.read_bytes() for path in predicted.folder.iterdir()} == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["bleed", "index.html", "summary.csv"]


def test_the_dicom_seg_is_renewed(bright, head, tmp_path, support):
    """As half-automatic, on the slices of the corrected mask."""
    series = support.write_series(tmp_path / "series", head())
    old = predict(series, bright, tmp_path / "out", uncertainty=False).cases[0]
    mask, _ = corrected_mask(old, tmp_path / "mask.nii.gz", halve)
    case = correct(old.folder, mask, tmp_path)  # a folder that holds the scan, and the label map
    seg = pydicom.dcmread(case.path("dicom_seg"))
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "corrected" in seg.SeriesDescription
    pixel_ml = 2.6 * 2.6 * 6 / 1000
    assert seg.pixel_array.sum() * pixel_ml == pytest.approx(case.volume_ml, rel=0.05)
    assert json.loads(case.path("json").read_text())["corrected"]["automatic_ml"] == pytest.approx(
        old.volume_ml
    )
