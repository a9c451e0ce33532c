"""UNet++ on an ImageNet encoder: shapes, the library's own decoder as reference, freezing, scripting."""

from __future__ import annotations

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from monai.losses import DeepSupervisionLoss, DiceLoss
from segmentation_models_pytorch.encoders import get_encoder

from tools.core.errors import InputError
from tools.engine.precision import with_precision

SMALL = {"encoder_depth": 3, "decoder_channels": (16, 8, 8), "bridge_channels": 16}


@pytest.fixture(scope="module")
def modules(bundle):
    from scripts import encoder_sources, freezing, network

    return {"network": network, "sources": encoder_sources, "freezing": freezing}


@pytest.fixture(scope="module")
def make(modules):
    return modules["network"].EncoderUNetPlusPlus


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"encoder": "inceptionv4"}, (1, 1, 64, 96)),  # UNet6Incep
        ({"encoder": "vgg16"}, (1, 1, 64, 96)),  # UNet6Vgg
        ({"encoder": "vgg13_bn", "in_channels": 2, **SMALL}, (2, 2, 40, 24)),  # with the mirror image
        ({"encoder": "inceptionv4", "in_channels": 3, **SMALL}, (2, 3, 40, 24)),  # three windows
        ({"encoder": "vgg11", "encoder_depth": 4, "decoder_channels": (32, 16, 8, 8)}, (1, 1, 48, 32)),
    ],
    ids=["inception", "vgg", "symmetric", "windows3", "four-stages"],
)
def test_shape(make, arguments, shape):
    network = make(**arguments).eval()
    assert network.stride == 2 ** arguments.get("encoder_depth", 5)
    with torch.no_grad():
        assert network(torch.rand(shape)).shape == (shape[0], 1, *shape[2:])


@pytest.mark.parametrize("encoder", ["inceptionv4", "vgg11"])
def test_nested_skips_are_the_library_s(make, encoder):
    """The same weights in the library's UNet++ (without our bridge) give the same result."""
    ours = make(encoder, decoder_channels=(32, 16, 16, 8, 8), in_channels=3).eval()
    width = ours.encoder.out_channels[-1]
    ours.bridge = torch.nn.Identity()
    library = smp.UnetPlusPlus(encoder, encoder_weights=None, decoder_channels=(32, 16, 16, 8, 8)).eval()
    assert library.decoder.in_channels[0] == width
    ours.columns[0][3] = library.decoder.blocks["x_0_0"]  # the one block whose width depends on the bridge
    library.encoder.load_state_dict(ours.encoder.state_dict())
    for j, column in enumerate(ours.columns, 1):
        for i, block in enumerate(column):
            library.decoder.blocks[f"x_{4 - i - j}_{3 - i}"].load_state_dict(block.state_dict())
    library.decoder.blocks["x_0_4"].load_state_dict(ours.last.state_dict())
    library.segmentation_head[0] = ours.head
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = library((x - ours.mean) / ours.std)
        assert torch.allclose(ours(x), expected, atol=1e-6)
    assert expected.std() > 1e-3


