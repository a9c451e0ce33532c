"""TensorRT needs an NVIDIA GPU; without one, or without the packages, one line says so."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tools.core.errors import InputError
from tools.engine.tensorrt import with_input_limits, with_tensorrt

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
NAMES = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/inference_trt.yaml"))


def test_refused_on_a_cpu(tmp_path):
    with pytest.raises(InputError, match="expected a CUDA device, found cpu"):
        with_tensorrt(torch.nn.Conv2d(1, 1, 3), "cpu", tmp_path / "model.pt", size=(64, 64), batch=4)


def test_inputs_that_it_is_not_compiled_for():
    network = with_input_limits(torch.nn.Conv2d(1, 1, 1), (8, 6), 4)
    for count in (1, 3, 4):
        assert network(torch.zeros(count, 1, 8, 6)).shape == (count, 1, 8, 6)
    for shape, found in (((5, 1, 8, 6), "5 of 8x6"), ((2, 1, 6, 8), "2 of 6x8"), ((0, 1, 8, 6), "0 of 8x6")):
        with pytest.raises(InputError, match=f"expected 1 to 4 inputs of 8x6.*found {found}"):
            network(torch.zeros(shape))


@pytest.mark.parametrize("bundle", NAMES)
def test_what_tensorrt_is_given(bundle, tmp_path):
    """MONAI's way to TensorRT as far as it goes without a GPU: ONNX that takes every batch size."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    script = """
import json, shutil, sys, torch, onnxruntime
from monai.bundle import ConfigParser
from monai.networks.trt_compiler import TrtCompiler

class Kept(TrtCompiler):
    def _onnx_to_trt(self, path):
        shutil.copytree(str(path).rsplit("/", 1)[0], sys.argv[1], dirs_exist_ok=True)

parser = ConfigParser()
parser.read_config("configs/inference.yaml")
network = parser.get_parsed_content("network_def").eval()
channels = json.load(open("configs/metadata.json"))["network_data_format"]["inputs"]["image"]["num_channels"]
size = [32, 32, 16] if "roi_size" in parser else [64, 64]
images = [torch.rand(n, channels, *size) for n in (4, 3, 1)]
with torch.no_grad():
    expected = [network(image) for image in images]
    compiler = Kept(network, "no.plan", dynamic_batchsize=[1, 4, 4])
    compiler._build_and_save(network, {compiler.input_names[0]: images[0]})
session = onnxruntime.InferenceSession(f"{sys.argv[1]}/model.onnx", providers=["CPUExecutionProvider"])
for image, answer in zip(images, expected):
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])
    assert torch.allclose(found, answer, atol=1e-3 * answer.std().item()), (found - answer).abs().max()
print("same")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    result = subprocess.run(command, cwd=BUNDLES / bundle, capture_output=True, text=True)
    assert result.stdout.strip().endswith("same"), result.stdout + result.stderr[-3000:]


@pytest.mark.parametrize("bundle", NAMES)
def test_overlay_reaches_it(bundle, tmp_path):
    """The overlay builds the network and gets as far as the device."""
    script = """
from monai.bundle import ConfigParser
from tools.core.errors import InputError
parser = ConfigParser()
parser.read_config(["configs/inference.yaml", "configs/inference_trt.yaml"])
parser["device"] = "cpu"
try:
    parser.get_parsed_content("network")
except Exception as error:
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=BUNDLES / bundle, capture_output=True, text=True
    )
    assert "expected a CUDA device, found cpu" in result.stdout, result.stderr


@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("tensorrt") is None, reason="needs CUDA and TensorRT"
)
def test_same_result_whatever_the_batch(tmp_path):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1)
    ).cuda()
    images = [torch.rand(count, 1, 64, 64, device="cuda") for count in (4, 3, 1)]
    expected = [network(image) for image in images]
    weights = tmp_path / "model.pt"
    compiled = with_tensorrt(network, "cuda", weights, size=(64, 64), batch=4, precision="fp32")
    for image, answer in zip(images, expected, strict=True):
        assert torch.allclose(compiled(image), answer, atol=1e-3)
    assert (tmp_path / "model.pt.fp32.4x64x64.plan").is_file()
