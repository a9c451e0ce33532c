"""From a NIfTI file to masks, a report and a verdict."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import signal
import zlib
from dataclasses import replace
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from headct.cli.main import main
from headct.predict import Case, PredictOptions, predict
from headct.predict.model.bundle import BundleModel, own_scripts
from headct.predict.output.index_page import index_page
from headct.predict.results import Failure, report_schema
from headct.runs.find_bundle import BUNDLES, find_bundle, find_weights
from tools.core.errors import InputError

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "report.schema.json"
RENEW = "python -m headct.predict.results > docs/report.schema.json"


@pytest.fixture(scope="module")
def result(bright, scan, tmp_path_factory):
    """The prediction of one scan with a ball of blood of 20 mm radius, 30 mm to the right, 20 mm up."""
    out = tmp_path_factory.mktemp("nifti")
    return predict(scan, bright, out, save_probabilities=True, save_uncertainty=True)


def test_mask_lies_on_the_scan_and_finds_the_ball(result, scan, support):
    case = result.cases[0]
    image, mask = nib.load(scan), nib.load(case.path("label"))
    assert mask.shape == image.shape
    assert np.allclose(mask.affine, image.affine, atol=1e-5)
    assert mask.get_data_dtype() == np.uint8
    label = np.asarray(mask.dataobj)
    truth = support.ball(image.affine, image.shape)
    assert 2 * (label * truth).sum() / (label.sum() + truth.sum()) > 0.9
    probability = np.asarray(nib.load(case.path("prob")).dataobj)
    assert np.array_equal(probability > 0.5, label > 0)
    assert np.allclose(nib.load(case.path("uncertainty")).affine, image.affine, atol=1e-5)


def test_numbers_match_the_mask(result, scan):
    case = result.cases[0]
    image = nib.load(scan)
    label = np.asarray(nib.load(case.path("label")).dataobj) > 0
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    lesion = case.lesions[0]
    assert len(case.lesions) == 1
    assert case.volume_ml == pytest.approx(label.sum() * voxel_ml)
    assert lesion.volume_ml == pytest.approx(case.volume_ml)
    assert lesion.abc_half_ml == pytest.approx(case.abc_half_ml)
    world = np.argwhere(label) @ image.affine[:3, :3].T + image.affine[:3, 3]
    assert lesion.centroid_mm == pytest.approx(world.mean(0).tolist(), abs=1e-3)
    assert lesion.centroid_mm == pytest.approx([30, 0, 20], abs=2)
    assert lesion.side == "right"
    assert lesion.mean_hu == pytest.approx(75, abs=1)  # as it was painted
    assert lesion.diameter_mm == pytest.approx(40, abs=2 * 2.6)
    assert case.models[0].volume_ml == pytest.approx(case.volume_ml)
    assert case.verdict == f"Hemorrhage found: {case.volume_ml:.1f} mL, 1 lesion"
    # the network sees one voxel at a time, and so does not mind the flip
    assert case.models[0].uncertainty.mean_deviation < 1e-3


def test_report_is_one_file_that_opens_offline(result):
    case = result.cases[0]
    page = case.path("html").read_text()
    assert page.index(case.verdict) < page.index("<table")
    assert "Research use only, not a medical device" in page
    assert "://" not in page
    assert not re.search(r"<(link|script)[^>]+(href|src)", page)
    data = page_data(page)
    depth, rows, columns = data["shape"]
    assert depth == data["count"] == 22
    bits = np.frombuffer(zlib.decompress(base64.b64decode(data["layers"][0]["bits"])), np.uint8)
    shown = np.unpackbits(bits)[: depth * rows * columns].reshape(data["shape"])
    label = np.asarray(nib.load(case.path("label")).dataobj)
    assert shown.any((1, 2)).tolist() == label.any((0, 1)).tolist()
    assert shown[:, :, columns // 2 :].sum() == 0 < shown.sum()  # on the right, which is shown at the left
    with Image.open(case.path("png")) as picture:
        assert min(picture.size) > 300
    assert case.models[0].sha256[0] in page


def page_data(page: str) -> dict:
    """What a report's script draws from."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


