"""An endless mixture of synthetic heads: determined by seed and number, mixed as asked for."""

from __future__ import annotations

import pytest
import torch

from tools.core.errors import InputError
from tools.phantom.cases import PhantomCases
from tools.phantom.head import HeadPhantom
from tools.phantom.outline import outlined

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


def test_outlines_hold_what_can_be_seen():
    """Voxel by voxel: thin blood beside the skull shines like bone; the scan stays as it is."""
    source = {"shape": (96, 96, 12), "spacing": (2.2, 2.2, 13.0), "kind": "edh"}
    exact, drawn = (PhantomCases([source], seed=4, as_outlined=whether)(1) for whether in (False, True))
    assert torch.equal(exact["image"], drawn["image"])
    head = HeadPhantom(4, 1, **source).render()
    assert torch.equal(drawn["label"], outlined(exact["label"], exact["image"], head.brain, (2.2, 2.2)))
    assert 0 < (drawn["label"] > 0).sum() < (exact["label"] > 0).sum()


def test_outlines_are_those_of_the_varied_scan():
    """Blood that the variation makes paler may no longer be seen."""
    source = {"shape": (96, 96, 12), "spacing": (2.2, 2.2, 13.0), "kind": "sah"}
    paler = {"contrast": [0.2, 0.2], "share": 1.0}
    plain, varied = (
        PhantomCases([source], seed=4, as_outlined=True, variation=variation)(3)
        for variation in (None, paler)
    )
    head = HeadPhantom(4, 3, **source).render()
    assert torch.equal(varied["label"], outlined(head.classes, varied["image"], head.brain, (2.2, 2.2)))
    assert plain["label"].any()
    assert not varied["label"].any()


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


def test_heads_are_kept_for_the_next_training(tmp_path, caplog):
    options = {
        "sources": [{**SMALL, "kind": "sah+iph"}],
        "seed": 1,
        "heads_dir": tmp_path,
        "with_brain": True,
    }
    fresh, (kept,) = PhantomCases(**options)(3), tmp_path.glob("*/head_000003.pt")
    again = PhantomCases(**options)(3)
    plain = PhantomCases(**{**options, "heads_dir": None})(3)
    for case in (fresh, again):
        for key in ("image", "label", "brain"):
            assert torch.equal(case[key], plain[key])
            assert case[key].dtype == plain[key].dtype
            assert torch.equal(case[key].affine, plain[key].affine)

    volumes = torch.load(kept, weights_only=True)  # it is read: what stands there comes out
    torch.save([volumes[0] + 7, *volumes[1:]], kept)
    assert torch.equal(PhantomCases(**options)(3)["image"], plain["image"] + 7)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert torch.equal(PhantomCases(**options)(3)["image"], plain["image"])
    assert "damaged" in caplog.text
    # other types of lesion and other variations come from the same heads, other sources do not
    PhantomCases(**{**options, "lesion": "iph", "variation": {}})(3)
    assert len(list(tmp_path.glob("*/*.pt"))) == 1
    PhantomCases(**{**options, "sources": [{**SMALL, "kind": "edh"}]})(3)
    assert len(list(tmp_path.glob("*/*.pt"))) == 2


def test_each_case_has_its_variation():
    sources = [{**SMALL, "kind": "any"}]
    plain, varied = PhantomCases(sources, seed=2), PhantomCases(sources, seed=2, variation={"share": 1.0})
    first, second = (varied(index)["image"] - plain(index)["image"] for index in (0, 1))
    assert first.std() > 0.1
    assert not torch.equal(first, second)
    assert torch.equal(varied(0)["image"], varied(0)["image"])
    assert torch.equal(varied(0)["label"], plain(0)["label"])
    assert varied.fingerprint != plain.fingerprint


def test_heads_come_again_varied_otherwise():
    options = {"sources": [{**SMALL, "kind": "any"}], "seed": 2}
    twice, varied = (
        PhantomCases(**options, heads=2),
        PhantomCases(**options, heads=2, variation={"share": 1.0}),
    )
    assert torch.equal(twice(3)["image"], PhantomCases(**options)(1)["image"])
    assert torch.equal(varied(3)["label"], varied(1)["label"])
    assert not torch.equal(varied(3)["image"], varied(1)["image"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sources": []}, "at least one"),
        ({"sources": [{"share": 0}]}, "above 0"),
        ({"sources": [{"kind": "stroke"}]}, "unknown kind"),
        ({"sources": [SMALL], "lesion": "stroke"}, "unknown lesion"),
        ({"sources": [SMALL], "per_person": 0}, "per_person"),
        ({"sources": [SMALL], "heads": 0}, "heads: expected 1 or more, found 0"),
        ({"sources": [SMALL], "variation": {"nois": 2}}, "ScanVariation: expected options among"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, message):
    with pytest.raises(InputError, match=message):
        PhantomCases(**arguments)
