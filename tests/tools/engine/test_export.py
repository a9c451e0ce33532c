"""Every bundle's network leaves PyTorch by MONAI's own commands and computes the same elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
NAMES = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/inference.yaml"))

# One process per bundle, as each has a package `scripts`.
SCRIPT = """
import sys, torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export
import onnxruntime

out, shape = sys.argv[1], [int(n) for n in sys.argv[2].split(",")]
torch.manual_seed(0)
parser = ConfigParser()
parser.read_config("configs/inference.yaml")
network = parser.get_parsed_content("network_def").eval()
for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):  # random weights alone let the signal fade
        module.running_mean.normal_(0, 0.1)
        module.running_var.uniform_(0.5, 1.5)
torch.save(network.state_dict(), f"{out}/model.pt")
source = {"ckpt_file": f"{out}/model.pt", "config_file": "configs/inference.yaml", "input_shape": shape}
names = {"input_names": ["image"], "output_names": ["pred"]}
axes = {"dynamic_axes": {"image": {0: "batch"}, "pred": {0: "batch"}}}
onnx_export("network_def", f"{out}/model.onnx", converter_kwargs={**names, **axes}, **source)
ckpt_export("network_def", f"{out}/model.ts", meta_file="configs/metadata.json", key_in_ckpt="", **source)

image = torch.rand(3, *shape[1:])
with torch.no_grad():
    expected = network(image)
    scripted = torch.jit.load(f"{out}/model.ts")(image)
session = onnxruntime.InferenceSession(f"{out}/model.onnx", providers=["CPUExecutionProvider"])
elsewhere = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])

def mask(logits):
    return logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > logits.mean()

spread = expected.std().item()
assert spread > 0, "the network answers the same everywhere"
for other in (scripted, elsewhere):
    assert other.shape == expected.shape
    # a voxel may only change sides where the two classes are equal but for rounding
    changed = (mask(other) != mask(expected)).float().mean().item()
    assert changed < 1e-4, changed
    assert (other - expected).abs().max().item() < 1e-3 * max(1.0, spread)
print("same")
"""


@pytest.mark.parametrize("name", NAMES)
def test_torchscript_and_onnx(name, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    metadata = json.loads((BUNDLES / name / "configs" / "metadata.json").read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    spatial = (32, 32, 16) if len(image["spatial_shape"]) == 3 else (64, 64)
    shape = ",".join(str(n) for n in (2, image["num_channels"], *spatial))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), shape]
    result = subprocess.run(command, cwd=BUNDLES / name, capture_output=True, text=True)
    assert result.stdout.strip().endswith("same"), result.stdout + result.stderr[-3000:]


SHIPPED = """
import sys, torch, onnxruntime
from monai.bundle import ConfigParser, onnx_export
from tools.phantom import write_phantoms

out = sys.argv[1]
write_phantoms(f"{out}/data", 1, seed=5, shape=(96, 96, 20), spacing=(2.4, 2.4, 8), folds=1)
parser = ConfigParser()
parser.read_config("configs/inference.yaml")
network = parser.get_parsed_content("network_def").eval()
network.load_state_dict(torch.load("models/model.pt", weights_only=True))
volume = parser.get_parsed_content("preprocessing")({"image": f"{out}/data/images/case_000.nii.gz"})["image"]
slices = torch.as_tensor(volume).movedim(-1, 0).contiguous()
onnx_export(
    "network_def", f"{out}/model.onnx", ckpt_file="models/model.pt", config_file="configs/inference.yaml",
    input_shape=list(slices.shape), converter_kwargs={"input_names": ["image"]},
)
session = onnxruntime.InferenceSession(f"{out}/model.onnx", providers=["CPUExecutionProvider"])
found = torch.from_numpy(session.run(None, {"image": slices.numpy()})[0])
with torch.no_grad():
    logits = network(slices)
assert (logits > 0).sum() > 100, "the network finds nothing in the phantom"
sure = logits.abs() > 1e-3  # closer to 0, rounding may decide
assert sure.float().mean() > 0.999
assert torch.equal((found > 0)[sure], (logits > 0)[sure])
print("same")
"""


def test_shipped_weights_give_the_same_mask_in_onnx(tmp_path):
    """On a whole synthetic head, as the bundle prepares it."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    command = [sys.executable, "-c", SHIPPED, str(tmp_path)]
    result = subprocess.run(command, cwd=BUNDLES / "gan_unet2d", capture_output=True, text=True)
    assert result.stdout.strip().endswith("same"), result.stdout + result.stderr[-3000:]
