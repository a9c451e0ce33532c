"""A bundle's network for another engine: it computes the same there, for any number of inputs."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from headct.cli.main import main
from headct.predict.model.bundle import own_scripts
from headct.runs.find_bundle import BUNDLES
from headct.zoo import export as module
from headct.zoo.export import export
from tools.core.errors import InputError


def outputs(bundle: str, image: torch.Tensor) -> torch.Tensor:
    """Of the bundle's network with the weights that it ships."""
    folder = BUNDLES / bundle
    with own_scripts(folder), torch.no_grad():
        parser = ConfigParser()
        parser.read_config(str(folder / "configs" / "inference.yaml"))
        parser["bundle_root"] = str(folder)
        network = parser.get_parsed_content("network_def").eval()
        network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
        return network(image)


def test_torch_export_of_windows(tmp_path, capsys):
    file = tmp_path / "new" / "network.pt2"
    assert main(["bundle", "export", "se_unet3d", str(file), "--size", "16,16,16"]) == 0
    assert "input image (batch, 2, 16, 16, 16), at most" in capsys.readouterr().out
    image = torch.rand(5, 2, 16, 16, 16)
    found = torch.export.load(file).module()(image)
    torch.testing.assert_close(found, outputs("se_unet3d", image))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_onnx_of_slices(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file = export("gan_unet2d", tmp_path / "network.onnx", size=[64, 96])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = torch.rand(2, 3, 64, 96)  # three windows
    found = torch.from_numpy(session.run(["pred"], {"image": image.numpy()})[0])
    torch.testing.assert_close(found, outputs("gan_unet2d", image), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("suffix", module.SUFFIXES)
def test_no_path_of_this_machine_is_in_the_file(tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()).eval()
    file = tmp_path / f"network{suffix}"
    module._write(module._program(network, torch.rand(2, 1, 8, 8), any_batch=True), file)
    parts = [file.read_bytes()]
    if suffix == ".pt2":
        with zipfile.ZipFile(file) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    assert not [part for part in parts if str(Path(torch.__file__).parent).encode() in part]


def test_an_output_that_differs_is_not_kept(tmp_path, monkeypatch):
    def write_another(program: object, path: Path) -> None:
        another = torch.nn.Conv2d(3, 6, 1)
        torch.export.save(torch.export.export(another, (torch.rand(2, 3, 32, 32),)), path)

    monkeypatch.setattr(module, "_write", write_another)
    with pytest.raises(
        InputError, match=r"n\.pt2: expected PyTorch's output from torch.export, found a diff"
    ):
        export("gan_unet2d", tmp_path / "n.pt2", size=[32, 32], batch=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [32, 32, 32]}, r"size: expected 2 numbers, found \(32, 32, 32\)"),
        ({"batch": 0}, "batch: expected 1 or more, found 0"),
        ({"weights": "other.pt"}, "other.pt: expected weights of .*, found 1 keys, of which 0 fit"),
        ({"weights": "nothing.pt"}, "nothing.pt: expected"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1)}, "other.pt")
    with pytest.raises(InputError, match=message):
        export("gan_unet2d", "out/n.pt2", **options)
    assert not Path("out").exists()


def test_a_bundle_without_weights(tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(BUNDLES / "gan_unet2d" / "configs", folder / "configs")
    with pytest.raises(
        InputError, match=r"model\.pt: expected the weights of bundle bare, found no such file"
    ):
        export(folder, tmp_path / "n.pt2")
