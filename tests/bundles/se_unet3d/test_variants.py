"""Every variant starts, trains an epoch and infers: in one process, on a tiny set that is prepared once."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss

from tests.bundles.runs import check_inferred, workflow
from tools.core.errors import InputError, input_error
from tools.phantom import write_phantoms
from tools.sampling.mix import REGIONS
from tools.volumes.read import read_volume

#: one channel, three levels, SE on skips and bottleneck: 2,260,866 - 864 of the second channel, and SE
SHALLOW = 2_260_866 - 864 + (32**2 + 64**2 + 128**2 + 256**2) // 8

VARIANTS = {
    # overlay: trainable parameters, sampler's strategy, patches per epoch for the 2 cases and 4 patches each
    "unet3d": (2_260_866, "border_or_ivh", 8),
    "focal": (2_263_042, "border_or_ivh", 8),
    "sampling_none": (2_263_042, "none", 8),
    "sampling_brain": (2_263_042, "brain", 8),
    "sampling_brain_border": (2_263_042, "brain_border", 8),
    "sampling_brain_border_centre": (2_263_042, "brain_border_centre", 8),
    "sampling_brain_border_ivh": (2_263_042, "brain_border_ivh", 8),
    "sampling_border_or_ivh": (2_263_042, "border_or_ivh", 8),
    "sampling_only_border_and_ivh": (2_263_042, "only_border_and_ivh", 8),
    "no_symmetric": (2_262_178, "border_or_ivh", 8),
    "cta": (2_263_906, "border_or_ivh", 8),
    "patch_24x24x8": (2_263_042, "border_or_ivh", 8),
    "patch_48x48x24": (2_263_042, "border_or_ivh", 8),
    "augmentation_500x6": (2_263_042, "border_or_ivh", 48),
    "augmentation_1000x6": (2_263_042, "border_or_ivh", 48),
    "augmentation_1500x6": (2_263_042, "border_or_ivh", 48),
    "augmentation_3000x6": (2_263_042, "border_or_ivh", 48),
    "instance2022": (9_186_210, "brain", 8),
    # counted by hand: 9,142,562 without SE; SE of width w has w * w / 8
    "instance2022_se_encoder": (9_142_562 + (32**2 + 64**2 + 128**2 + 256**2 + 512**2) // 8, "brain", 8),
    "instance2022_se_blocks": (
        9_142_562 + (2 * (32**2 + 64**2 + 128**2 + 256**2) + 512**2) // 8,
        "brain",
        8,
    ),
    "instance2022_se_ends": (9_142_562 + (256**2 + 32**2) // 8, "brain", 8),
    "instance2022_minmax": (9_186_210, "brain", 8),
    "instance2022_patch_16x16x8": (SHALLOW, "brain", 8),
    "instance2022_patch_32x32x8": (SHALLOW, "brain", 8),
    "workers": (2_263_042, "border_or_ivh", 8),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    """Three tiny cases, each with a "CT angiography": the same head, moved by some millimetres."""
    root = tmp_path_factory.mktemp("variants")
    dataset = write_phantoms(
        root / "data", cases=3, seed=3, folds=3, shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0)
    )
    content = json.loads(dataset.read_text())
    (root / "data" / "cta").mkdir()
    for item in content["training"]:
        image = nib.load(root / "data" / item["image"])
        item["cta"] = item["image"].replace("images", "cta")
        affine = image.affine.copy()
        affine[:3, 3] += (6.0, -4.0, 5.0)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), root / "data" / item["cta"])
    dataset.write_text(json.dumps(content))
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache")}


def test_every_overlay_is_tested(bundle):
    files = {path.stem for path in (bundle / "configs" / "variants").glob("*.yaml")}
    elsewhere = {"demo", "ensemble", "weights", "types", "anatomy"}  # in tests of their own
    assert files - elsewhere == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_trains_and_infers(bundle, data, tmp_path, name):
    parameters, sampling, patches = VARIANTS[name]
    overlays = [f"variants/{name}.yaml"]
    if name.startswith("instance2022_"):
        overlays.insert(0, "variants/instance2022.yaml")
    folders = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    size = {} if name.startswith(("patch", "instance")) else {"roi_size": [24, 24, 8]}
    tiny = {"patches_per_case": 4, "batch_size": 4, "max_epochs": 1, "samples_per_visit": 2, **size}
    training = workflow("train", "train.yaml", *overlays, **data, **folders, **tiny)
    assert training.parser["sampling"] == sampling
    training.run()
    assert training.parser.get_parsed_content("train#trainer").state.iteration == patches // 4
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    assert sum(w.numel() for w in weights.values()) == parameters

    item = json.loads((Path(data["dataset_dir"]) / "dataset.json").read_text())["training"][0]
    volumes = {
        key: str(Path(data["dataset_dir"]) / item[key]) for key in ("image", "cta") if key in ("image", name)
    }
    inference = workflow(
        "infer", "inference.yaml", *overlays, output_dir=str(tmp_path), ckpt_path=str(tmp_path / "model.pt"),
        **{"dataset#data": [volumes]}, **size,
    )  # fmt: skip
    inference.run()
    check_inferred(tmp_path / "case_000_seg.nii.gz", Path(volumes["image"]))


@pytest.mark.parametrize("name", ["no_symmetric", "instance2022"])
def test_evaluates(bundle, data, tmp_path, name):
    overlay, size = f"variants/{name}.yaml", {"roi_size": [32, 32, 16], "step": 16}
    evaluation = workflow(
        "infer", "train.yaml", "evaluate.yaml", overlay, **data, **size,
        ckpt_dir=str(tmp_path), output_dir=str(tmp_path),
    )  # fmt: skip
    torch.save(evaluation.parser.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    evaluation.run()
    assert len((tmp_path / "metrics" / "per_case.csv").read_text().splitlines()) == 2


def preprocessed(data: dict[str, str], **arguments: object) -> dict:
    from scripts.preprocessing import Preprocessing

    item = json.loads((Path(data["dataset_dir"]) / "dataset.json").read_text())["training"][0]
    keys = ("image", "label", "cta") if arguments.get("cta") else ("image", "label")
    return Preprocessing(**arguments)({key: str(Path(data["dataset_dir"]) / item[key]) for key in keys})


def test_angiography_comes_into_the_space_of_the_image(bundle, data):
    """The same head moved by (6, -4, 5) mm must lie on itself again, to a fraction of a millimetre."""
    from scripts.registration import AIR_HU, SOFT_HU, register_rigid

    folder = Path(data["dataset_dir"])
    image, moved = (read_volume(folder / kind / "case_000.nii.gz") for kind in ("images", "cta"))
    found = register_rigid(moved, image)
    assert found.shape == image.shape
    assert torch.equal(found.affine, image.affine)
    where = found.as_tensor() > AIR_HU
    assert where.double().mean() > 0.7
    pair = torch.stack([x.as_tensor()[where].clamp(*SOFT_HU) for x in (image, found)])
    assert torch.corrcoef(pair)[0, 1] > 0.99


def test_channels_are_brain_mirror_angiography(bundle, data):
    image = preprocessed(data, cta=True, cta_window=(0, 100))["image"].as_tensor()
    alone = preprocessed(data)["image"].as_tensor()
    assert torch.equal(image[:2], alone)
    inside = image[0] > 0
    mirror, angiography = ((image[channel] - image[0])[inside].abs().mean() for channel in (1, 2))
    assert angiography < mirror / 2


def test_case_without_angiography_is_named(bundle, data):
    from scripts.preprocessing import Preprocessing

    path = str(Path(data["dataset_dir"]) / "images" / "case_000.nii.gz")
    with pytest.raises(RuntimeError) as raised:
        Preprocessing(cta=True, regions=False)({"image": path})
    assert isinstance(raised.value.__cause__, InputError)
    assert f"{path}: expected the key `cta`" in str(raised.value.__cause__)


def test_percentile_normalisation(bundle, data):
    """Against numpy on the same brain: ranks, mean 0, deviation 1, background 0."""
    plain = preprocessed(data, symmetric=False)
    item = preprocessed(data, symmetric=False, normalisation="percentile")
    inside = plain["brain"].numpy()[0] > 0
    hu = plain["image"].numpy()[0][inside].astype(np.float64) * 100
    low, high = np.percentile(hu, [0.5, 99.5], method="nearest")
    clipped = hu.clip(low, high)
    expected = (clipped - clipped.mean()) / clipped.std(ddof=1)
    assert np.allclose(item["image"].numpy()[0][inside], expected, atol=1e-4)
    assert not item["image"].numpy()[0][~inside].any()


def test_hard_cases_come_again_turned(bundle, data):
    from scripts.hard_cases import repeat_hard_cases

    parser = ConfigParser()
    parser.read_config("configs/train.yaml")
    parser.update({**data, "hard_cases": ["case_001", "case_002"], "hard_case_copies": 2, "fold": 0})
    dataset = parser.get_parsed_content("train#dataset")
    assert [item.get("turn", 0) for item in dataset.data] == [0, 0, 1, 2, 1, 2]
    plain, flipped = dataset[0], dataset[2]
    for key in ("image", "label", "brain", "hyperdense"):
        assert torch.equal(flipped[key].as_tensor(), plain[key].as_tensor().flip(1))
    with pytest.raises(InputError, match="0 to 5, found 6"):
        repeat_hard_cases([], [], 6)


def test_hard_cases_of_2022_train(bundle, data, tmp_path):
    """A step on each of two cases and on a hard one's copy; a hard case of the held-out fold is left out."""
    settings = {
        **data, "patches_per_case": 2, "batch_size": 2, "max_epochs": 1, "hard_case_copies": 1, "fold": 0,
        "ckpt_dir": str(tmp_path), "output_dir": str(tmp_path),
    }  # fmt: skip
    files = ("train.yaml", "variants/instance2022.yaml")
    training = workflow("train", *files, **settings, hard_cases=["case_000", "case_002"])
    training.run()
    cases = [item["case"] for item in training.parser.get_parsed_content("train#dataset").data]
    assert cases == ["case_001", "case_002", "case_002"]
    assert training.parser.get_parsed_content("train#trainer").state.iteration == 3
    assert (tmp_path / "model.pt").is_file()
    misspelt = workflow("train", *files, **settings, hard_cases=["case_02"])
    with pytest.raises(RuntimeError) as raised:
        misspelt.run()
    error = input_error(raised.value)
    assert str(error) == "hard_cases: expected names of training cases, such as case_000, found 'case_02'"


