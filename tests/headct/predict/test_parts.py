"""The parts of a report against brute force and known answers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from headct.predict.findings.lesions import find_lesions, inner_table, largest_diameter_mm
from headct.predict.findings.measure import density_warnings, seam_warnings
from headct.predict.findings.midline import midline_shift
from headct.predict.findings.parts import find_parts
from headct.predict.findings.warnings import volume_warnings
from headct.predict.input.head_series import choose_series
from headct.predict.input.scan import neutral_name
from headct.predict.input.sources import Source, Study, case_names, find_sources
from headct.predict.input.words import public_words
from headct.predict.model.bundle import Segmentation
from headct.predict.model.consensus import consensus
from headct.predict.output.dicom_codes import CODES
from headct.predict.output.storage import read_failures, write_summary
from headct.predict.results import Failure, Lesion
from tools.phantom import HeadPhantom
from tools.phantom.cranium import cavity
from tools.volumes.doubts import default_affine, orientation_doubts

SPACING = np.array([0.9, 0.8, 3.0])
AFFINE = np.diag([*SPACING, 1.0])


def test_lesions_against_brute_force():
    rng = np.random.default_rng(0)
    label = np.zeros((30, 30, 8), np.uint8)
    label[3:9, 3:9, 1:3] = 1
    label[9, 9, 3] = 2  # touches by a corner: the same lesion
    label[20:22, 5:25, 5] = 2
    hu = rng.normal(60, 5, label.shape).astype(np.float32)
    skull = rng.uniform(0, 30, (50, 3))
    plane = (np.array([1.0, 0, 0]), 10 * 0.9)
    (first, second), _ = find_lesions(label, hu, AFFINE, SPACING, {1: "iph", 2: "sdh"}, plane, skull)
    voxels = [np.argwhere((label > 0) & (np.arange(30)[:, None, None] < 15)), np.argwhere(label[20:, :, :])]
    voxels[1] += [20, 0, 0]
    voxel_ml = SPACING.prod() / 1000
    for lesion, found in zip((first, second), voxels, strict=True):
        world = found * SPACING
        assert lesion.volume_ml == pytest.approx(len(found) * voxel_ml)
        assert lesion.mean_hu == pytest.approx(np.mean([hu[tuple(v)] for v in found]), abs=1e-3)
        assert lesion.centroid_mm == pytest.approx(world.mean(0).tolist())
        nearest = min(np.linalg.norm(w - s) for w, s in itertools.product(world, skull))
        assert lesion.depth_mm == pytest.approx(nearest)
    assert (first.kind, second.kind) == ("iph", "sdh")
    assert (first.side, second.side) == ("left", "right")
    assert (first.slices, second.slices) == ([2, 4], [6, 6])
    (crossing,), _ = find_lesions(label[..., :4], hu[..., :4], AFFINE, SPACING, {}, (plane[0], 5 * 0.9))
    assert crossing.side == "midline"
    least = (first.volume_ml + second.volume_ml) / 2
    counted, small = find_lesions(label, hu, AFFINE, SPACING, {}, min_ml=least)
    assert len(counted) == 1
    assert small == pytest.approx([min(first.volume_ml, second.volume_ml)])
    assert crossing.depth_mm is None


@pytest.mark.parametrize(("threshold", "low", "high"), [(0.3, 1000, 1000), (0.36, 0, 1000), (0.5, 0, 0)])
def test_volume_range_by_the_threshold_of_the_bundle(threshold, low, high):
    """Probability 0.35 with a deviation of 0.02 everywhere."""
    whole = torch.full((10, 10, 10), 0.35)
    label = (whole >= threshold).to(torch.uint8)
    made = Segmentation(label, whole, torch.full_like(whole, 0.02), threshold=threshold)
    assert made.counts_above_threshold()[:2] == (low, high)


def test_volume_of_a_sheared_voxel():
    """Gantry tilt in a NIfTI file: 25 degrees make a voxel's volume smaller than the product of its edges."""
    sheared = AFFINE.copy()
    sheared[1, 2] = 3 * np.tan(np.radians(25))
    edges = np.linalg.norm(sheared[:3, :3], axis=0)
    label = np.zeros((20, 20, 6), np.uint8)
    label[2:12, 2:12, 1:5] = 1
    hu = np.full(label.shape, 60, np.float32)
    (lesion,), _ = find_lesions(label, hu, sheared, edges, {1: "iph"})
    assert lesion.volume_ml == pytest.approx(400 * 0.9 * 0.8 * 3 / 1000)
    (upright,), _ = find_lesions(label, hu, AFFINE, SPACING, {1: "iph"})
    assert lesion.abc_half_ml == pytest.approx(upright.abc_half_ml)  # as thick on every slice
    case = type("Case", (), {"lesions": [lesion], "classes": {1: "iph"}})
    (part,) = find_parts(label, hu, sheared, case)[1]
    assert part.volume_ml == pytest.approx(lesion.volume_ml)


