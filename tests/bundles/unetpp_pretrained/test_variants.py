"""Every variant trains, evaluates and infers: in one process, on a tiny set that is prepared once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from PIL import Image

from tests.bundles.runs import check_evaluated_slices, check_inferred, held_out_case, workflow
from tests.bundles.types_check import MADE
from tools.core.errors import InputError
from tools.phantom import write_phantoms

ENCODER = "network_def#encoder"
SMALL = {"network_def#encoder_depth": 3, "network_def#decoder_channels": [16, 8, 8], "input#size": [64, 64]}
TINY = {"patches_per_case": 4, "batch_size": 4, "max_epochs": 1}
CHEAP = {ENCODER: "vgg11_bn"}  # where the overlay says nothing about the encoder
CROPS = {**MADE, "val_interval": 1}
VARIANTS = {
    # overlay: overrides, encoder that comes out, channels that it is shown, whether it has changed
    "inception": ({}, "inceptionv4", 1, False),  # the default
    "vgg": ({}, "vgg16", 1, False),
    "efficientnet_lite0": ({}, "efficientnet_lite0", 1, False),
    "windows3": (CHEAP, "vgg11_bn", 3, False),
    "symmetric": (CHEAP, "vgg11_bn", 2, False),
    "unfrozen": ({**CHEAP, "freeze_epochs": 1, "max_epochs": 2}, "vgg11_bn", 1, True),
    "from_scratch": (CHEAP, "vgg11_bn", 1, True),
    "deep_supervision": (CHEAP, "vgg11_bn", 1, False),
    "types": ({}, "efficientnet_lite0", 3, True),
    "anatomy": ({**CHEAP, **CROPS, "freeze_epochs": 0}, "vgg11_bn", 1, True),
    "types anatomy": (CROPS, "efficientnet_lite0", 3, True),
    "types anatomy finetune": (CROPS, "efficientnet_lite0", 3, True),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("variants")
    spacing, shape = (3.0, 3.0, 10.0), (64, 64, 12)
    write_phantoms(root / "data", cases=3, seed=3, folds=3, kind="edh+iph", shape=shape, spacing=spacing)
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache")}


@pytest.fixture(scope="module")
def imagenet(bundle, tmp_path_factory) -> dict[str, Path]:
    """Files as of ImageNet weights, of random numbers."""
    from scripts.network import EncoderUNetPlusPlus

    root = tmp_path_factory.mktemp("imagenet")
    files = {}
    for name in ("inceptionv4", "vgg16", "efficientnet_lite0", "vgg11_bn"):
        files[name] = root / f"{name}.pth"
        network = EncoderUNetPlusPlus(name, encoder_depth=3, decoder_channels=(16, 8, 8))
        torch.save(network.encoder.state_dict(), files[name])
    return files


def test_every_overlay_is_tested(bundle):
    files = {path.stem for path in (bundle / "configs" / "variants").glob("*.yaml")}
    assert files == {name for names in VARIANTS for name in names.split()}


@pytest.mark.parametrize("name", VARIANTS)
def test_trains_evaluates_and_infers(bundle, data, imagenet, tmp_path, name):
    overrides, encoder, channels, learned = VARIANTS[name]
    small = {**SMALL, **{key: value for key, value in overrides.items() if key == ENCODER}}
    folders = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path), "threshold": 0.2}
    given = (
        {}
        if name == "from_scratch" or "types anatomy" in name
        else {"encoder_weights_path": str(imagenet[encoder])}
    )
    overlays = [f"variants/{one}.yaml" for one in name.split()]
    if "finetune" in name:
        given = {"real": str(Path(data["dataset_dir"], "dataset.json")), "real_fold": 0}
    training = workflow(
        "train",
        "train.yaml",
        *overlays,
        **data,
        **folders,
        **given,
        **{**SMALL, **TINY, **overrides},
    )
    network = training.parser.get_parsed_content("network_def")
    training.parser.get_parsed_content("initial_network")
    start = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    if "encoder_weights_path" in given:
        file = torch.load(imagenet[encoder], weights_only=True)
        assert all(torch.equal(value, file[key]) for key, value in start.items())
    training.run()
    trainer = training.parser.get_parsed_content("train#trainer")
    output = trainer.state.output  # as MONAI's trainer leaves it, or as a list of one
    output = output[0] if isinstance(output, list) else output
    assert output["image"].shape[1] == channels
    assert isinstance(output["pred"], list) == (name == "deep_supervision")
    assert network.encoder_name == encoder
    now = network.encoder.state_dict()
    changed = [key for key, value in start.items() if not torch.equal(value, now[key])]
    if learned:
        assert len(changed) == len(start)  # all weights and statistics
        assert json.loads((tmp_path / "model.json").read_text())["encoder"] == encoder
    else:
        assert changed == []
        saved = torch.load(tmp_path / "model.pt", weights_only=True)
        assert all(torch.equal(value, saved[f"encoder.{key}"]) for key, value in start.items())
        assert all(p.grad is None for p in network.encoder.parameters())

    overlays = [one for one in overlays if "finetune" not in one]  # of training alone
    threshold = folders.pop("threshold")  # from here on it is the one beside the weights
    evaluation = workflow("infer", "train.yaml", "evaluate.yaml", *overlays, **data, **folders, **small)
    assert evaluation.parser.get_parsed_content("threshold") == threshold
    evaluation.run()
    found = check_evaluated_slices(tmp_path, data["dataset_dir"])
    assert (tmp_path / "slice_metrics" / "precision_recall.png").is_file()
    columns = (tmp_path / "metrics" / "per_case.csv").read_text().splitlines()[0].split(",")
    assert ("dice_iph" in columns) == ("types" in name)

    if "anatomy" in name:
        return  # an overlay of training and evaluation
    case = held_out_case(data["dataset_dir"])
    image = Path(data["dataset_dir"]) / case["image"]
    inference = workflow(
        "infer", "inference.yaml", *overlays, dataset_dir=str(image),
        output_dir=str(tmp_path / "out"), ckpt_path=str(tmp_path / "model.pt"), **small,
    )  # fmt: skip
    assert inference.parser.get_parsed_content("threshold") == threshold
    inference.run()
    check_inferred(tmp_path / "out" / f"{case['case']}_seg.nii.gz", image, found)


@pytest.fixture(scope="module")
def trained(bundle, data, tmp_path_factory) -> Path:
    """Weights of a small VGG from scratch."""
    folder = tmp_path_factory.mktemp("trained")
    folders = {"ckpt_dir": str(folder), "output_dir": str(folder)}
    workflow(
        "train", "train.yaml", "variants/from_scratch.yaml", **data, **folders, **SMALL, **TINY, **CHEAP
    ).run()
    return folder / "model.pt"


def test_pictures(bundle, trained, tmp_path):
    """A single slice as JPEG becomes a mask as PNG of its size, by the network that the weights are of."""
    Image.fromarray(np.full((80, 72), 90, np.uint8)).save(tmp_path / "slice.jpg")
    run = workflow(
        "infer", "inference.yaml", dataset_dir=str(tmp_path / "slice.jpg"), output_dir=str(tmp_path / "out"),
        ckpt_path=str(trained),
    )  # fmt: skip
    run.run()
    (mask,) = (tmp_path / "out").glob("*.png")
    assert Image.open(mask).size == (72, 80)


def test_the_encoder_must_be_the_training_s(bundle, data, trained, tmp_path):
    run = workflow(
        "infer", "inference.yaml", dataset_dir=data["dataset_dir"] + "/images", output_dir=str(tmp_path),
        ckpt_path=str(trained), **{**SMALL, ENCODER: "vgg16"},
    )  # fmt: skip
    with pytest.raises(RuntimeError) as raised:
        run.run()
    assert isinstance(raised.value.__cause__, InputError)
    assert "expected encoder vgg11_bn, with which these weights were trained, found vgg16" in str(
        raised.value.__cause__
    )


def test_interrupted_while_frozen(bundle, data, imagenet, tmp_path):
    """A training that ends after its first epoch and goes on has the weights of one that never ended."""
    results = []
    for name, stops in (("whole", (3,)), ("parts", (1, 3))):
        folders = {"ckpt_dir": str(tmp_path / name), "output_dir": str(tmp_path / name)}
        for epochs in stops:
            run = workflow(
                "train", "train.yaml", "variants/unfrozen.yaml", **data, **folders, **SMALL, **CHEAP,
                encoder_weights_path=str(imagenet["vgg11_bn"]), freeze_epochs=1, amp=False,
                patches_per_case=2, batch_size=4, max_epochs=3,
            )  # fmt: skip
            trainer = run.parser.get_parsed_content("train#trainer")
            if epochs == 1:  # as when the machine stops in the second epoch

                def stop(engine):
                    raise KeyboardInterrupt

                trainer.add_event_handler(Events.EPOCH_STARTED(once=2), stop)
                with pytest.raises(KeyboardInterrupt):
                    run.run()
            else:
                run.run()
        results.append(run.parser.get_parsed_content("network_def").state_dict())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_without_weights(bundle, data, tmp_path):
    """Inference never runs on random weights."""
    run = workflow(
        "infer", "inference.yaml", dataset_dir=data["dataset_dir"] + "/images", output_dir=str(tmp_path),
        ckpt_path=str(tmp_path / "model.pt"), **SMALL,
    )  # fmt: skip
    with pytest.raises(RuntimeError) as raised:
        run.run()
    assert isinstance(raised.value.__cause__, InputError)
    assert f"{tmp_path / 'model.pt'}: expected trained weights" in str(raised.value.__cause__)


def test_without_a_network_as_a_user_sees_it(bundle_run, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = bundle_run("training", "train.yaml", **data, ckpt_dir=tmp_path, output_dir=tmp_path)
    assert run.returncode != 0
    line = run.stderr.strip().splitlines()[-1]
    assert line.startswith("error: use_imagenet_pretrain: expected ImageNet weights of inceptionv4")
    assert "--encoder_weights_path models/inceptionv4-8e4777a0.pth" in line
    assert not (tmp_path / "model.pt").exists()
