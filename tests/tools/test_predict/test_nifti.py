"""From a NIfTI file to masks, a report and a verdict."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from tools.__main__ import main
from tools.errors import InputError
from tools.predict import Case, predict
from tools.predict.bundles import BundleModel, find_bundle, find_weights, own_scripts
from tools.predict.index_page import index_page
from tools.predict.results import Failure


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
    assert set(re.findall(r"https?://[^\"' )]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|script)[^>]+(href|src)", page)
    data = json.loads(re.search(r"const DATA = (.*);\n", page).group(1))
    assert len(data["slices"]) == 22
    shown = [bool(path) for path in data["outlines"]["hemorrhage"]]
    label = np.asarray(nib.load(case.path("label")).dataobj)
    assert shown == label.any((0, 1)).tolist()
    with Image.open(case.path("png")) as picture:
        assert min(picture.size) > 300
    assert case.models[0].sha256[0] in page


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
    assert page.count("data:image/jpeg") == 22


def test_done_cases_are_skipped_unless_told(bright, result, scan, tmp_path):
    case = predict(scan, bright, tmp_path, uncertainty=False).cases[0]
    assert case.models[0].uncertainty is None
    written = case.path("html").stat().st_mtime_ns
    again = predict(scan, bright, tmp_path, uncertainty=False).cases[0]
    assert again.skipped
    assert again.path("html").stat().st_mtime_ns == written
    other = predict(scan, bright, tmp_path, min_ml=100)
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
    assert all(f'data-layer="{name}"' in page for name in ("consensus", "bright", "other"))
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


def test_a_broken_case_does_not_stop_the_rest(bright, scan, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"nonsense")
    (folder / "b.nii.gz").write_bytes(scan.read_bytes())
    arguments = ["predict", str(folder), "--bundle", str(bright), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--uncertainty", "False", "--progress", "False"])
    assert stop.value.code == 1
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
def test_an_interrupt_keeps_what_is_done_and_nothing_else(bright, scan, tmp_path, number, monkeypatch):
    from tools.predict import command

    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").write_bytes(scan.read_bytes())
    seen = []

    def stop_after_the_first(line):
        seen.append(list((tmp_path / "out").glob(".predict-*")))
        os.kill(os.getpid(), number)

    monkeypatch.setattr(command, "_say", stop_after_the_first)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    with pytest.raises(SystemExit) as stop:
        command.predict_command(
            str(tmp_path), str(bright), str(tmp_path / "out"), uncertainty=False, progress=False
        )
    signal.signal(signal.SIGINT, before)
    assert stop.value.code == 130
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
    from tools.predict.bundles import BUNDLES, own_scripts

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