def test_largest_diameter_against_all_pairs_of_corners():
    rng = np.random.default_rng(1)
    mask = rng.random((7, 6, 3)) > 0.7
    expected = 0.0
    for z in range(3):
        corners = [
            (x + a, y + b)
            for x, y in np.argwhere(mask[:, :, z])
            for a, b in itertools.product((0, 1), (0, 1))
        ]
        for p, q in itertools.combinations(corners, 2):
            expected = max(expected, np.linalg.norm((np.array(p) - q) * SPACING[:2]))
    assert largest_diameter_mm(mask, SPACING) == pytest.approx(expected)


def test_inner_table_is_bone_and_no_opening():
    """A hollow box of bone that is open below: points lie on its walls and lid only."""
    brain = np.zeros((40, 40, 20), bool)
    brain[10:30, 10:30, 3:15] = True
    hu = np.where(brain, 35.0, -1000.0)
    wall = np.zeros_like(brain)
    wall[7:33, 7:33, 3:18] = True
    hu[wall & ~brain] = 900
    points = inner_table(hu, brain, np.eye(4), np.ones(3))
    wall = points[(points[:, 2] > 3) & (points[:, 2] < 14)]
    assert len(wall) == 10 * 76  # the ring of every level between opening and lid
    assert np.abs(wall[:, :2] - 19.5).max(1) == pytest.approx(9.5)
    opening = points[points[:, 2] == 3]
    assert np.abs(opening[:, :2] - 19.5).max(1).min() >= 9.5 - 4  # its middle is no skull


def test_consensus_of_three_is_the_majority():
    torch = pytest.importorskip("torch")
    labels = torch.tensor(list(itertools.product((0, 1), repeat=3)), dtype=torch.uint8)
    parts = [Segmentation(labels[:, i], labels[:, i].float(), None, None) for i in range(3)]
    assert torch.equal(consensus(parts) > 0, labels.sum(1) >= 2)
    assert consensus(parts[:1]) is parts[0].label


def test_ties_of_bundles_go_by_their_thresholds():
    """One of two calls it: 0.6 and 0.2 have the mean 0.4, above that of 0.5 and 0.25, not of twice 0.5."""
    label = torch.tensor([1], dtype=torch.uint8)
    first = Segmentation(label, torch.tensor([0.6]))
    for threshold, expected in ((0.25, 1), (0.5, 0)):
        second = Segmentation(label * 0, torch.tensor([0.2]), threshold=threshold)
        assert consensus([first, second]).item() == expected


def head(warn=()):
    """A round head of 150 mm in a box, brain of 35 HU in a shell of bone, and its mask."""
    shape, spacing = (60, 60, 30), np.array([3.0, 3.0, 5.0])
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    radius = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij")), axis=0)
    hu = np.where(radius < 62, 35.0, np.where(radius < 70, 1000.0, -1000.0))
    return hu, radius < 62, np.diag([*spacing, 1.0]), spacing


