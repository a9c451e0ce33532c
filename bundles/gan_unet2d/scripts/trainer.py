"""Training of a segmentation network against a discriminator (Li 2021, figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer

from scripts.phases import Phases

__all__ = ["AdversarialTrainer", "losses"]


class AdversarialTrainer(SupervisedTrainer):
    """MONAI's `SupervisedTrainer`, and once `phases` says so the alternating steps of a conditional GAN.

    For every batch of slices x with truth y, the generator predicts p = sigmoid(G(x)) once, its dropout being
    the noise; where it tells types apart, p is the softmax and y one-hot, both without the background. Then

    - D is trained to tell (x, y) from (x, p): mean of the two cross-entropies, with p cut off from G;
    - G is trained on `loss_function(G(x), y) + beta * cross-entropy(D(x, p), true)`, D held fast (the
      non-saturating form of Goodfellow 2014).

    `engine.state.output` holds, as MONAI's engines have it, `image`, `label`, `pred` (logits) and `loss`, G's
    total, and in the second phase also `dice_loss`, `adversarial_loss`, `discriminator_loss`,
    `accuracy_real` and `accuracy_fake` (share of patches that D takes for what they are): tensors on the
    device, see `losses`.

    Mixed precision is the networks' own (`tools.engine.precision.with_precision`). In several processes both
    networks are wrapped by DistributedDataParallel, as for any trainer.

    Args:
        discriminator: (batch, channels + 1, height, width), slice and map, -> logits of any shape.
        discriminator_optimizer: its optimiser.
        phases: says whether pre-training is over.
        beta: weight of the adversarial loss.
        label_smoothing: what D is told of true maps is 1 minus this.
        kwargs: of `SupervisedTrainer`.

    Raises:
        ValueError: for `amp` or `accumulation_steps`, which the second phase has no use for.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        discriminator_optimizer: Optimizer,
        phases: Phases,
        beta: float = 0.01,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("amp") or kwargs.get("accumulation_steps", 1) != 1:
            raise ValueError(
                "amp and accumulation_steps must be left as they are: the networks have precision"
            )
        super().__init__(**kwargs)
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.phases = phases
        self.beta = beta
        self.label_smoothing = label_smoothing

    def _iteration(self, engine: AdversarialTrainer, batchdata: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not engine.phases.against_discriminator:
            return super()._iteration(engine, batchdata)
        batch = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        image, label = batch[0], batch[1]
        engine.network.train()
        engine.discriminator.train()
        output = engine.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        output[Keys.PRED] = engine.inferer(image, engine.network)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        predicted, truth = maps(output[Keys.PRED], label)
        output.update(engine._train_discriminator(image, truth, predicted.detach()))
        output.update(engine._train_generator(image, label, output[Keys.PRED], predicted))
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _train_discriminator(self, image: Tensor, label: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """One step of D; `predicted` has no gradient."""
        self.discriminator_optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        real = self.discriminator(torch.cat([image, label], 1))
        fake = self.discriminator(torch.cat([image, predicted], 1))
        loss = (_cross_entropy(real, 1 - self.label_smoothing) + _cross_entropy(fake, 0.0)) / 2
        loss.backward()
        self.discriminator_optimizer.step()
        return {
            "discriminator_loss": loss.detach(),
            "accuracy_real": (real.detach() > 0).float().mean(),
            "accuracy_fake": (fake.detach() < 0).float().mean(),
        }

    def _train_generator(
        self, image: Tensor, label: Tensor, logits: Tensor, predicted: Tensor
    ) -> dict[str, Tensor]:
        """One step of G."""
        # not through DistributedDataParallel, which would wait for gradients that D doesn't get here
        discriminator = getattr(self.discriminator, "module", self.discriminator)
        self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        discriminator.requires_grad_(False)
        adversarial = _cross_entropy(discriminator(torch.cat([image, predicted], 1)), 1.0)
        dice = self.loss_function(logits, label).mean()
        loss = dice + self.beta * adversarial
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        loss.backward()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.optimizer.step()
        discriminator.requires_grad_(True)
        return {
            Keys.LOSS: loss.detach(),
            "dice_loss": dice.detach(),
            "adversarial_loss": adversarial.detach(),
        }


def maps(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """What D sees of a prediction and of the truth: one map for each type, in shape (batch, types, X, Y).

    Args:
        logits: in shape (batch, 1, X, Y), or (batch, 1 + types, X, Y) with the background first.
        label: class values in shape (batch, 1, X, Y).
    """
    if logits.shape[1] == 1:
        return logits.sigmoid(), label.to(logits)
    types = torch.arange(1, logits.shape[1], device=label.device).view(1, -1, 1, 1)
    return logits.softmax(1)[:, 1:], (label == types).to(logits)


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def losses(output: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """The numbers of an iteration by their names, for StatsHandler and TensorBoardStatsHandler.

    Args:
        output: of an iteration, as `tools.engine.handlers.OutputAsList` leaves it.
    """
    output = output[0]
    names = (
        Keys.LOSS,
        "dice_loss",
        "adversarial_loss",
        "discriminator_loss",
        "accuracy_real",
        "accuracy_fake",
    )
    return {
        "train_loss" if name == Keys.LOSS else name: output[name].item() for name in names if name in output
    }
