"""`monai.bundle.load` gives a published bundle with all of its weights, or it is not published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headct.zoo.json_configurations import json_configurations
from headct.zoo.strict_weights import strict_faults
from tools.core.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.name for path in (ROOT / "bundles").iterdir())
LOAD = """
import sys, torch, monai.bundle
from pathlib import Path
folder = Path(sys.argv[1])
weights = torch.load(folder / "models" / "model.pt")
for workflow in ("train", "inference"):
    network = monai.bundle.load(
        folder.name, bundle_dir=folder.parent, source="monaihosting", workflow_type=workflow, device="cpu"
    ).state_dict()
    assert network.keys() == weights.keys(), (len(network), len(weights))
    assert all(torch.equal(network[name], weights[name].to(network[name].dtype)) for name in weights)
print(len(weights), "loaded")
"""


@pytest.mark.parametrize("name", NAMES)
def test_loads_in_another_folder(published, tmp_path, name):
    """Both workflow types, nothing more than the bundle's folder on `sys.path`, and no phantom is made."""
    folder = published[name].parent / published[name].name.split("_v")[0]
    before = sorted(folder.rglob("*"))
    run = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", LOAD, str(folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "loaded" in run.stdout
    assert sorted(folder.rglob("*")) == before
    assert not list(tmp_path.iterdir())


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_another_network_is_refused(bundle):
    """The network of unetpp_pretrained's paper, and the other one of its weights."""
    folder = bundle.parent / "unetpp_pretrained"
    assert list(strict_faults(folder, json_configurations(folder))) == []
    edit(folder / "models" / "model.json", overlay=None)
    (fault,) = strict_faults(folder, json_configurations(folder))
    assert fault.startswith("configs/train.json: ")
    assert (
        "models/model.pt: expected weights of EncoderUNetPlusPlus as it is configured (1030 keys), found"
        in fault
    )
    assert fault.endswith("found 424 keys, of which 31 fit")
    edit(folder / "models" / "model.json", out_channels=1)
    faults = list(strict_faults(folder, json_configurations(folder)))
    assert [fault.split(":")[0] for fault in faults] == ["configs/train.json", "configs/inference.json"]


def test_files_that_hold_no_weights(bundle):
    configurations = json_configurations(bundle)
    (bundle / "models" / "model.pt").write_text("hello")
    faults = list(strict_faults(bundle, configurations))
    assert [fault.split(": ", 1)[0] for fault in faults] == list(configurations)
    assert all("expected weights" in fault for fault in faults)


def test_an_overlay_that_is_none(bundle):
    edit(bundle / "models" / "model.json", overlay="configs/variants/nothing.yaml")
    with pytest.raises(
        InputError, match=r"model\.json: expected the file of an overlay .* 'configs/variants/nothing"
    ):
        json_configurations(bundle)