@pytest.mark.parametrize(
    ("encoder", "mean", "std"),
    [
        ("vgg16", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's
        ("inceptionv4", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # to -1..1, as the TensorFlow models
        ("inceptionresnetv2", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_what_the_encoder_sees(make, modules, encoder, mean, std):
    """One channel thrice, two as slice, slice, mirror image; then the encoder's own mean and deviation."""
    source = modules["sources"].ENCODERS[encoder]
    assert (tuple(source.mean), tuple(source.std)) == (mean, std)
    for channels, order in ((1, [0, 0, 0]), (2, [0, 0, 1]), (3, [0, 1, 2])):
        small = {} if encoder == "inceptionresnetv2" else SMALL
        network = make(encoder, in_channels=channels, **small).eval()
        seen = []
        network.encoder.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        x = np.random.default_rng(0).random((1, channels, 64, 64), dtype=np.float32)
        with torch.no_grad():
            network(torch.from_numpy(x))
        expected = (x[:, order] - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
        assert np.allclose(seen[0].numpy(), expected, atol=1e-6)


def test_one_convolution_separates_encoder_and_decoder(make):
    network = make("vgg11")
    convolutions = [part for part in network.bridge.modules() if isinstance(part, torch.nn.Conv2d)]
    assert [(part.in_channels, part.out_channels, part.kernel_size) for part in convolutions] == [
        (512, 512, (3, 3))
    ]


def test_no_layer_is_unused(make):
    """Every parameter takes part, which training in several processes needs; cut encoders hold no more."""
    for arguments in (
        {"encoder": "inceptionv4"},
        {"encoder": "inceptionv4", **SMALL},
        {"encoder": "vgg11", **SMALL},
    ):
        network = make(**arguments, deep_supervision=True)
        sum(part.sum() for part in network(torch.rand(2, 1, 64, 64))).backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_begins_with_few_lesions(make):
    """All outputs begin at a small probability, which suits the Dice loss."""
    network = make("vgg11_bn", deep_supervision=True, **SMALL)
    for logits in network(torch.rand(2, 1, 64, 64)):
        assert 0.005 < torch.sigmoid(logits.detach().median()) < 0.08


def test_deep_supervision(make):
    """In training the logits of every nested U-Net; in evaluation what the whole network gives."""
    network = make("vgg11", encoder_depth=4, decoder_channels=(16, 8, 8, 8), deep_supervision=True)
    x, label = torch.rand(2, 1, 32, 48), (torch.rand(2, 1, 32, 48) > 0.8).float()
    for amp in (False, True):
        outputs = with_precision(network, "cpu", amp)(x)
        assert [tuple(part.shape[2:]) for part in outputs] == [(32, 48), (16, 24), (16, 24)]
        assert all(part.dtype == torch.float32 for part in outputs)
    dice = DiceLoss(sigmoid=True)
    half = label[:, :, 1::2, 1::2]  # nearest-exact takes the middle, which is the later of two
    expected = dice(outputs[0], label) + 0.5 * dice(outputs[1], half) + 0.25 * dice(outputs[2], half)
    assert torch.allclose(DeepSupervisionLoss(dice)(outputs, label), expected)
    network.eval()
    assert network(x).shape == (2, 1, 32, 48)


def train_steps(network, groups, steps: int = 2) -> None:
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.rand(2, 1, 32, 32, generator=random)
        optimizer.zero_grad()
        DiceLoss(sigmoid=True)(network(x), (x > 0.5).float()).backward()
        optimizer.step()


def changed(before: dict, after: dict) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def copied(network) -> dict:
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("encoder", ["inceptionv4", "vgg11_bn"])
def test_a_frozen_encoder_does_not_change(make, modules, encoder):
    """No gradient, no step, and running statistics that stay; all of the decoder learns."""
    network = make(encoder, frozen=True, **SMALL).train()
    groups = modules["network"].parameter_groups(network, 1e-3, None)
    assert len(groups) == 1
    before = copied(network)
    train_steps(network, groups)
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    moved = changed(before, network.state_dict())
    assert not any(key.startswith("encoder.") for key in moved)
    assert moved == {key for key in before if not key.startswith("encoder.")}


def test_an_unfrozen_encoder_learns_at_its_own_rate(make, modules):
    network = make("vgg11_bn", **SMALL).train()
    groups = modules["network"].parameter_groups(network, 1e-5, 0)
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1e-5]
    owned = [{id(p) for p in group["params"]} for group in optimizer.param_groups]
    assert owned[1] == {id(p) for p in network.encoder.parameters()}
    assert owned[0] | owned[1] == {id(p) for p in network.parameters()}
    assert not owned[0] & owned[1]
    before = copied(network)
    train_steps(network, groups)
    moved = changed(before, network.state_dict())
    assert any(key.startswith("encoder.") and "running_mean" in key for key in moved)
    # Adam's first steps are as long as the learning rate
    weight = "encoder.features.0.weight"
    assert 0 < (network.state_dict()[weight] - before[weight]).abs().max() < 5e-5


def test_frozen_for_some_epochs(make, modules):
    """Frozen in epoch 1 and 2, then not; evaluation in between changes nothing about it."""
    from ignite.engine import Engine

    network = make("vgg11_bn", **SMALL)
    seen = []

    def step(engine, batch):
        network.train()
        seen.append(
            (network.frozen, network.encoder.training, network.encoder.features[0].weight.requires_grad)
        )

    trainer = Engine(step)
    modules["freezing"].FreezeEncoder(network, 2).attach(trainer)
    trainer.run([0], max_epochs=3)
    assert seen == [(True, False, False)] * 2 + [(False, True, True)]


def test_scripted(make):
    """TorchScript, which `ckpt_export` writes, gives the same logits for any size of the batch and slice."""
    network = make("vgg11", deep_supervision=True, **SMALL).eval()
    scripted = torch.jit.script(network)
    for shape in ((1, 1, 32, 32), (3, 1, 24, 40)):
        x = torch.rand(shape)
        with torch.no_grad():
            assert torch.equal(scripted(x), network(x))


def test_sizes_that_do_not_fit(make):
    network = make("vgg11", **SMALL).eval()
    with pytest.raises(InputError, match="size: expected multiples of 8 pixels, found 64 x 60"):
        network(torch.rand(1, 1, 64, 60))


def test_inception_levels_fit(make):
    """The encoder's maps halve exactly, unlike those of the original without padding (125, 62, 29, 14, 6)."""
    encoder = get_encoder("inceptionv4", weights=None).eval()
    with torch.no_grad():
        assert [level.shape[-1] for level in encoder(torch.zeros(1, 3, 256, 256))] == [
            256,
            128,
            64,
            32,
            16,
            8,
        ]


def test_known_sizes(make):
    """The VGG encoder holds torchvision's layers before the classifier, and nothing else."""
    network = make("vgg16")
    expected = sum(p.numel() for p in torchvision.models.vgg16(weights=None).features.parameters())
    assert sum(p.numel() for p in network.encoder.parameters()) == expected == 14_714_688


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "inception"}, "encoder: expected one of inceptionv4, .*found 'inception'"),
        ({"in_channels": 6}, "in_channels: expected 1, 2 or 3, found 6"),
        ({"encoder_depth": 2}, "encoder_depth: expected one of .* found 2"),
        ({"decoder_channels": (8, 8)}, "decoder_channels: expected 5, .* found .8, 8."),
    ],
)
def test_wrong_arguments(make, arguments, message):
    with pytest.raises(InputError, match=message):
        make(**arguments)