def test_a_good_scan_has_no_warnings():
    hu, brain, affine, spacing = head()
    assert volume_warnings(hu, brain, affine, spacing, 0.95) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda h, b, a, s: (h, b, a @ _shear(18), s, 0.9), "tilted by 1[5-8]"),
        (lambda h, b, a, s: (h, b, a, s * [1, 1, 1.6], 0.9), "Thick slices"),
        (lambda h, b, a, s: (h[..., 11:19], b[..., 11:19], a, s, 0.9), "Only a slab of 40 mm"),
        (lambda h, b, a, s: (h[..., :20], b[..., :20], a, s, 0.9), "top of the brain is not in the scan"),
        (lambda h, b, a, s: (h[..., 14:], b[..., 14:], a, s, 0.9), "base of the brain is not in the scan"),
        (lambda h, b, a, s: (h[14:], b[14:], a, s, 0.9), r"cuts the brain on the left \(\d+ cm2\):"),
        (lambda h, b, a, s: (h[:46], b[:46], a, s, 0.9), r"cuts the brain on the right \(\d+ cm2\):"),
        (lambda h, b, a, s: (h[:, 14:], b[:, 14:], a, s, 0.9), r"cuts the brain at the back \(\d+ cm2\):"),
        (lambda h, b, a, s: (h[:, :46], b[:, :46], a, s, 0.9), r"cuts the brain in front \(\d+ cm2\):"),
        (lambda h, b, a, s: (_round_field(h), b, a, s, 0.9), "cuts the brain on the left .* in front"),
        (lambda h, b, a, s: (h + 1024, b, a, s, 0.9), "HU out of range"),
        (lambda h, b, a, s: (_vessels(h), b, a, s, 0.9), "Contrast agent suspected"),
        (lambda h, b, a, s: (_clip(h), b, a, s, 0.9), "Metal inside the skull"),
        (lambda h, b, a, s: (h, b, a, s, 0.4), "Low symmetry score"),
        (lambda h, b, a, s: (h, b, a, s, None), "No symmetry plane"),
    ],
)
def test_each_warning(change, expected):
    assert any(re.search(expected, text) for text in volume_warnings(*change(*head())))


def _shear(degrees):
    matrix = np.eye(4)
    matrix[1, 2] = np.tan(np.deg2rad(degrees)) * 5 / 3
    return matrix


def _round_field(hu):
    """Padding about a round field of view of 110 mm."""
    x, y = np.ogrid[-29.5:30, -29.5:30]
    return np.where((np.hypot(x, y) < 55 / 3)[:, :, None], hu, -1024.0)


def _vessels(hu):
    hu = hu.copy()
    hu[::6, ::6][hu[::6, ::6] == 35] = 150
    return hu


def _clip(hu):
    hu = hu.copy()
    hu[30, 30, 15] = 3071
    return hu


def test_midline_shift_of_synthetic_heads():
    """The mass effect of the phantom is known: the place where x = 0 of the healthy head has gone."""
    torch = pytest.importorskip("torch")
    errors = []
    for seed, kind in ((18, "iph"), (22, "iph"), (3, "normal")):
        phantom = HeadPhantom(seed, kind=kind, shape=(100, 100, 26), spacing=(2.2, 2.2, 6.0))
        plan, case = phantom.plan(), phantom.render()
        true = _true_shift(plan.scene, torch)
        plane = np.array(case.truth["plane"]["normal"]), case.truth["plane"]["offset"]
        hu, classes, brain = (v.as_tensor()[0].numpy() for v in (case.image, case.classes, case.brain))
        found = midline_shift(hu, classes > 0, brain > 0, case.affine.numpy(), plane, 0.95)
        errors.append((found.shift_mm if found.side != "left" else -found.shift_mm) - true)
    assert np.abs(errors).max() < 4


