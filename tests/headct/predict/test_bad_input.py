"""Whatever is wrong: one line that names the file and the cause, and nothing half-written."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
import yaml

from headct.cli.main import main
from headct.predict import predict
from tools.core.errors import InputError
from tools.data.datalist import inference_cases
from tools.volumes.read import LoadVolumed

AFFINE = np.diag([2.6, 2.6, 7.0, 1.0])


@dataclass
class Place:
    """Where a row makes its input, and what it calls the command with."""

    root: Path
    bundle: Path
    image: object
    support: SimpleNamespace
    options: dict[str, object] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        path = self.root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def nifti(self, data: np.ndarray, name: str = "scan.nii.gz", affine: np.ndarray = AFFINE) -> Path:
        nib.save(nib.Nifti1Image(data, affine), self.path(name))
        return self.path(name)

    def hu(self, dtype: type = np.int16) -> np.ndarray:
        return self.image.as_tensor()[0].numpy().round().astype(dtype)

    def series(self, **options: object) -> Path:
        return self.support.write_series(self.path("study"), self.image, **options)

    def zip(self, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
        with zipfile.ZipFile(self.path("scan.zip"), "w", method) as file:
            for name, data in content.items():
                file.writestr(name, data)
        return self.path("scan.zip")

    def weights(self, state: object) -> Path:
        torch.save(state, self.path("w/model.pt"))
        self.options["weights"] = self.path("w/model.pt")
        return self.nifti(self.hu())


def _patched(path: Path, start: int, data: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[start : start + len(data)] = data
    path.write_bytes(raw)
    return path


def _cut(path: Path, keep: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def _with(data: np.ndarray, value: float) -> np.ndarray:
    data[40, 40, 10] = value
    return data


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _beside(p: Place, name: str, content: bytes) -> Path:
    """A good series with one more file in its folder."""
    folder = p.series()
    (folder / name).write_bytes(content)
    return folder


def _of_slice(number: int, change: Callable) -> Callable:
    return lambda i, dataset: change(dataset) if i == number else None


def _turned(dataset: pydicom.Dataset) -> None:
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def _smaller(dataset: pydicom.Dataset) -> None:
    dataset.Rows = 40
    dataset.PixelData = dataset.PixelData[: 40 * 80 * 2]


def _of_another(dataset: pydicom.Dataset) -> None:
    dataset.PatientID = "PID4712"


def _sagittal(i: int, dataset: pydicom.Dataset) -> None:
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.ImagePositionPatient = [5.0 * i, -100, 100]


def _report(i: int, dataset: pydicom.Dataset) -> None:
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)


def _cut_pixels(p: Place) -> Path:
    folder = p.series()
    _cut(folder / "003.dcm", 0.8)
    return folder


def _cut_header(p: Place) -> Path:
    folder = p.series()
    _cut(folder / "003.dcm", 0.02)
    return folder


def _missing(p: Place) -> Path:
    return p.series(heights=[h for h in np.arange(-66.0, 78, 6) if h not in (0, 6)])


def _double(p: Place) -> Path:
    """Two images at one position that differ."""

    def brighter(i: int, dataset: pydicom.Dataset) -> None:
        if i == 24:
            dataset.PixelData = bytes(len(dataset.PixelData))

    return p.series(heights=[*np.arange(-66.0, 78, 6), 12.0], change=brighter)


def _encrypted(p: Place) -> Path:
    path = p.zip({"a.nii.gz": b"abc"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    return path


def _link(p: Place) -> Path:
    info = zipfile.ZipInfo("a.nii.gz")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(p.path("scan.zip"), "w") as file:
        file.writestr(info, "/etc/passwd")
    return p.path("scan.zip")


def _zip_in_zip(p: Place) -> Path:
    inner = p.zip({"a.nii.gz": b"abc"}).read_bytes()
    return p.zip({"inner.zip": inner})


def _bundle(p: Place, **changes: object) -> Path:
    """A copy of the bundle, whose configs are changed (None removes a key)."""
    folder = p.root / "changed"
    shutil.copytree(p.bundle, folder)
    config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    config.update(changes)
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(config))
    p.options["bundle"] = folder
    return p.nifti(p.hu())


def _no_weights(p: Place) -> Path:
    scan = _bundle(p)
    (p.root / "changed" / "models" / "model.pt").unlink()
    return scan


def _foreign_folder(p: Place) -> Path:
    (p.root / "out" / "scan").mkdir(parents=True)
    (p.root / "out" / "scan" / "mine.txt").write_text("keep me")
    return p.nifti(p.hu())


def _option(name: str, value: object) -> Callable[[Place], Path]:
    def make(p: Place) -> Path:
        p.options[name] = value
        return p.nifti(p.hu())

    return make


def _out_is_a_file(p: Place) -> Path:
    p.options["out"] = _written(p.path("taken"), b"")
    return p.nifti(p.hu())


def _nothing_but(p: Place, name: str, content: bytes) -> Path:
    return _written(p.path(name), content).parent


def _slope(p: Place) -> Path:
    image = nib.Nifti1Image(p.hu(), AFFINE)
    image.header.set_slope_inter(1000.0, 0)
    nib.save(image, p.path("scan.nii"))
    return _patched(p.path("scan.nii"), 112, np.float32(1000).tobytes())


def _affine(matrix: np.ndarray) -> Callable[[Place], Path]:
    def make(p: Place) -> Path:
        path = p.nifti(p.hu(), "scan.nii")
        return _patched(path, 280, matrix[:3].astype(np.float32).tobytes())

    return make


def _no_affine(p: Place) -> Path:
    return _patched(p.nifti(p.hu(), "scan.nii"), 252, bytes(4))


def _no_head(p: Place) -> Path:
    data = np.full((60, 60, 20), -1000, np.int16)
    data[25:30, 25:30, 8:12] = 1000
    return p.nifti(data)


RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
HOUNSFIELD = "expected Hounsfield units"
PLAIN = "expected a head CT without contrast in a soft kernel"
ROWS: list[tuple[str, Callable[[Place], Path], str, str]] = [
    # what is wrong, how it is made, the name in the message, the cause in the message
    ("nothing there", lambda p: p.path("none.nii.gz"), "none.nii.gz", "found nothing there"),
    ("empty file", lambda p: _written(p.path("a.nii.gz"), b""), "a.nii.gz", "complete NIfTI file"),
    ("text as NIfTI", lambda p: _written(p.path("a.nii"), b"hello"), "a.nii", "complete NIfTI file"),
    ("cut gzip", lambda p: _cut(p.nifti(p.hu()), 0.7), "scan.nii.gz", "complete NIfTI file"),
    ("cut NIfTI", lambda p: _cut(p.nifti(p.hu(), "a.nii"), 0.7), "a.nii", "complete NIfTI file"),
    ("NaN", lambda p: p.nifti(_with(p.hu(np.float32), np.nan)), "scan.nii.gz", "1 voxels that are NaN"),
    ("infinite", lambda p: p.nifti(_with(p.hu(np.float32), np.inf)), "scan.nii.gz", "NaN or infinite"),
    ("4D", lambda p: p.nifti(np.stack([p.hu()] * 2, -1)), "scan.nii.gz", "3D volume of several slices"),
    ("2D", lambda p: p.nifti(p.hu()[..., 0]), "scan.nii.gz", "3D volume of several slices"),
    ("one slice", lambda p: p.nifti(p.hu()[..., :1]), "scan.nii.gz", "3D volume of several slices"),
    ("colours", lambda p: p.nifti(np.zeros((9, 9, 9), RGB)), "scan.nii.gz", "found colours"),
    ("complex", lambda p: p.nifti(p.hu(np.complex64)), "scan.nii.gz", "found complex ones"),
    ("no affine", _no_affine, "scan.nii", "expected an affine"),
    ("singular affine", _affine(np.zeros((4, 4))), "scan.nii", "invertible affine"),
    ("NaN affine", _affine(np.full((4, 4), np.nan)), "scan.nii", "invertible affine"),
    ("zero spacing", _affine(np.diag([2.6, 2.6, 0, 1])), "scan.nii", "invertible affine"),
    ("absurd affine", _affine(np.diag([900, 900, 900, 1.0])), "scan.nii", "the affine is wrong"),
    ("micrometres", _affine(np.diag([0.05, 0.05, 0.05, 1])), "scan.nii", "the affine is wrong"),
    ("8-bit window", lambda p: p.nifti(p.hu().clip(0, 80).astype(np.uint8)), "scan.nii.gz", HOUNSFIELD),
    ("0 to 1", lambda p: p.nifti(p.hu(np.float32).clip(0, 1)), "scan.nii.gz", HOUNSFIELD),
    ("overflow", lambda p: p.nifti(p.hu().astype(np.uint16)), "scan.nii.gz", HOUNSFIELD),
    ("wrong slope", _slope, "scan.nii", HOUNSFIELD),
    ("a label map", lambda p: p.nifti((p.hu() > 60).astype(np.uint8)), "scan.nii.gz", HOUNSFIELD),
    ("no head", _no_head, "scan.nii.gz", "brain|head"),
    ("wrong extension", lambda p: _written(p.path("a.png"), b"png"), "a.png", "found a file of text"),
    ("NIfTI by another name", lambda p: p.nifti(p.hu()).rename(p.path("a.img.gz")),
     "a.img.gz", "found a gzipped file"),
    ("empty folder", lambda p: p.path("x").parent, "in", "found none"),
    ("only notes", lambda p: _nothing_but(p, "notes.txt", b"hello"), "in", "found none"),
    ("only empty DICOM", lambda p: _nothing_but(p, "a.dcm", b""), "a.dcm", "an empty file"),
    ("only text as DICOM", lambda p: _nothing_but(p, "a.dcm", b"hello"), "a.dcm", "a.dcm: a file of text"),
    ("DICOM report", lambda p: p.series(change=_report), "000.dcm", "without an image"),
    ("MR", lambda p: p.series(Modality="MR"), "study", "modality MR"),
    ("contrast agent", lambda p: p.series(ContrastBolusAgent="Omnipaque"), "study", "with contrast agent"),
    ("CTA", lambda p: p.series(SeriesDescription="CTA head"), "study", f"{PLAIN}.*CTA"),
    ("bone kernel", lambda p: p.series(ConvolutionKernel="BONEPLUS"), "study", f"{PLAIN}.*bone kernel"),
    ("sharp kernel", lambda p: p.series(ConvolutionKernel=["H70h", "3"]), "study", "bone kernel H70h"),
    ("chest", lambda p: p.series(BodyPartExamined="CHEST"), "study", "body part CHEST"),
    ("scout only", lambda p: p.series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
     "study", "a scout view"),
    ("one DICOM slice", lambda p: p.series(heights=[0.0]), "study", "one slice is no volume"),
    ("sagittal", lambda p: p.series(change=_sagittal), "study", "not axial"),
    ("DICOM colours", lambda p: p.series(SamplesPerPixel=3), "study", "colour pictures"),
    ("missing slices", _missing, "dcm", "2 slices of the series are missing"),
    ("double slice", _double, "dcm", "expected each slice once"),
    ("mixed orientation", lambda p: p.series(change=_of_slice(9, _turned)),
     "dcm", "1 slice of the series is missing.*no slice of its stack"),
    ("mixed sizes", lambda p: p.series(change=_of_slice(9, _smaller)),
     "dcm", "1 slice of the series is missing.*no slice of its stack"),
    ("DICOM zero spacing", lambda p: p.series(PixelSpacing=[0, 2.6]), "dcm", "pixel spacing above 0"),
    ("no position", lambda p: p.series(ImagePositionPatient=None),
     "dcm", "3 numbers in ImagePositionPatient"),
    ("no rescaling", lambda p: p.series(RescaleIntercept=0), "study", HOUNSFIELD),
    ("cut pixels", _cut_pixels, "003.dcm", "expected"),
    ("cut header", _cut_header, "003.dcm", "found"),
    ("two patients", lambda p: p.series(change=_of_slice(9, _of_another)), "study", "images of 2 patients"),
    ("empty file beside", lambda p: _beside(p, "x.dcm", b""), "x.dcm", "found an empty file"),
    ("text file beside", lambda p: _beside(p, "x.dcm", b"hello"), "x.dcm", "found a file of text"),
    ("zip: leaves the folder", lambda p: p.zip({"../../a.nii.gz": b"a"}), "scan.zip", "names within the zip"),
    ("zip: absolute", lambda p: p.zip({"/tmp/a.nii.gz": b"a"}), "scan.zip", "names within the zip"),
    ("zip: a drive", lambda p: p.zip({"C:\\a.nii.gz": b"a"}), "scan.zip", "names within the zip"),
    ("zip: a bomb", lambda p: p.zip({"a.nii": bytes(2**27)}), "scan.zip", "grows at most"),
    ("a pipe", lambda p: (os.mkfifo(p.path("a.nii")), p.path("a.nii"))[1], "a.nii", "found a pipe"),
    ("zip: a pipe", lambda p: (os.mkfifo(p.path("a.zip")), p.path("a.zip"))[1], "a.zip", "found a pipe"),
    ("zip: a link", _link, "scan.zip", "found the link"),
    ("zip: encrypted", _encrypted, "scan.zip", "without password"),
    ("zip: empty", lambda p: p.zip({}), "scan.zip", "expected files in the zip"),
    ("zip: cut", lambda p: _cut(p.zip({"a.nii": bytes(99)}), 0.5), "scan.zip", "complete zip file"),
    ("zip: no zip", lambda p: _written(p.path("scan.zip"), b"hello"), "scan.zip", "complete zip file"),
    ("zip: in a zip", _zip_in_zip, "scan.zip", "no zip within a zip"),
    ("zip: damaged scan", lambda p: p.zip({"b/a.nii.gz": b"x"}), "scan.zip/b/a.nii.gz", "complete NIfTI"),
    ("zip: only notes", lambda p: p.zip({"a.txt": b"x"}), "scan.zip", "found none"),
    ("unknown bundle", _option("bundle", "unet9"), "bundle", "one of .*se_unet3d.* found 'unet9'"),
    ("the same bundle twice", _option("bundle", "BRIGHT,BRIGHT"), "bundle", "found bright twice"),
    ("no weights", _no_weights, "changed/models/model.pt", "found no such file"),
    ("no such weights", _option("weights", "/nowhere/*.pt"), "/nowhere", "found no such file"),
    ("weights for one of two", _option("weights", "a.pt,b.pt"), "weights", "one for each of 1 bundles"),
    ("other weights", lambda p: p.weights({"a": torch.ones(1)}), "model.pt", "of which 0 fit"),
    ("other sizes",
     lambda p: p.weights({"conv.weight": torch.ones(3, 1, 1, 1, 1), "conv.bias": torch.ones(3)}),
     "model.pt", "of which 0 fit"),
    ("text as weights", lambda p: (p.weights({}), _written(p.path("w/model.pt"), b"hi"))[0],
     "model.pt", "found"),
    ("a key is missing", lambda p: _bundle(p, inferer=None), "inference.yaml", "found no inferer"),
    ("configs that don't load", lambda p: _bundle(p, network_def={"_target_": "scripts.network.None"}),
     "inference.yaml", "configs that load"),
    ("unknown device", _option("device", "abacus"), "device", "found 'abacus'"),
    ("a map of nothing", _option("no-uncertainty", "--save-uncertainty"), "save_uncertainty", "neither"),
    ("negative volume", _option("min_ml", -1), "min_ml", "from 0 mL"),
    ("unknown series", lambda p: (_option("series", 99)(p), p.series())[1], "study", "number or UID 99"),
    ("out is a file", _out_is_a_file, "taken", "a folder to write to"),
    ("something else in out", _foreign_folder, "out/scan", "no report.json"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "cause"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_one_line_and_nothing_written(make, name, cause, bright, head, tmp_path, support, capsys):
    place = Place(tmp_path, bright, head(), support)
    path = make(place)
    _fails_in_one_line(place, path, name, cause, capsys)


def _fails_in_one_line(place: Place, path: Path, name: str, cause: str, capsys) -> None:
    out = place.root / "out"
    before = _content(out)
    options = {"bundle": place.bundle, "out": out, **place.options}
    options["bundle"] = str(options["bundle"]).replace("BRIGHT", str(place.bundle))
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    code = main(["predict", str(path), "--no-progress", *words])
    output = capsys.readouterr()
    errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert code in (1, 2), output
    assert len(errors) == 1, output.err
    assert name in errors[0]
    assert re.search(cause, errors[0]), errors[0]
    assert "Traceback" not in output.err + output.out
    if out.is_dir():
        lists = {"index.html", "summary.csv"}
        assert _content(out) - lists == before - lists


def _content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} if folder.is_dir() else set()


def test_there_are_enough():
    assert len({row[0] for row in ROWS}) == len(ROWS) >= 40


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _open_to_others(*folders: Path) -> None:
    """pytest's folders are closed to everybody else."""
    for folder in folders:
        for path in (folder, *folder.parents[:3]):
            if "pytest" in str(path):
                path.chmod(0o755)


