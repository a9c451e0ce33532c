"""Weights that are shipped: half precision, what stands beside them, and that no training loses them."""

from __future__ import annotations

import json

import pytest
import torch
from monai.bundle import ConfigWorkflow

from headct.zoo.ship_weights import ship_weights
from tests.bundles.runs import workflow
from tests.bundles.types_check import MADE, typed_data
from tools.core.errors import InputError
from tools.engine.checkpoint import require_weights, weights_settings


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, object]:
    return typed_data(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def weights(bundle, tmp_path) -> dict[str, torch.Tensor]:
    """Weights as a training leaves them: `source/model.pt` with its settings."""
    from scripts.network import SEUNet

    torch.manual_seed(0)
    state = SEUNet().state_dict()
    (tmp_path / "source").mkdir()
    torch.save(state, tmp_path / "source" / "model.pt")
    (tmp_path / "source" / "model.json").write_text(json.dumps({"spacing": [0.9, 0.9, 5.0]}))
    return state


def test_half_precision_loads_into_a_float_network(weights, tmp_path):
    from scripts.network import SEUNet

    ship_weights(tmp_path / "source" / "model.pt", tmp_path / "model.pt", {"data": "synthetic"})
    assert (tmp_path / "model.pt").stat().st_size < 0.52 * (tmp_path / "source" / "model.pt").stat().st_size
    network = SEUNet()
    network.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, weights[name], rtol=2**-10, atol=2**-24)
    beside = json.loads((tmp_path / "model.json").read_text())
    assert beside == {"spacing": [0.9, 0.9, 5.0], "shipped": True, "data": "synthetic"}


def test_values_beyond_half_precision_stay_as_they_are(tmp_path):
    """The tensor that has one, whole; a variance of a batch normalisation may be as large as that."""
    torch.save({"large": torch.tensor([1e5, 0.1]), "weight": torch.tensor([0.1])}, tmp_path / "model.pt")
    ship_weights(tmp_path / "model.pt", tmp_path / "out.pt")
    shipped = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(shipped["large"], torch.tensor([1e5, 0.1]))
    assert shipped["weight"].dtype == torch.float16


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    torch.save({"weight": torch.tensor([1.0, float("nan")])}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="expected finite weights, found NaN or infinite ones in weight"):
        ship_weights(tmp_path / "model.pt", tmp_path / "out.pt")


def test_settings_of_the_training(weights, tmp_path):
    path = tmp_path / "source" / "model.pt"
    assert weights_settings(path) == {"spacing": [0.9, 0.9, 5.0]}
    assert weights_settings(tmp_path / "none.pt") == weights_settings([]) == {}
    require_weights(path, {"spacing": (0.9, 0.9, 5.0), "symmetric": True})
    with pytest.raises(InputError, match=r"model.pt: expected spacing \[0.9, 0.9, 5.0\].*, found None"):
        require_weights(path, {"spacing": None})
    (tmp_path / "other").mkdir()
    torch.save(weights, tmp_path / "other" / "model.pt")
    assert weights_settings(str(tmp_path / "s*" / "model.pt")) == {"spacing": [0.9, 0.9, 5.0]}
    assert weights_settings([tmp_path / "other" / "model.pt", path]) == {}  # the first one's
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(InputError, match=r"model\.json: expected settings by name, found list"):
        weights_settings(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json: expected JSON"):
        weights_settings(path)


def test_training_keeps_shipped_weights_and_inference_takes_the_new_settings(weights, data, tmp_path):
    """One epoch of the overlay that made the weights, over a folder that holds shipped ones."""
    ship_weights(tmp_path / "source" / "model.pt", tmp_path / "models" / "model.pt")
    shipped = {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()}
    folders = {"ckpt_dir": str(tmp_path / "models"), "output_dir": str(tmp_path)}
    tiny = {
        **MADE,
        "input#spacing": [3.0, 3.0, 8.0],
        "roi_size": [24, 24, 8],
        "sampler#roi_size": [24, 24, 8],
    }
    overlays = ("types", "anatomy", "weights")
    files = ("train.yaml", *(f"variants/{name}.yaml" for name in overlays))
    training = workflow("train", *files, **data, **folders, **tiny, max_epochs=2, val_interval=1)
    training.run()
    assert training.parser.get_parsed_content("optimizer").param_groups[0]["lr"] == pytest.approx(0)
    for name, content in shipped.items():
        assert (tmp_path / "models" / name.replace("model", "original")).read_bytes() == content
    new = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert any(new[name].shape != weights[name].shape for name in new)  # six outputs
    beside = json.loads((tmp_path / "models" / "model.json").read_text())
    assert "shipped" not in beside

    inference = ConfigWorkflow(
        "configs/inference.yaml", workflow_type="infer", dataset_dir=data["dataset_dir"]
    )
    inference.parser.update({"ckpt_path": str(tmp_path / "models" / "model.pt")})
    assert inference.parser.get_parsed_content("input#spacing") == [3.0, 3.0, 8.0]
    shown = inference.parser.get_parsed_content("input")
    assert {key: beside[key] for key in shown} == shown
    assert inference.parser.get_parsed_content("roi_size") == beside["roi_size"] == [24, 24, 8]