def _true_shift(scene, torch):
    axes = (np.arange(-15, 15.1, 0.25), np.arange(-24, 45, 4.0), np.arange(-6, 31, 6.0))
    x, y, z = (torch.tensor(a.ravel(), dtype=torch.float32) for a in np.meshgrid(*axes, indexing="ij"))
    depth = -cavity(x.abs(), y, z, scene.person)
    moved = x.clone()
    for bleed in scene.bleeds:
        push = bleed.push(x, y, z, depth)
        moved = moved if push is None else moved + push[0]
    middle = axes[0][np.abs(moved.view(*(len(a) for a in axes)).numpy()).argmin(0)]
    return float(middle.ravel()[np.abs(middle).argmax()] * scene.person.scale[0])


def test_no_shift_is_claimed_without_ground():
    hu, brain, affine, _ = head()
    plane = (np.array([1.0, 0, 0]), 88.5)
    none = np.zeros_like(brain)
    assert "no symmetry plane" in midline_shift(hu, none, brain, affine, None).reason
    assert "doubtful" in midline_shift(hu, none, brain, affine, plane, 0.3).reason
    assert (
        "does not cover" in midline_shift(hu[..., :12], none[..., :12], brain[..., :12], affine, plane).reason
    )
    assert "covers most" in midline_shift(hu, brain, brain, affine, plane).reason


