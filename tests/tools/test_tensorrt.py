"""TensorRT needs an NVIDIA GPU; without one, or without the packages, one line says so."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tools.errors import InputError
from tools.tensorrt import with_tensorrt

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def test_refused_on_a_cpu(tmp_path):
    with pytest.raises(InputError, match="expected a CUDA device, found cpu"):
        with_tensorrt(torch.nn.Conv2d(1, 1, 3), "cpu", tmp_path / "model.pt")


@pytest.mark.parametrize(
    "bundle", sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/inference_trt.yaml"))
)
def test_overlay_reaches_it(bundle, tmp_path):
    """The overlay builds the network and gets as far as the device."""
    script = """
from monai.bundle import ConfigParser
from tools.errors import InputError
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
def test_same_result(tmp_path):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1)
    )
    image = torch.rand(2, 1, 64, 64, device="cuda")
    expected = network.cuda()(image)
    result = with_tensorrt(network, "cuda", tmp_path / "model.pt", precision="fp32")(image)
    assert torch.allclose(result, expected, atol=1e-3)
