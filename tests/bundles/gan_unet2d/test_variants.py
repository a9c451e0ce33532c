"""Every network of the paper starts by its overlay, gives logits of the right shape, and trains."""

from __future__ import annotations

import json

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from tools.phantom import write_phantoms

VARIANTS = {
    # overlay: adversarial, input channels, class of the network, parameters with the widths of the overlay
    "unet6": (False, 1, "UNet", 524_001),
    "unet6_dil": (False, 1, "UNet", 524_001),
    "unet6_flip": (False, 2, "UNet", 524_289),
    "unet6_flip_d": (False, 2, "UNet", 524_289),
    "unet10": (False, 1, "UNet", 8_557_153),
    "unet10_gan": (True, 1, "UNet", 8_557_153),
    "pix2pix7": (True, 1, "Pix2Pix", 41_824_001),
    "deeplabv3plus": (False, 1, "DeepLabV3Plus", 26_671_313),
    "fcn": (False, 1, "FCN", 32_940_481),
    "pspnet": (False, 1, "PSPNet", 2_231_617),
    "refinenet": (False, 1, "RefineNet", 90_758_337),
    "segnet": (False, 1, "SegNet", 29_434_497),
    "unet": (False, 1, "BasicUNet", 31_100_289),
}
WIDTHS = {"pix2pix7": 4, "refinenet": 4, "segnet": 8, "unet6_dil": 32, "unet6_flip_d": 32}
SMALL = {name: {"network_def#features": n} for name, n in WIDTHS.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("variants")
    write_phantoms(
        root / "data", cases=3, seed=2, folds=3, kind="any", shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0)
    )
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache"), "fold": 0}


def test_every_overlay_is_tested(bundle):
    files = {path.stem for path in (bundle / "configs" / "variants").glob("*.yaml")}
    assert files - {"weights", "tensorrt", "types", "anatomy"} == set(VARIANTS)  # the last two: test_types


@pytest.mark.parametrize("name", VARIANTS)
def test_starts_and_trains(bundle, data, tmp_path, name):
    adversarial, channels, kind, parameters = VARIANTS[name]
    files = ["configs/train.yaml", f"configs/variants/{name}.yaml"]
    parser = ConfigParser()
    parser.read_config(files)
    with torch.device("meta"):
        from scripts.models import make_network

        stated = make_network(parser["network_def#name"], channels, parser["network_def#features"])
    assert sum(p.numel() for p in stated.parameters()) == parameters

    # one iteration: two slices a batch, one slice a case
    overrides = {
        "input#size": [128, 128] if name == "pix2pix7" else [64, 64],
        "patches_per_case": 1, "batch_size": 2, "max_epochs": 1, "val_interval": 2, "pretrain_epochs": 0,
        "network_def#features": 8, "discriminator_features": 4, **SMALL.get(name, {}),
        "ckpt_dir": str(tmp_path), "output_dir": str(tmp_path),
    }  # fmt: skip
    workflow = ConfigWorkflow(files, workflow_type="train", **data, **overrides)
    workflow.initialize()
    part = workflow.parser.get_parsed_content
    network, trainer = part("network_def"), part("train#trainer")
    assert type(network).__name__ == kind
    before = [p.detach().clone() for p in network.parameters()]
    workflow.run()
    (output,) = trainer.state.output
    assert trainer.state.iteration == 1
    assert output["image"].shape == (2, channels, *overrides["input#size"])
    assert output["pred"].shape == (2, 1, *overrides["input#size"])
    assert ("discriminator_loss" in output) == adversarial
    assert 0.001 < output["pred"].sigmoid().mean() < 0.1  # lesions are rare: it began with expecting little
    changed = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert sum(changed) > 0.9 * len(changed), "parameters that nothing is computed from"
    network.eval()
    with torch.no_grad():
        once = network(torch.rand(1, channels, 128, 256))
    assert once.shape == (1, 1, 128, 256)


def test_slices_with_and_without_hemorrhage_are_equally_many(bundle, data, tmp_path):
    parser = ConfigParser()
    parser.read_config("configs/train.yaml")
    parser.update({**data, "input#size": [64, 64], "patches_per_case": 20, "batch_size": 8})
    slices = parser.get_parsed_content("train#dataloader")
    for _ in range(2):
        shown = torch.cat([batch["label"].flatten(1).amax(1) > 0 for batch in slices])
        plan = slices.plan(0)
        assert len(shown) == len(plan.region) == 40
        assert (plan.region == 0).sum() == 20  # region 0 is the lesion; cropping may push a small one out
        assert 16 <= shown.sum() <= 20


def test_flip_shows_the_mirrored_slice(bundle, data):
    from tools.slices.preprocessing import SlicePreprocessing

    folder = data["dataset_dir"]
    with open(f"{folder}/dataset.json") as file:
        item = json.load(file)["training"][0]
    image = SlicePreprocessing((64, 64), symmetric=True)({"image": f"{folder}/{item['image']}"})["image"]
    alone = SlicePreprocessing((64, 64))({"image": f"{folder}/{item['image']}"})["image"]
    assert torch.equal(image[0].as_tensor(), alone[0].as_tensor())
    middle = image[..., 10].as_tensor()
    twins = torch.stack([middle[0], middle[1]]).flatten(1)
    assert 0.8 < torch.corrcoef(twins)[0, 1] < 1 - 1e-4  # alike, but not the same