def test_loss(bundle):
    """A weight of 1 is MONAI's DiceCELoss; a weight of 2 changes the cross-entropy as torch has it."""
    from scripts.loss import DiceCrossEntropy

    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 4, 5, 6, generator=random)
    label = (torch.rand(3, 1, 4, 5, 6, generator=random) > 0.7).float()
    monai_loss = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)(logits, label)
    assert torch.allclose(DiceCrossEntropy()(logits, label), monai_loss)
    entropy = -torch.log_softmax(logits, 1).gather(1, label.long())
    weight = 1 + label
    change = (weight * entropy).sum() / weight.sum() - entropy.mean()
    assert torch.allclose(DiceCrossEntropy(2.0)(logits, label), monai_loss + change, atol=1e-6)


def test_without_restrictions_the_whole_image_is_there(bundle, data):
    """Half of the patches of `sampling_none` are centred anywhere: most of a head's box is no brain."""
    training = workflow("train", "train.yaml", "variants/sampling_none.yaml", **data, patches_per_case=200)
    sampler = training.parser.get_parsed_content("sampler")
    plan, cases = sampler.plan(0), training.parser.get_parsed_content("train#dataset")
    volumes = [case["image"] for case in cases]
    assert tuple(volumes[0].shape[1:]) == (64, 64, 20), "cropped"
    inside = [
        bool(volumes[case][0][tuple(centre)] != 0)
        for case, region, centre in zip(plan.case, plan.region, plan.centre.tolist(), strict=True)
        if REGIONS[int(region)] == "image"
    ]
    brain = sum(float((volume[0] != 0).float().mean()) for volume in volumes) / len(volumes)
    assert len(inside) == 200
    assert sum(inside) / 200 == pytest.approx(brain, abs=0.12)
    assert brain < 0.4


