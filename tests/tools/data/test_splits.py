"""A patient's images on one side of the split, in every bundle, also in a cross-validation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from headct.runs.crossval import fold_runs
from headct.runs.find_bundle import config_files, find_bundle
from tools.core.errors import InputError
from tools.data.splits import LEAK_WARNING, one_side_per_patient

BUNDLES = ("dunet", "gan_unet2d", "se_unet3d", "unetpp_pretrained")


def test_patient_in_training_and_test_set_is_named():
    training = [{"image": "a.nii.gz", "patient": 7, "fold": 0}, {"image": "b.nii.gz", "fold": 1}]
    with pytest.raises(
        InputError, match=r"patient 7: expected all images on one side .* fold 0 .* the test set"
    ):
        one_side_per_patient({"training": training, "testing": [{"image": "c.nii.gz", "patient": "7"}]})


def test_unknown_split():
    with pytest.raises(InputError, match="split: expected one of patient, slice, found 'case'"):
        one_side_per_patient({"training": [], "testing": []}, "case")


@pytest.fixture
def leaking(tmp_path):
    """Two slices of each of three patients, in different folds."""
    entries = []
    for patient in range(3):
        for number in range(2):
            case = f"{patient}_{number}"
            for kind in ("image", "label"):
                Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{kind}_{case}.png")
            entry = {"case": case, "patient": str(patient), "slice": number, "types": "", "fold": number}
            entries.append({**entry, **{kind: f"{kind}_{case}.png" for kind in ("image", "label")}})
    (tmp_path / "dataset.json").write_text(json.dumps({"training": entries, "testing": []}))
    return tmp_path


def datalist_of(bundle: str, **keys: object) -> dict:
    parser = ConfigParser()
    parser.read_config([str(find_bundle(bundle) / "configs" / "train.yaml")])
    parser.update(keys)
    return parser.get_parsed_content("datalist")


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_bundle_refuses_a_patient_in_two_folds(leaking, bundle):
    with pytest.raises(RuntimeError) as raised:
        datalist_of(bundle, dataset_dir=str(leaking))
    cause = raised.value.__cause__
    assert isinstance(cause, InputError)
    assert "patient 0: expected all images on one side of the split, found fold 0" in str(cause)


@pytest.mark.parametrize("by", ["patient", "slice"])
def test_folds_that_are_dealt_anew_are_what_the_bundle_then_reads(leaking, tmp_path, by, caplog):
    """Whatever the folds were: by patient none leaks or warns, by slice the runs may."""
    files = config_files(find_bundle("dunet"), [])
    runs = fold_runs(
        find_bundle("dunet"),
        files,
        tmp_path / "out",
        2,
        overrides={"dataset_dir": leaking},
        by=by,
        validation="scored",
    )
    for run in runs:
        cases = datalist_of("dunet", **{key: str(value) for key, value in run.overrides.items()})["training"]
        sides = {}
        for case in cases:
            sides.setdefault(case["patient"], set()).add(case["fold"])
        assert len(cases) == 6
        assert max(map(len, sides.values())) == (1 if by == "patient" else 2)
    assert (LEAK_WARNING in caplog.text) == (by == "slice")