def study(*series):
    """A study of series, each a dictionary of attributes; 12 axial slices where it says nothing."""
    result = Study("1.2")
    for number, tags in enumerate(series, start=1):
        for i in range(tags.pop("count", 12)):
            header = pydicom.Dataset()
            values = {"Modality": "CT", "SeriesInstanceUID": f"1.{number}", "SeriesNumber": number, "Rows": 9}
            values |= {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SliceThickness": 5}
            for keyword, value in (values | tags).items():
                setattr(header, keyword, value)
            result.headers[Path(f"{number}/{i}")] = header
    return result


CHOICES = [
    # series, the number that is taken
    ([{"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "count": 2}, {}], 2),
    ([{"SliceThickness": 0.6}, {"SliceThickness": 4.5}], 2),
    ([{"ConvolutionKernel": "BONE"}, {"ConvolutionKernel": "SOFT"}], 2),
    ([{"ConvolutionKernel": ["H60s", "3"]}, {"ConvolutionKernel": ["H31s", "3"]}], 2),
    ([{"ConvolutionKernel": "FC81"}, {"ConvolutionKernel": "FC21"}], 2),
    ([{"SeriesDescription": "Head with contrast"}, {"SeriesDescription": "Head without contrast"}], 2),
    ([{"SeriesDescription": "CTA 0.6"}, {"SeriesDescription": "non-contrast head"}], 2),
    ([{"ContrastBolusAgent": "Ultravist", "SeriesDescription": "head"}, {}], 2),
    ([{"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, {"SliceThickness": 1}], 2),
    ([{"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, {}], 2),
    ([{"Modality": "PT"}, {}], 2),
    ([{"BodyPartExamined": "CSPINE"}, {"BodyPartExamined": "HEAD"}], 2),
    ([{}, {"SliceThickness": 5}], 1),  # equals: the first
]


@pytest.mark.parametrize(("series", "number"), CHOICES)
def test_which_series_is_taken(series, number, tmp_path):
    chosen, notes = choose_series(tmp_path, study(*(dict(s) for s in series)))
    assert chosen.series.number == str(number)
    assert "Chosen of 2 series" in notes[0]


def test_names_of_cases(tmp_path):
    paths = [
        tmp_path / "a" / "1.nii",
        tmp_path / "b" / "1.nii",
        tmp_path / "b" / "2 x.nii",
        tmp_path / "B_1.nii",
    ]
    sources = [Source(path, path.stem) for path in paths]
    assert case_names(sources, tmp_path) == ["a_1", "b_1", "2_x", "B_1_2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("-rf", "rf"), ("--out", "out"), ("index.html", "case_index.html"), ("Summary.CSV", "case_Summary.CSV"),
     ("-", "case"), ("..", "case"), ("2024", "2024"), ("a-b", "a-b"),
     ("é" * 124, "é" * 100)],
)  # fmt: skip
def test_names_that_mean_something_else(tmp_path, name, expected):
    """To a shell, a command, or among the results."""
    assert case_names([Source(tmp_path / name, name)], tmp_path) == [expected]


def test_dicom_is_named_by_its_uids_alone(tmp_path):
    def name(own, uid, instance="1.5"):
        header = {"PatientName": "Doe^Jane", "StudyInstanceUID": uid, "SOPInstanceUID": instance}
        return neutral_name(own, Source(tmp_path, own, study(header)))

    assert name("DOE_JANE", "1.2.3") == name("scan7", "1.2.3") != name("scan7", "1.2.4")
    assert name("a", "", "1.6") == name("b", "", "1.6") != name("b", "", "1.7")
    assert name("a", "1.2.3").startswith("case_")


def test_descriptions_show_only_words_that_name_nobody():
    shown = {
        "Head 5.0 H31s": "Head 5.0 H31s",
        "Müller Head 5mm": "… Head 5mm",
        "HEAD W/O CONTRAST 17.09.1961": "HEAD W/O CONTRAST …",
        "Head_Doe_Jane 4711": "Head …",
        "Jones": "",
    }
    assert {text: public_words(text) for text in shown} == shown


def test_cells_are_no_formulas(tmp_path):
    write_summary(tmp_path, [Failure("=1+2", "+cmd"), Failure("a", "-5"), Failure("b", "plain")])
    rows = (tmp_path / "summary.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["'=1+2", "a", "b"]
    assert [row.split(",")[-1] for row in rows] == ["'+cmd", "'-5", "plain"]


def test_failures_come_back_from_the_table(tmp_path):
    """As `headct correct` writes them again."""
    failures = [Failure("=1+1", "-: expected this, found 'that'", "1.2.3"), Failure("b", "'no'")]
    write_summary(tmp_path, failures)
    assert read_failures(tmp_path) == failures


def test_codes_of_the_classes():
    """Checked against the SNOMED CT terms that public value sets and DICOM's own dictionary give."""
    known = {
        "iph": "274100004",
        "subdural": "35486000",
        "sah": "21454007",
        "ivh": "1386000",
        "blood": "1386000",
    }
    for text, code in known.items():
        assert next(c for pattern, c, _ in CODES if re.search(pattern, text)) == code


def test_density_of_fresh_blood_is_50_to_90_hu():
    def lesion(number: int, hu: float) -> Lesion:
        return Lesion(number, 1.0, 1.0, 10.0, hu, [0.0, 0.0, 0.0], None, None, [1, 2], "iph")

    assert density_warnings([lesion(1, 50.0), lesion(2, 90.0)]) == []
    thin, dense = density_warnings([lesion(1, 30.4), lesion(2, 70.0), lesion(3, 150.6), lesion(4, 49.0)])
    assert thin.startswith("Lesion 1 (30 HU), 4 (49 HU): not as dense as fresh blood")
    assert dense.startswith("Lesion 3 (151 HU): denser than fresh blood")
    (many,) = density_warnings([lesion(n, 10.0) for n in range(1, 8)])
    assert "5 (10 HU) and 2 more:" in many


def test_small_lesions_against_the_skull_are_doubted():
    def lesion(number: int, volume_ml: float, depth_mm: float | None) -> Lesion:
        return Lesion(number, volume_ml, 0.1, 10.0, 80.0, [0.0, 0.0, 0.0], None, depth_mm, [1, 2], "sdh")

    assert seam_warnings([lesion(1, 2.0, 0.0), lesion(2, 0.2, 9.0), lesion(3, 0.2, None)]) == []
    (one,) = seam_warnings([lesion(1, 2.0, 0.0), lesion(2, 0.3, 0.4)])
    assert one.startswith("Lesion 2 is small and lies against the skull")
    (two,) = seam_warnings([lesion(1, 0.3, 0.0), lesion(2, 0.2, 0.4)])
    assert two.startswith("Lesion 1, 2 are small and lie against the skull")


def test_a_folder_of_damaged_images_is_named_beside_others(tmp_path):
    """One line for each folder; what is not called an image is left out beside a volume."""
    report = pydicom.Dataset()
    report.SOPClassUID, report.SOPInstanceUID = pydicom.uid.EnhancedSRStorage, "1.2.3"
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    for name in ("good/scan.nii.gz", "lost/1.dcm", "lost/2.dcm", "good/notes.txt", "notes/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"damaged")
    (tmp_path / "report").mkdir()
    report.save_as(tmp_path / "report" / "sr.dcm", enforce_file_format=True)
    scan, lost = find_sources(tmp_path)
    assert (scan.name, scan.fault) == ("scan", "")
    assert lost.fault == f"{tmp_path}/lost/1.dcm: expected a DICOM image, found a file of text"
    (tmp_path / "good" / "1.dcm").write_bytes(b"damaged")
    (tmp_path / "notes" / "b.nii.gz").write_bytes(b"damaged")
    (tmp_path / "notes" / "1").symlink_to(tmp_path / "nowhere")
    ends = ("good/1.dcm: expected a DICOM image, found a file of text", lost.fault, "found a link to nothing")
    faults = sorted(source.fault for source in find_sources(tmp_path) if source.fault)
    assert [fault.endswith(end) for fault, end in zip(faults, ends, strict=True)] == [True] * 3
    assert "lost" not in lost.name


def test_linked_folders_are_followed_once(tmp_path):
    """A collection of links, one of them to a folder above it; results lie below what was asked for."""
    (tmp_path / "store" / "a").mkdir(parents=True)
    (tmp_path / "store" / "a" / "scan.nii").touch()
    (tmp_path / "in" / "out").mkdir(parents=True)
    (tmp_path / "in" / "out" / "mask.nii").touch()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "in")
    out = (tmp_path / "in" / "out").resolve()
    found = [source.path for source in find_sources(tmp_path / "in", skip=out)]
    assert found == [tmp_path / "in" / "linked" / "a" / "scan.nii"]
    assert [source.path.name for source in find_sources(out, skip=out)] == ["mask.nii"]


@pytest.mark.parametrize("seed", [3, 6])
def test_a_head_that_lies_otherwise_than_its_affine_says(seed):
    case = HeadPhantom(seed=seed, kind="normal", shape=(110, 110, 32), spacing=(2.0, 2.0, 5.5)).render()
    hu, brain = case.image.as_tensor()[0].numpy(), case.brain.as_tensor()[0].numpy() > 0
    affine = case.image.affine.numpy()
    assert orientation_doubts(hu, brain, affine) == []

    def said(change, matrix=affine):
        return " ".join(orientation_doubts(change(hu), change(brain), matrix))

    assert "behind the brain" in said(lambda x: x[:, ::-1])
    assert "above the brain" in said(lambda x: x[..., ::-1])
    assert "not longest from front to back" in said(lambda x: np.rot90(x))
    assert "not longest from front to back" in said(lambda x: np.swapaxes(x, 1, 2), affine[:, [0, 2, 1, 3]])
    assert "mL" in said(lambda x: x, affine @ np.diag([2, 2, 1, 1]))


def test_an_affine_that_nobody_set_is_told_from_a_scanners():
    shape, mm = (80, 90, 30), [0.5, 0.5, 5.0]
    itk = np.diag([-mm[0], -mm[1], mm[2], 1.0])
    nifti = nib.Nifti1Header()
    nifti.set_data_shape(shape)
    nifti.set_zooms(mm)
    for affine in (np.diag([*mm, 1.0]), itk, nifti.get_base_affine()):
        (text,) = default_affine(affine, shape)
        assert "no side is stated" in text
        assert "1 mm" not in text
    assert "voxel size of 1 mm" in default_affine(np.eye(4), shape)[0]
    moved = itk.copy()
    moved[:3, 3] = [120.3, 118.7, -40]
    assert default_affine(moved, shape) == []
    turned = np.diag([*mm, 1.0])
    turned[:2, :2] = [[0, 0.5], [-0.5, 0]]
    assert default_affine(turned, shape) == []
