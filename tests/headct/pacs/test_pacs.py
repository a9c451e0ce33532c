"""A real PACS: studies fetched, predicted, and the results filed beside the images, once."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from headct.cli.main import main
from headct.pacs import StudyQuery, predict_studies
from headct.predict.results import Case
from tests.headct.pacs.orthanc import PASSWORD, Wire, certificate, free_port
from tests.headct.predict.test_dicom import truth_of

STUDY = "1.2.826.0.2"
SECRETS = ("Doe", "PID4711", "19500203", "ACC99", "20200101", PASSWORD)


def command(orthanc, bright, out, *options):
    return main(
        ["predict", orthanc.address, "--bundle", str(bright), "--out", str(out), "--no-uncertainty",
         "--no-progress", *options]
    )  # fmt: skip


def errors_of(dataset: bytes, file: Path) -> list[str]:
    """What dciodvfy finds wrong."""
    if shutil.which("dciodvfy") is None:
        return []
    file.write_bytes(dataset)
    run = subprocess.run(["dciodvfy", file], capture_output=True, text=True)
    return [line for line in run.stderr.splitlines() if line.startswith("Error")]


def measured(group) -> dict[str, float]:
    """Values of a measurement group by their code."""
    return {item.name.value: float(item.value) for item in group.get_measurements()}


def presence(group):
    """Whether there is hemorrhage, as the group says."""
    return next(
        i.value for i in group.get_qualitative_evaluations() if i.name == codes.DCM.PresenceOfProperty
    )


def test_there_and_back_once(orthanc, bright, head, series, tmp_path, capfd):
    """Fetched, predicted and stored beside the images: on their slices, under their patient, once."""
    name = "Müller-Doe^Jane"
    folder = series(head(), PatientName=name, SpecificCharacterSet="ISO_IR 100", IssuerOfPatientID="ISS")
    orthanc.upload(folder)
    orthanc.upload(series(head(0), number=3, SeriesDescription="CTA head"))
    out = tmp_path / "out"
    assert command(orthanc, bright, out, "--study", STUDY, "--send") == 0
    shown = "".join(capfd.readouterr())
    assert "3 objects sent" in shown
    for secret in (*SECRETS, "ller"):
        assert secret not in shown
        for file in out.rglob("*"):
            assert secret not in file.name
            if file.suffix in (".dcm", ".json", ".csv"):
                assert secret.encode() not in file.read_bytes(), file.name
    assert not list(out.glob(".predict-*"))

    case = Case.read(next(path.parent for path in out.glob("*/report.json")))
    assert "number 2" in case.scan["series"]
    assert len(orthanc.get("/patients")) == len(orthanc.get("/studies")) == 1
    (seg,), (report,), (picture,) = (orthanc.objects(modality) for modality in ("SEG", "SR", "OT"))
    for content in (seg, report, picture):
        assert errors_of(content, tmp_path / "sent.dcm") == []
        sent = pydicom.dcmread(io.BytesIO(content))
        assert (sent.PatientID, str(sent.PatientName), sent.StudyInstanceUID) == ("PID4711", name, STUDY)
        assert (sent.AccessionNumber, sent.StudyDate, sent.IssuerOfPatientID) == ("ACC99", "20200101", "ISS")
        assert "PatientIdentityRemoved" not in sent
        local = {str(pydicom.dcmread(file).SOPInstanceUID) for file in out.rglob("*.dcm")}
        assert str(sent.SOPInstanceUID) not in local

    seg = highdicom.seg.segread(io.BytesIO(seg))
    originals = {str(pydicom.dcmread(file).SOPInstanceUID): file for file in folder.iterdir()}
    masks = seg.get_pixels_by_source_instance(list(originals), assert_missing_frames_are_empty=True)[..., 0]
    truth = np.stack([truth_of(file) for file in originals.values()])
    assert 2 * (masks & truth).sum() / (masks.sum() + truth.sum()) > 0.85

    assert case.models[0].sha256[0].encode() in report
    report = highdicom.sr.srread(io.BytesIO(report))
    lesions = report.content.get_volumetric_roi_measurement_groups()
    assert len(lesions) == len(case.lesions) > 0
    for group, lesion in zip(lesions, case.lesions, strict=True):
        found = measured(group)
        assert found[codes.SCT.Volume.value] == pytest.approx(lesion.volume_ml, abs=6e-4)
        assert found[codes.SCT.LongAxis.value] == pytest.approx(lesion.diameter_mm, abs=0.06)
        assert found[codes.DCM.AttenuationCoefficient.value] == pytest.approx(lesion.mean_hu, abs=0.06)
        reference = group.referenced_segment[0].ReferencedSOPSequence[0]
        segment = seg.get_segment_description(reference.ReferencedSegmentNumber)
        assert reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        assert group.tracking_uid == segment.tracking_uid
    assert lesions[0].finding_sites[0].laterality == codes.SCT.Right
    (verdict,) = report.content.get_image_measurement_groups()
    assert presence(verdict) == codes.SCT.Present
    assert pydicom.dcmread(io.BytesIO(picture)).pixel_array.shape[2] == 3

    count = len(orthanc.get("/instances"))
    assert command(orthanc, bright, out, "--study", STUDY, "--send") == 0  # it is there
    assert command(orthanc, bright, tmp_path / "again", "--patient-id", "PID4711", "--send") == 0  # made anew
    assert capfd.readouterr().out.count("0 objects sent, 3 there before") == 2
    assert len(orthanc.get("/instances")) == count


def test_nothing_found_is_said(orthanc, bright, head, series, tmp_path):
    orthanc.upload(series(head(0)))
    query = StudyQuery(date_range="20191231-20200101")
    options = {"uncertainty": False, "min_ml": 50.0}
    result = predict_studies(orthanc.address, query, bright, tmp_path / "out", send=True, **options)
    assert not result.cases[0].hemorrhage
    (content,) = orthanc.objects("SR")
    assert errors_of(content, tmp_path / "sent.dcm") == []
    report = highdicom.sr.srread(io.BytesIO(content))
    assert report.content.get_volumetric_roi_measurement_groups() == []
    (verdict,) = report.content.get_image_measurement_groups()
    assert presence(verdict) == codes.SCT.Absent
    assert measured(verdict)[codes.SCT.Volume.value] == 0


def test_two_studies_of_a_patient(orthanc, bright, head, series, tmp_path, capsys):
    """One line that names both; or both, each filed in its own study, and one of them has no head."""
    orthanc.upload(series(head()))
    orthanc.upload(series(head(), study="1.2.826.0.5", number=4, SeriesDescription="CTA"))
    assert command(orthanc, bright, tmp_path / "out", "--patient-id", "PID4711") == 2
    line = capsys.readouterr().err
    assert "expected one study with CT, found 2: 1.2.826.0.2, 1.2.826.0.5; choose one by --study" in line
    assert line.count("\n") == 1
    assert "PID4711" not in line
    assert not (tmp_path / "out").exists()
    assert (
        command(orthanc, bright, tmp_path / "out", "--patient-id", "PID4711", "--all-studies", "--send") == 1
    )
    shown = capsys.readouterr()
    assert "1 of 2 failed" in shown.err
    assert "1.2.826.0.5" in shown.err
    (report,) = orthanc.objects("SR")
    assert pydicom.dcmread(io.BytesIO(report)).StudyInstanceUID == STUDY


def one_line(capsys, *parts: str) -> None:
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for part in ("error: ", *parts):
        assert part in line
    for secret in SECRETS:
        assert secret not in line


def test_what_cannot_be_had_is_one_line(orthanc, bright, head, series, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    orthanc.upload(series(head(), Modality="MR"))
    assert command(orthanc, bright, out, "--study", STUDY) == 2
    one_line(capsys, f"expected a study with CT {STUDY}, found none")
    orthanc.clear()
    chest = {"BodyPartExamined": "CHEST", "SeriesDescription": "Chest 5.0"}
    orthanc.upload(series(head(), **chest))
    assert command(orthanc, bright, out, "--study", STUDY) == 1
    assert "expected a head CT without contrast" in capsys.readouterr().err
    shutil.rmtree(out)
    monkeypatch.setenv("HEADCT_DICOMWEB_PASSWORD", "another")
    assert command(orthanc, bright, out, "--study", STUDY) == 2
    one_line(capsys, "expected credentials that the server accepts", "HEADCT_DICOMWEB_USER refused", "401")
    assert not out.exists()


@pytest.mark.parametrize("when", ["never there", "before the images", "amid the images"])
def test_a_server_that_is_gone(when, orthanc, bright, head, series, tmp_path, capsys):
    """One line, and nothing is written."""
    orthanc.upload(series(head()))
    most = {"never there": None, "before the images": 500, "amid the images": 12 * 80 * 80 * 2}[when]
    wire = Wire(orthanc.port, most) if most else None
    port = wire.port if wire else free_port()
    gone = SimpleNamespace(address=f"dicomweb+http://127.0.0.1:{port}/dicom-web")
    assert command(gone, bright, tmp_path / "out", "--study", STUDY, "--send") == 2
    one_line(capsys, "expected")
    assert not (tmp_path / "out").exists()
    if wire is not None:
        wire.close()


def test_what_could_not_be_sent_is_sent_later(orthanc, bright, head, series, tmp_path):
    """The server goes when the scan is predicted: the result stays, and the same command sends it."""
    orthanc.upload(series(head()))
    wire, query = Wire(orthanc.port), StudyQuery(study=STUDY)
    address = f"dicomweb+http://127.0.0.1:{wire.port}/dicom-web"
    options = {"send": True, "uncertainty": False}
    first = predict_studies(address, query, bright, tmp_path, say=lambda line: wire.cut(), **options)
    assert first.cases == []
    assert "expected an answer while looking for results that are there, found" in first.failures[0].message
    assert len(list(tmp_path.glob("*/report.html"))) == 1
    second = predict_studies(orthanc.address, query, bright, tmp_path, **options)
    assert [case.skipped for case in second.cases] == [True]
    assert len(orthanc.objects("SEG")) == len(orthanc.objects("SR")) == 1


def test_credentials_from_netrc_and_certificates(
    orthanc, bright, head, series, tmp_path, capsys, monkeypatch
):
    """Nobody's certificate is taken without being told so; netrc is read by the machine's name."""
    orthanc.upload(series(head()))
    both = certificate(tmp_path)
    wire = Wire(orthanc.port, certificate=both)
    orthanc_tls = SimpleNamespace(address=f"dicomweb+https://127.0.0.1:{wire.port}/dicom-web")
    assert command(orthanc_tls, bright, tmp_path / "out", "--study", STUDY) == 2
    one_line(capsys, "expected a certificate that can be verified", "REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(both.with_name("certificate.pem")))
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"HEADCT_DICOMWEB_{name}")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login headct-test password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert command(orthanc_tls, bright, tmp_path / "out", "--study", STUDY) == 0
    assert json.loads(next((tmp_path / "out").glob("*/report.json")).read_text())["hemorrhage"]
    wire.close()


def test_real_series(orthanc, bright, real_data, tmp_path):
    """A scanner's own tilt and uneven distances through a PACS: each frame lies on its slice."""
    folder = real_data / "ge_head_ct_dicom"
    orthanc.upload(folder)
    originals = [pydicom.dcmread(file) for file in folder.rglob("*.dcm")]
    query = StudyQuery(study=str(originals[0].StudyInstanceUID))
    predict_studies(orthanc.address, query, bright, tmp_path / "out", send=True, uncertainty=False)
    (seg,), (report,) = orthanc.objects("SEG"), orthanc.objects("SR")
    for content in (seg, report):
        assert errors_of(content, tmp_path / "sent.dcm") == []
    positions = {str(o.SOPInstanceUID): np.array(o.ImagePositionPatient, float) for o in originals}
    frames = pydicom.dcmread(io.BytesIO(seg)).PerFrameFunctionalGroupsSequence
    assert len(frames) > 0
    for frame in frames:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.allclose(place, positions[str(source.ReferencedSOPInstanceUID)], atol=1e-3)