def test_files_that_may_not_be_read(bright, head, tmp_path, support, capsys):
    place = Place(tmp_path, bright, head(), support)
    scan = place.nifti(place.hu())
    scan.chmod(0)
    _open_to_others(tmp_path, bright)
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    with _as_nobody():
        _fails_in_one_line(place, scan, "scan.nii.gz", "[Pp]ermission", capsys)


def test_a_folder_that_may_not_be_read_stops_no_other(bright, head, tmp_path, support, capsys):
    place = Place(tmp_path, bright, head(), support)
    place.nifti(place.hu())
    closed, out = place.path("patient_wu/scans"), tmp_path / "out"
    closed.mkdir()
    closed.chmod(0)
    _open_to_others(tmp_path, bright)
    out.mkdir()
    out.chmod(0o777)
    with _as_nobody():
        assert (
            main(["predict", str(place.root / "in"), "--no-progress", f"--bundle={bright}", f"--out={out}"])
            == 1
        )
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "1 of 2 failed:",
        f"error: {closed}: expected a folder that can be read, found: Permission denied",
    ]
    assert len(list(out.glob("*/*_seg.nii.gz"))) == 1
    assert "wu" not in (out / "summary.csv").read_text().split(str(closed))[0]


def test_folder_that_may_not_be_written(bright, head, tmp_path, support, capsys):
    place = Place(tmp_path, bright, head(), support)
    scan = place.nifti(place.hu())
    _open_to_others(tmp_path, bright)
    (tmp_path / "out").mkdir(mode=0o555)
    with _as_nobody():
        _fails_in_one_line(place, scan, "out", "Permission denied", capsys)


