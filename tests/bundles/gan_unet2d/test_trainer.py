"""Losses, alternating steps and phases of the adversarial training, against computations by hand."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.losses import DiceLoss
from monai.utils import CommonKeys as Keys
from torch import nn

from tools.engine.precision import with_precision


class Plane(nn.Module):
    """Logits a * x + b of each pixel."""

    def __init__(self, channels: int, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))
        self.bias = nn.Parameter(torch.tensor(shift))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,c->bhw", x, self.weight)[:, None] + self.bias


def dice() -> DiceLoss:
    return DiceLoss(sigmoid=True, squared_pred=True, batch=True)


def batches(number: int, size: int = 4, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.rand(2, 1, size, size, generator=random),
            "label": (torch.rand(2, 1, size, size, generator=random) > 0.6).float(),
        }
        for _ in range(number)
    ]


@pytest.fixture
def make_trainer(bundle):
    from scripts.trainer import AdversarialTrainer

    def make(generator, discriminator, data, against=True, lr=0.1, **more):
        return AdversarialTrainer(
            discriminator=discriminator,
            discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), lr),
            phases=SimpleNamespace(against_discriminator=against),
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=data,
            network=generator,
            optimizer=torch.optim.SGD(generator.parameters(), lr),
            loss_function=dice(),
            decollate=False,
            **more,
        )

    return make


def dice_by_hand(logits: torch.Tensor, label: torch.Tensor) -> float:
    p = [1 / (1 + math.exp(-v)) for v in logits.flatten().tolist()]
    y = label.flatten().tolist()
    both = sum(a * b for a, b in zip(p, y, strict=True))
    return 1 - (2 * both + 1e-5) / (sum(a * a for a in p) + sum(b * b for b in y) + 1e-5)


def cross_entropy_by_hand(logits: torch.Tensor, target: float) -> float:
    p = [1 / (1 + math.exp(-v)) for v in logits.flatten().tolist()]
    return -sum(target * math.log(a) + (1 - target) * math.log(1 - a) for a in p) / len(p)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_iteration_by_hand(make_trainer, smoothing):
    """Losses and accuracies; D's by its weights before its step, G's adversarial loss by those after it."""
    data = batches(1)
    image, label = data[0]["image"], data[0]["label"]
    generator, discriminator = Plane(1, 2.0, -1.0), Plane(2, 0.5, -0.2)
    before = copy.deepcopy(discriminator)
    trainer = make_trainer(generator, discriminator, data, beta=0.3, label_smoothing=smoothing)
    logits = (2 * image - 1).detach()
    fake = torch.sigmoid(logits)
    trainer.run()
    output = trainer.state.output
    real_logits, fake_logits = (before(torch.cat([image, m], 1)).detach() for m in (label, fake))
    d_loss = (cross_entropy_by_hand(real_logits, 1 - smoothing) + cross_entropy_by_hand(fake_logits, 0)) / 2
    assert output["discriminator_loss"].item() == pytest.approx(d_loss, rel=1e-5)
    assert output["accuracy_real"].item() == pytest.approx((real_logits > 0).double().mean().item())
    assert output["accuracy_fake"].item() == pytest.approx((fake_logits < 0).double().mean().item())
    # D's gradient of the mean cross-entropy over pixels is sigmoid - target, times the input
    errors = [
        (torch.sigmoid(v) - t, m) for v, t, m in ((real_logits, 1 - smoothing, label), (fake_logits, 0, fake))
    ]
    for parameter, inputs in ((discriminator.bias, None), (discriminator.weight, 1)):
        step = sum((e * (1 if inputs is None else m)).mean() for e, m in errors) / 2
        start = before.bias if inputs is None else before.weight[1]
        found = parameter if inputs is None else parameter[1]
        assert found.item() == pytest.approx((start - 0.1 * step).item(), rel=1e-5)
    after = discriminator(torch.cat([image, fake], 1)).detach()
    adversarial = cross_entropy_by_hand(after, 1)
    assert output["dice_loss"].item() == pytest.approx(dice_by_hand(logits, label), rel=1e-5)
    assert output["adversarial_loss"].item() == pytest.approx(adversarial, rel=1e-5)
    total = dice_by_hand(logits, label) + 0.3 * adversarial
    assert output[Keys.LOSS].item() == pytest.approx(total, rel=1e-5)


def test_generator_moves_against_both_losses(make_trainer):
    """Its step is that of the numerical derivative of Dice + beta * cross-entropy."""
    data = batches(1, seed=3)
    image, label = data[0]["image"], data[0]["label"]
    generator, discriminator = Plane(1, 1.5, -0.5), Plane(2, -0.7, 0.1)
    make_trainer(generator, discriminator, data, beta=0.5).run()

    def total(shift: float) -> float:
        logits = (1.5 * image + shift).double()
        judged = discriminator(torch.cat([image, torch.sigmoid(logits).float()], 1)).detach()
        return dice_by_hand(logits, label) + 0.5 * cross_entropy_by_hand(judged, 1)

    slope = (total(-0.5 + 1e-3) - total(-0.5 - 1e-3)) / 2e-3
    assert generator.bias.item() == pytest.approx(-0.5 - 0.1 * slope, abs=1e-5)


def snapshot(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_steps_alternate_and_leave_the_other_alone(make_trainer):
    """D's step changes no value of G, G's none of D, with the real networks and their normalisation."""
    from scripts.models import make_network
    from scripts.pix2pix import PatchDiscriminator

    generator, discriminator = (
        make_network("unet6", features=2, dropout=0.5),
        PatchDiscriminator(2, features=2),
    )
    trainer = make_trainer(generator, discriminator, batches(3, size=32))
    order = []
    originals = {"d": trainer._train_discriminator, "g": trainer._train_generator}

    def watched(name, own, other):
        def step(*args):
            before = snapshot(own), snapshot(other)
            result = originals[name](*args)
            order.append(name)
            assert not same(before[0], snapshot(own))
            assert same(before[1], snapshot(other))
            return result

        return step

    trainer._train_discriminator = watched("d", discriminator, generator)
    trainer._train_generator = watched("g", generator, discriminator)
    trainer.run()
    assert order == ["d", "g"] * 3
    assert all(p.requires_grad for p in discriminator.parameters())


def test_pretraining_is_monais_supervised_training(make_trainer):
    from monai.engines import SupervisedTrainer

    data = batches(3)
    generator, discriminator = Plane(1), Plane(2)
    before, plain = snapshot(discriminator), Plane(1)
    trainer = make_trainer(generator, discriminator, data, against=False)
    trainer.run()
    SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=1, train_data_loader=data, network=plain,
        optimizer=torch.optim.SGD(plain.parameters(), 0.1), loss_function=dice(), decollate=False,
    ).run()  # fmt: skip
    assert same(snapshot(generator), snapshot(plain))
    assert same(snapshot(discriminator), before)
    assert set(trainer.state.output) == {"image", "label", "pred", "loss"}


def test_bfloat16_networks_train(make_trainer):
    from scripts.models import make_network
    from scripts.pix2pix import PatchDiscriminator
    from scripts.trainer import losses

    networks = make_network("unet6", features=2), PatchDiscriminator(2, features=2)
    generator, discriminator = (with_precision(network, "cpu", amp=True) for network in networks)
    trainer = make_trainer(generator, discriminator, batches(2, size=32))
    trainer.run()
    numbers = losses([trainer.state.output])
    assert list(numbers) == [
        "train_loss", "dice_loss", "adversarial_loss", "discriminator_loss", "accuracy_real", "accuracy_fake",
    ]  # fmt: skip
    assert all(math.isfinite(value) for value in numbers.values())
    assert next(generator.parameters()).dtype == torch.float32


@pytest.mark.parametrize("more", [{"amp": True}, {"accumulation_steps": 2}])
def test_what_the_second_phase_has_no_use_for_is_refused(make_trainer, more):
    with pytest.raises(ValueError, match="amp and accumulation_steps"):
        make_trainer(Plane(1), Plane(2), batches(1), **more)


def test_monais_events_are_fired(make_trainer):
    from monai.engines.utils import IterationEvents

    trainer, seen = make_trainer(Plane(1), Plane(2), batches(1)), []
    for event in ("FORWARD_COMPLETED", "LOSS_COMPLETED", "BACKWARD_COMPLETED", "MODEL_COMPLETED"):
        trainer.add_event_handler(getattr(IterationEvents, event), lambda _, name=event: seen.append(name))
    trainer.run()
    assert seen == ["FORWARD_COMPLETED", "LOSS_COMPLETED", "BACKWARD_COMPLETED", "MODEL_COMPLETED"]


class TestDiceLoss:
    """As train.yaml has it: over the batch, so that slices without lesion count."""

    def test_false_alarm_on_an_empty_slice_costs(self):
        label = torch.zeros(2, 1, 8, 8)
        label[0, 0, 2:5, 2:5] = 1
        right = torch.where(label > 0, 9.0, -9.0)
        wrong = right.clone()
        wrong[1, 0, 1, 1:4] = 9.0
        assert dice()(right, label).item() == pytest.approx(0, abs=1e-3)
        assert dice()(wrong, label).item() == pytest.approx(1 - 18 / 21, abs=1e-3)  # 9 hits, 3 false alarms
        wrong.requires_grad_()
        dice()(wrong, label).backward()
        assert wrong.grad[1, 0, 1, 1] > 0  # gradient descent lowers the false alarm

    def test_batch_without_lesion_is_finite(self):
        logits = torch.zeros(2, 1, 8, 8, requires_grad=True)
        loss = dice()(logits, torch.zeros(2, 1, 8, 8))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()
        assert dice()(torch.full((2, 1, 8, 8), -30.0), torch.zeros(2, 1, 8, 8)).item() == pytest.approx(0)


def scripted(scores: list[float], epochs: int, **settings: object) -> tuple[list[bool], int, Any]:
    """Phases on a trainer that does nothing, with these scores: the phase of each epoch, resets, phases."""
    from ignite.engine import Engine
    from scripts.phases import Phases

    resets = []
    phases = Phases(metric="score", best_weights=SimpleNamespace(reset=lambda: resets.append(1)), **settings)
    trainer, evaluator, against = Engine(lambda *_: None), Engine(lambda *_: None), []
    phases.set_trainer(trainer)
    phases.attach(evaluator)
    waiting = iter(scores)

    @trainer.on(Events.EPOCH_STARTED)
    def note() -> None:
        against.append(phases.against_discriminator)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.state.metrics["score"] = next(waiting)
        evaluator.fire_event(Events.EPOCH_COMPLETED)

    trainer.run([0], max_epochs=epochs)
    return against, len(resets), phases


SCORES = [0.1, 0.3, 0.2, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("settings", "phases", "resets"),
    [
        # converged after two validations no better than epoch 2; then best in epoch 6, and three no better
        ({"adversarial": True, "pretrain_epochs": 9}, [False] * 4 + [True] * 5, 1),
        ({"adversarial": True, "pretrain_epochs": 1}, [False] + [True] * 4, 1),
        ({"adversarial": True, "pretrain_epochs": 0}, [True] * 5, 0),
        ({"adversarial": False, "pretrain_epochs": 9}, [False] * 5, 0),
    ],
    ids=["converged", "most-epochs", "none", "pre-training-alone"],
)
def test_phases(bundle, settings, phases, resets):
    found, count, _ = scripted(SCORES, 10, pretrain_patience=2, patience=3, **settings)
    assert found == phases
    assert count == resets


def test_phases_keep_their_state(bundle):
    settings = {"adversarial": True, "pretrain_epochs": 9, "pretrain_patience": 2, "patience": 3}
    _, _, whole = scripted(SCORES, 7, **settings)
    _, _, other = scripted([0.5], 1, **settings)
    assert whole.state_dict() == {"against": True, "best": 0.4, "waited": 1}
    other.load_state_dict(whole.state_dict())
    assert other.state_dict() == whole.state_dict()


def test_what_the_discriminator_sees_of_types(bundle):
    """Six channels become the softmax of five types, and the truth one map for each."""
    from scripts.trainer import maps

    logits, label = torch.randn(2, 6, 4, 4), torch.randint(0, 6, (2, 1, 4, 4))
    predicted, truth = maps(logits, label)
    assert predicted.shape == truth.shape == (2, 5, 4, 4)
    assert torch.allclose(predicted.sum(1), 1 - logits.softmax(1)[:, 0])
    for value in range(1, 6):
        assert torch.equal(truth[:, value - 1].bool(), label[:, 0] == value)
    single, binary = maps(logits[:, :1], label[:, :, :1] > 0)
    assert single.shape == (2, 1, 4, 4)
    assert binary.dtype == single.dtype
