"""The loss against its terms counted by hand."""

from __future__ import annotations

import pytest
import torch

from tools.engine.type_loss import UNKNOWN_TYPE, BloodAndTypesLoss, UnknownTyped


def by_hand(
    logits: torch.Tensor, label: torch.Tensor, any_weight: float, types_weight: float, recall: float
) -> float:
    p = logits.double().softmax(1)
    one_hot = torch.stack([(label[:, 0] == c).double() for c in range(p.shape[1])], 1)
    entropy = -(one_hot * p.log()).sum(1).mean()
    smooth = 1e-5
    dices = [
        (2 * (p[:, c] * one_hot[:, c]).sum() + smooth) / (p[:, c].sum() + one_hot[:, c].sum() + smooth)
        for c in range(1, p.shape[1])
    ]
    blood, truth = 1 - p[:, 0], 1 - one_hot[:, 0]
    found, false, missed = (blood * truth).sum(), (blood * (1 - truth)).sum(), ((1 - blood) * truth).sum()
    union = (found + smooth) / (found + (1 - recall) * false + recall * missed + smooth)
    types = sum(1 - dice for dice in dices) / len(dices)
    return float(entropy + types_weight * types + any_weight * (1 - union))


@pytest.mark.parametrize("shape", [(8, 8), (6, 6, 4)])
def test_terms(shape):
    torch.manual_seed(1)
    logits, label = torch.randn(2, 6, *shape), torch.randint(0, 6, (2, 1, *shape))
    for weights in ((1.0, 0.5, 0.5), (2.0, 0.0, 0.8)):
        assert float(BloodAndTypesLoss(*weights)(logits, label)) == pytest.approx(
            by_hand(logits, label, *weights), rel=1e-5
        )


def test_a_mistaken_type_costs_less_than_missed_blood():
    label = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    label[..., 2:6, 2:6] = 2
    right, other, missed = (torch.zeros(1, 6, 8, 8) for _ in range(3))
    for logits, kind in ((right, 2), (other, 5), (missed, 0)):
        logits[:, 0] = 6
        logits[:, 0, 2:6, 2:6] = 0
        logits[:, kind, 2:6, 2:6] = 6
    loss = BloodAndTypesLoss()
    assert loss(right, label) < loss(other, label) < loss(missed, label)


def test_blood_of_unknown_type_counts_as_the_likeliest():
    torch.manual_seed(2)
    logits, label = torch.randn(2, 6, 8, 8), torch.randint(0, 6, (2, 1, 8, 8))
    unknown = torch.rand(2, 1, 8, 8) < 0.5
    unknown &= label > 0
    best = logits[:, 1:].argmax(1, keepdim=True) + 1  # never the background
    loss = BloodAndTypesLoss()
    partly = label.masked_fill(unknown, UNKNOWN_TYPE)
    assert float(loss(logits, partly)) == pytest.approx(
        float(loss(logits, torch.where(unknown, best, label)))
    )
    assert int((partly == UNKNOWN_TYPE).sum()) == int(unknown.sum())  # the label is left as it is


def test_binary_masks_become_blood_of_unknown_type():
    label = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    made = UnknownTyped("label")({"label": label, "image": label})
    assert made["label"].tolist() == [[[0, 255], [255, 0]]]
    assert made["image"] is label