def test_report_json_is_what_its_schema_says(result, support):
    """That in docs/ is the one of the code, and what was written fits it."""
    schema = json.loads(SCHEMA.read_text())
    assert schema == report_schema(), f"renew it: {RENEW}"
    values = json.loads(result.cases[0].path("json").read_text())
    jsonschema.validate(values, schema)
    assert values["format_version"] == 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "volume_ml": "much"}, schema)
    assert not {"folder", "skipped"} & (values.keys() | schema["properties"].keys())
    assert values.keys() <= schema["properties"].keys()


def test_a_report_of_another_format_is_no_result(bright, scan, result, tmp_path):
    """It is neither read as if it were ours nor written over."""
    values = json.loads(result.cases[0].path("json").read_text())
    (tmp_path / "bleed").mkdir()
    for change in ({"format_version": 2}, {"volume_ml": "much"}):
        (tmp_path / "bleed" / "report.json").write_text(json.dumps(values | change))
        (failure,) = predict(scan, bright, tmp_path).failures
        assert "expected results of an earlier run, found no report.json that can be read" in failure.message
    with pytest.raises(ValueError, match="format"):
        Case.read_json(json.dumps({**values, "format_version": None}))


def test_report_json_and_summary(result):
    case = result.cases[0]
    again = Case.read(case.folder)
    again.skipped = False
    assert again == case
    with (result.out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["bleed"]
    assert float(rows[0]["volume_ml"]) == pytest.approx(case.volume_ml, abs=1e-3)
    assert sorted(path.name for path in result.out.iterdir()) == ["bleed", "index.html", "summary.csv"]


def test_index_page_begins_with_the_most_blood(result):
    """Its links and pictures are files, and what a case is called is text, not HTML."""
    page = (result.out / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert links == ["bleed/report.html", "bleed/report.png"]
    assert "://" not in page
    assert all((result.out / link).is_file() for link in links)
    case = result.cases[0]
    cases = [
        replace(case, name="clear", hemorrhage=False, volume_ml=0.05, verdict="none"),
        replace(case, name="a b&c", volume_ml=3.0),
        replace(case, name="large", volume_ml=40.0),
    ]
    page = index_page(cases, [Failure("<b>ad", "a.nii.gz: expected <more>")])
    assert "3 cases, 2 with hemorrhage found, 1 failed" in page
    assert re.findall(r'href="([^/]+)/', page) == ["large", "a%20b%26c", "clear"]
    assert "<b>a b&amp;c</b>" in page
    assert "&lt;b&gt;ad: failed" in page
    assert "Research use only, not a medical device" in page


def test_nothing_found_is_said_and_shown(bright, head, tmp_path, support):
    scan = support.save_nifti(tmp_path / "healthy.nii.gz", head(radius_mm=0))
    case = predict(scan, bright, tmp_path / "out").cases[0]
    assert not case.hemorrhage
    assert case.verdict == "No hemorrhage found above 0.1 mL"
    page = case.path("html").read_text()
    assert case.verdict in page
    assert "does not rule out" in page
    assert page_data(page)["areas"] == [0] * 22


def test_done_cases_are_skipped_unless_told(bright, result, scan, tmp_path):
    case = predict(scan, bright, tmp_path, uncertainty=False).cases[0]
    assert case.models[0].uncertainty is None
    written = case.path("html").stat().st_mtime_ns
    again = predict(scan, bright, tmp_path, uncertainty=False).cases[0]
    assert again.skipped
    assert again.path("html").stat().st_mtime_ns == written
    other = predict(scan, bright, tmp_path, PredictOptions(min_ml=100))
    assert "found another uncertainty, min_ml" in other.failures[0].message
    replaced = predict(scan, bright, tmp_path, min_ml=100, overwrite=True).cases[0]
    assert replaced.verdict == "No hemorrhage found above 100 mL"
    assert replaced.small_lesions == 1
    assert "not counted" in replaced.path("html").read_text()


def test_two_bundles_and_their_consensus(bright, other, head, tmp_path, support):
    image = head()
    fainter = support.ball(image.affine.numpy(), image.shape[1:], (-35, 0, 20), 15)
    image[0][torch.from_numpy(fainter)] = 60  # HU: seen by `bright` alone
    scan = support.save_nifti(tmp_path / "two.nii.gz", image)
    case = predict(scan, [bright, other], tmp_path / "out", save_probabilities=True).cases[0]
    masks = [np.asarray(nib.load(case.path(f"label_{name}")).dataobj) > 0 for name in ("bright", "other")]
    chances = [np.asarray(nib.load(case.path(f"prob_{name}")).dataobj) for name in ("bright", "other")]
    final = np.asarray(nib.load(case.path("label")).dataobj) > 0
    expected = (masks[0] & masks[1]) | ((masks[0] ^ masks[1]) & (sum(chances) / 2 >= 0.5))
    assert np.array_equal(final, expected)
    assert masks[0].sum() > masks[1].sum() > 0
    assert [model.bundle for model in case.models] == ["bright", "other"]
    page = case.path("html").read_text()
    assert re.findall(r"</i>(\w+) [\d.]+ mL</label>", page) == ["consensus", "bright", "other"]
    assert "mean probability decides" in page


def test_each_bundle_keeps_its_own_scripts(bright, scan, tmp_path, support):
    inverse = support.make_bundle(tmp_path / "inverse", threshold=-0.1, sign=-1)  # sees nothing
    case = predict(scan, [bright, inverse], tmp_path / "out", uncertainty=False).cases[0]
    volumes = {model.bundle: model.volume_ml for model in case.models}
    assert volumes["inverse"] == 0 < volumes["bright"]
    assert any("disagree" in text for text in case.warnings)


def test_members_of_an_ensemble_disagree(bright, scan, tmp_path):
    weights = [torch.load(bright / "models" / "model.pt"), torch.load(bright / "models" / "model.pt")]
    weights[1]["conv.bias"] = torch.tensor([60 * 0.9, -60 * 0.9])  # above 90 HU: misses the blood
    for number, state in enumerate(weights):
        torch.save(state, tmp_path / f"fold_{number}.pt")
    case = predict(scan, bright, tmp_path / "out", weights=tmp_path / "fold_*.pt").cases[0]
    doubt = case.models[0].uncertainty
    assert doubt.method == "2 networks"
    assert doubt.mean_deviation == pytest.approx(0.5, abs=0.05)  # 1 against 0
    assert doubt.volume_range_ml[0] == 0
    assert len(case.models[0].sha256) == 2


def test_members_trained_with_other_settings_are_refused(tmp_path):
    """Of a bundle whose inference checks the file beside one network's weights."""
    folder = find_bundle("se_unet3d")
    with own_scripts(folder):
        from scripts.network import SEUNet

        weights = SEUNet().state_dict()
    for number, window in enumerate(([0, 100], [0, 80])):
        torch.save(weights, tmp_path / f"fold_{number}.pt")
        (tmp_path / f"fold_{number}.json").write_text(json.dumps({"window": window}))
    members = find_weights(folder, tmp_path / "fold_*.pt")
    with pytest.raises(InputError, match=r"fold_1.pt: expected window \[0, 80\], .* found \[0, 100\]"):
        BundleModel(folder, members)


def test_weights_of_other_settings_are_refused_by_whatever_name_they_are_checked(scan, tmp_path, support):
    """A bundle may import the check under another name, and call it after something else."""
    folder = support.make_bundle(tmp_path / "renamed")
    (folder / "scripts" / "checks.py").write_text(
        "from tools.engine.checkpoint import require_weights as fitting\n"
    )
    config = folder / "configs" / "inference.yaml"
    check = "{_target_: scripts.checks.fitting, path: '@ckpt_path', settings: {window: [0, 80]}}"
    config.write_text(f"{config.read_text()}run: ['$print()', {check}]\n")
    note = folder / "models" / "model.json"
    note.write_text(json.dumps({"window": [0, 80]}))
    weights = find_weights(folder)
    assert BundleModel(folder, weights).name == "renamed"
    note.write_text(json.dumps({"window": [0, 100]}))
    with pytest.raises(InputError, match=r"model.pt: expected window \[0, 100\], .* found \[0, 80\]"):
        BundleModel(folder, weights)


def test_a_broken_case_does_not_stop_the_rest(bright, scan, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"nonsense")
    (folder / "b.nii.gz").write_bytes(scan.read_bytes())
    arguments = ["predict", str(folder), "--bundle", str(bright), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--no-uncertainty", "--no-progress"]) == 1
    output = capsys.readouterr()
    assert "b: Hemorrhage found" in output.out
    errors = [line for line in output.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert f"{folder / 'a.nii.gz'}: expected a complete NIfTI file" in errors[0]
    assert "Traceback" not in output.err
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "failed"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b", "index.html", "summary.csv"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_done_and_nothing_else(
    bright, scan, tmp_path, number, monkeypatch, capsys
):
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").write_bytes(scan.read_bytes())
    seen = []

    def stop_after_the_first(line, file):
        seen.append(list((tmp_path / "out").glob(".predict-*")))
        os.kill(os.getpid(), number)

    monkeypatch.setattr(tqdm, "write", stop_after_the_first)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    words = ["--bundle", str(bright), "--out", str(tmp_path / "out"), "--no-uncertainty", "--no-progress"]
    code = main(["predict", str(tmp_path), *words])
    signal.signal(signal.SIGINT, before)
    assert code == 130
    assert capsys.readouterr().err == "interrupted: finished cases are kept, temporary files removed\n"
    assert len(seen) == 1
    assert len(seen[0]) == 1  # there was a folder for temporary files
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "index.html", "summary.csv"]


def test_what_a_killed_run_left_is_removed(bright, scan, tmp_path):
    left = tmp_path / ".predict-999999999-abc"
    left.mkdir()
    (left / "patient.nii").write_text("left")
    predict(scan, bright, tmp_path, uncertainty=False)
    assert not left.exists()


def test_debug_lets_the_traceback_out(bright, tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="complete NIfTI file"):
        predict(path, bright, tmp_path / "out", debug=True)
    assert not (tmp_path / "out").exists()


def test_same_as_the_bundle_itself(scan, tmp_path, support):
    """The label map is, to the voxel, what `inferring` of the bundle writes; weights are random."""
    folder = BUNDLES / "se_unet3d"
    with own_scripts(folder):
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        parser.read_config(str(folder / "configs" / "inference.yaml"))
        torch.manual_seed(1)
        weights = tmp_path / "model.pt"
        overrides = {
            "bundle_root": str(folder), "dataset_dir": str(scan), "ckpt_path": str(weights),
            "output_dir": str(tmp_path / "own"), "save_probabilities": True,
        }  # fmt: skip
        for key, value in overrides.items():
            parser[key] = value
        network = parser.get_parsed_content("network_def")
        torch.save(network.state_dict(), weights)
        parser.get_parsed_content("evaluator").run()
    own = nib.load(tmp_path / "own" / "bleed_seg.nii.gz")
    case = predict(
        scan, "se_unet3d", tmp_path / "out", weights=weights, min_ml=0.5, save_probabilities=True
    ).cases[0]
    own_probability = np.asarray(nib.load(tmp_path / "own" / "bleed_prob.nii.gz").dataobj)
    assert np.allclose(np.asarray(nib.load(case.path("prob")).dataobj), own_probability, atol=1e-5)
    low, high = case.models[0].uncertainty.volume_range_ml
    assert (
        low <= case.models[0].volume_ml <= high + 1e-6
    )  # the flipped network finds more here and less there
    label = nib.load(case.path("label"))
    assert np.array_equal(np.asarray(label.dataobj), np.asarray(own.dataobj))
    assert 0 < np.asarray(label.dataobj).mean() < 0.5  # random weights say something
    assert np.allclose(label.affine, own.affine, atol=1e-5)


def test_weights_that_are_not_finite_say_nothing(bright, scan, tmp_path, support):
    """Neither damaged weights nor a network whose output overflows may end in "no hemorrhage"."""
    bundle = support.make_bundle(tmp_path / "nan")
    weights = support.threshold_weights(0.55)
    weights["conv.bias"][0] = float("nan")
    torch.save(weights, bundle / "models" / "model.pt")
    with pytest.raises(InputError, match=r"model.pt: expected finite weights, found NaN .* conv.bias"):
        predict(scan, bundle, tmp_path / "out")
    weights["conv.bias"][:] = 3e38
    weights["conv.weight"][:] = 3e38
    torch.save(weights, bundle / "models" / "model.pt")
    result = predict(scan, bundle, tmp_path / "out")
    assert result.cases == []
    assert "expected finite probabilities" in result.failures[0].message
