"""An endless mixture of synthetic heads: determined by seed and number, mixed as asked for."""

from __future__ import annotations

import pytest
import torch

from tools.core.errors import InputError
from tools.phantom.cases import PhantomCases
from tools.phantom.head import HeadPhantom

SMALL = {"shape": (48, 48, 12), "spacing": (4.5, 4.5, 13.0)}


def test_case_is_that_of_its_head():
    case = PhantomCases([{**SMALL, "kind": "any"}], seed=3)(5)
    head = HeadPhantom(3, 5, kind="any", **SMALL).render()
    assert torch.equal(case["image"], head.image)
    assert torch.equal(case["label"], head.classes)
    assert case["case"] == "synthetic_000005"


def test_binary_label_and_transform():
    def halved(item):
        return {key: value[:, ::2] for key, value in item.items()}

    cases = PhantomCases([{**SMALL, "kind": "sah+iph"}], halved, lesion="iph", seed=1, with_brain=True)
    case, head = cases(0), HeadPhantom(1, 0, kind="sah+iph", **SMALL).render()
    assert torch.equal(case["label"], head.label(["iph"])[:, ::2])
    assert torch.equal(case["brain"], head.brain[:, ::2])


def test_mixture_comes_in_blocks_by_its_shares():
    cases = PhantomCases([{**SMALL, "share": 3}, {**SMALL, "kind": "normal"}], seed=0, per_person=5)
    sources = [cases.source_of(index) for index in range(5000)]
    assert all(len(set(sources[block : block + 5])) == 1 for block in range(0, 5000, 5))
    # 1,000 blocks: 0.25 within four standard deviations of 0.0137
    assert abs(sum(sources) / 5000 - 0.25) < 0.055


def test_lists_are_drawn_from():
    kinds, spacings = ["normal", "iph"], [[4.5, 4.5, 13.0], [4.5, 4.5, 15.0]]
    cases = PhantomCases([{**SMALL, "kind": kinds, "spacing": spacings}], seed=2)
    seen = [cases(index) for index in range(12)]
    assert {bool(case["label"].any()) for case in seen} == {True, False}
    assert {round(float(case["image"].affine[2, 2])) for case in seen} == {13, 15}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sources": []}, "at least one"),
        ({"sources": [{"share": 0}]}, "above 0"),
        ({"sources": [{"kind": "stroke"}]}, "unknown kind"),
        ({"sources": [SMALL], "lesion": "stroke"}, "unknown lesion"),
        ({"sources": [SMALL], "per_person": 0}, "per_person"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, message):
    with pytest.raises(InputError, match=message):
        PhantomCases(**arguments)