def test_minmax_makes_the_range_of_the_brain_0_to_1(bundle, data):
    item = preprocessed(data, symmetric=False, normalisation="minmax")
    inside = item["brain"].as_tensor()[0] > 0
    values = item["image"].as_tensor()[0]
    assert float(values[inside].max()) == 1
    assert float(values[inside].min()) == pytest.approx(0, abs=1e-5)
    assert float(values[~inside].abs().max()) == 0
    windowed = preprocessed(data, symmetric=False)["image"].as_tensor()[0][inside]
    expected = (windowed - windowed.min()) / (windowed.max() - windowed.min())
    assert torch.allclose(values[inside], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "levels", "fits"), [((16, 16, 8), 4, False), ((16, 16, 8), 3, True), ((32, 32, 8), 4, False)]
)
def test_patches_that_the_network_cannot_halve_are_one_line(bundle, size, levels, fits):
    from scripts.network import SEUNet, check_roi_size

    network = SEUNet(features=[4] * (levels + 1), dropout=[0.5] * levels, se="none")
    if fits:
        return check_roi_size(size, network)
    with pytest.raises(InputError, match=r"multiples of 16 voxels.*found \["):
        check_roi_size(size, network)


@pytest.mark.parametrize("select_by", ["loss", "dice"])
def test_the_epoch_is_chosen_by_the_loss_of_validation_patches(bundle, data, tmp_path, select_by):
    """The lowest of the losses that are written to TensorBoard is the kept weights' own, recomputed here."""
    folders = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    tiny = {"patches_per_case": 8, "batch_size": 4, "max_epochs": 3, "roi_size": [24, 24, 8]}
    training = workflow("train", "train.yaml", **data, **folders, **tiny, select_by=select_by, amp=False)
    parser, seen = training.parser, []
    evaluator = parser.get_parsed_content("validate#evaluator")
    evaluator.add_event_handler(Events.COMPLETED, lambda engine: seen.append(dict(engine.state.metrics)))
    training.run()
    assert ("val_loss" in seen[0]) == (select_by == "loss")
    assert len(seen) == 3
    if select_by == "dice":
        return
    network, loss = (parser.get_parsed_content(key) for key in ("network_def", "loss"))
    network.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    network.eval()
    losses = []
    with torch.no_grad():
        for batch in parser.get_parsed_content("validation_patches")():
            losses.append(float(loss(network(batch["image"]), batch["label"])))
    assert min(row["val_loss"] for row in seen) == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_an_unknown_choice_is_named(bundle):
    from scripts.validation_loss import selecting_metric

    with pytest.raises(InputError, match="expected loss or dice, found 'iou'"):
        selecting_metric("iou")