def test_disk_full(bright, head, tmp_path, support, capsys):
    out = tmp_path / "out"
    out.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(out)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small file system needs the right to mount one")
    try:
        place = Place(tmp_path, bright, head(), support)
        scan = place.nifti(place.hu())
        _fails_in_one_line(place, scan, "out", "found the disk full", capsys)
        assert _content(out) == set()
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_summary_that_cannot_be_written(bright, head, tmp_path, support, capsys):
    place = Place(tmp_path, bright, head(), support)
    scan = place.nifti(place.hu())
    (tmp_path / "out" / "summary.csv").mkdir(parents=True)
    assert main(["predict", str(scan), f"--bundle={bright}", f"--out={tmp_path / 'out'}"]) != 0
    assert "summary.csv: expected" in capsys.readouterr().err
    assert list((tmp_path / "out").glob("*/report.json"))


def test_gzip_of_something_else(bright, head, tmp_path, support, capsys):
    place = Place(tmp_path, bright, head(), support)
    path = _written(place.path("a.nii.gz"), gzip.compress(b"not an image"))
    _fails_in_one_line(place, path, "a.nii.gz", "complete NIfTI file", capsys)


def test_useless_weights_end_the_run_also_for_a_scan_in_a_zip(bright, scan, tmp_path):
    """Every other case would fail in the same way."""
    torch.save({"a": torch.ones(1)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as file:
        file.write(scan, "scan.nii.gz")
    with pytest.raises(
        InputError, match=r"model.pt: expected weights of Bright .* found 1 keys, of which 0 fit"
    ):
        predict(tmp_path / "scan.zip", bright, tmp_path / "out", weights=tmp_path / "model.pt")
    assert not (tmp_path / "out").exists()


def test_errors_and_logs_name_no_patient(bright, head, support, tmp_path, capsys, caplog):
    """Folders and descriptions hold the name; of two studies, one lacks a slice and one is no CT."""
    secret = "Doe_Jane"
    for folder, study, lost, modality in (("first", "1.2.7", 9, "CT"), ("second", "1.2.8", None, "MR")):
        support.write_series(
            tmp_path / "in" / f"{secret}_{folder}", head(), StudyInstanceUID=study, Modality=modality,
            SeriesInstanceUID=f"{study}.1", SeriesDescription=f"Head {secret}",
            heights=[h for i, h in enumerate(np.arange(-66.0, 78, 6)) if i != lost],
        )  # fmt: skip
    result = predict(tmp_path / "in", bright, tmp_path / "out", say=print)
    assert len(result.failures) == 2
    for failure in result.failures:
        assert failure.message.startswith(f"{failure.name} (study {failure.study_uid})")
    assert {failure.study_uid for failure in result.failures} == {"1.2.7", "1.2.8"}
    said = "".join(file.read_text() for file in (tmp_path / "out").iterdir()) + capsys.readouterr().out
    for item in inference_cases(tmp_path / "in"):
        with pytest.raises(InputError) as caught:
            LoadVolumed("image", converted_dir=tmp_path / "kept")(item)
        assert str(caught.value).startswith(f"{item['case']} (study {item['study_uid']})")
        said += str(caught.value)
    said += "".join(record.getMessage() for record in caplog.records)
    assert "1 slice of the series is missing" in said
    assert secret.lower() not in said.lower()
    kept = predict(tmp_path / "in", bright, tmp_path / "kept", keep_identifiers=True).failures
    assert all(secret in failure.message for failure in kept)
    (typed,) = predict(tmp_path / "in" / f"{secret}_second", bright, tmp_path / "typed").failures
    assert str(tmp_path / "in" / f"{secret}_second") in typed.message


def test_inferring_advises_no_option_of_predict(head, support, tmp_path):
    folder = support.write_series(tmp_path / "in", head(), heights=[*range(-66, 0, 6), *range(12, 72, 6)])
    with pytest.raises(InputError, match=r"slices? of the series (is|are) missing") as caught:
        LoadVolumed("image")({"image": str(folder)})
    assert "--" not in str(caught.value)
