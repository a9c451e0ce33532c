"""Blood in heads made of label maps: volumes, the rooms that anatomy leaves, mass effect, brightness."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.core.errors import InputError
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy, Tissue
from tools.phantom.anatomy.blood import Blood, bleed, draw_blood, find_spaces
from tools.phantom.anatomy.blood.epidural import plate
from tools.phantom.anatomy.blood.frame import similarity
from tools.phantom.anatomy.blood.mass_effect import displace
from tools.phantom.anatomy.blood.spaces import COARSE
from tools.phantom.anatomy.maps import read_map
from tools.phantom.anatomy.warp import jacobian
from tools.phantom.kinds import CLASSES

sys.path.insert(0, str(Path(__file__).parent))
from label_map import small_head

TISSUE = Tissue(
    grey=37, white=29, csf=6, sinus=52, artery=42, dura=42, muscle=55, fat=-90, bone=1100, marrow=400
)
ALL = tuple(CLASSES)


def as_anatomy(labels: torch.Tensor) -> Anatomy:
    """A head with one HU per kind of tissue."""
    table = torch.full((L.COUNT,), -1000.0)
    table[list((*L.PARENCHYMA, *L.SCALP))] = TISSUE.grey
    table[list(L.WHITE)] = TISSUE.white
    table[list((L.CSF, *L.VENTRICLES))] = TISSUE.csf
    table[list(L.SKULL)] = TISSUE.bone
    none = torch.zeros(labels.shape)
    return Anatomy(labels, table[labels.long()], none, none, np.eye(4), 50.0, TISSUE)


@pytest.fixture(scope="module")
def head() -> Anatomy:
    """A head of half the usual size, on a grid of 1 mm; its midline lies between x = 41 and x = 42."""
    return as_anatomy(torch.from_numpy(small_head()))


@pytest.fixture(scope="module")
def spaces(head):
    """Measured once."""
    return find_spaces(head.labels)


def draw(head: Anatomy, spaces, types: tuple[str, ...], seed: int) -> Blood:
    """Blood of a seed."""
    return draw_blood(head, types, np.random.default_rng(seed), torch.Generator().manual_seed(seed), spaces)


def ask_for(monkeypatch: pytest.MonkeyPatch, ml: float) -> None:
    """Make every bleed ask for this volume."""
    monkeypatch.setattr(bleed, "draw_volume", lambda *args, **kwargs: ml)


# --- volumes


@pytest.mark.parametrize("ml", [0.6, 2.0])
@pytest.mark.parametrize("name", ALL)
def test_shares_add_up_to_the_volume_asked_for(head, spaces, monkeypatch, name, ml):
    ask_for(monkeypatch, ml)
    for seed in range(2):
        blood = draw(head, spaces, (name,), seed)
        asked = blood.truth["asked_ml"][name]
        assert float(blood.shares.sum()) / 1000 == pytest.approx(asked, rel=0.03)
        if name in ("edh", "iph", "ivh"):  # the others may ask for less, or old blood for more
            assert asked == pytest.approx(ml, abs=0.001)


def test_a_ventricle_holds_no_more_than_its_volume(head, spaces, monkeypatch):
    ask_for(monkeypatch, 500.0)
    blood = draw(head, spaces, ("ivh",), 0)
    room = int(L.is_in(blood.anatomy.labels, L.VENTRICLES).sum()) / 1000
    assert 0.5 * room < float(blood.shares.sum()) / 1000 < room
    assert blood.truth["asked_ml"]["ivh"] < room


def test_two_in_five_bleeds_are_tiny():
    rng = np.random.default_rng(0)
    drawn = np.array([bleed.draw_volume(rng) for _ in range(4000)])
    assert np.mean(drawn < 3) == pytest.approx(0.4, abs=0.03)
    assert drawn.min() >= 0.1
    assert drawn.max() <= 120


# --- the rooms that anatomy leaves


def check_rooms(blood: Blood) -> None:
    """Every voxel of a type lies where that type can."""
    labels = blood.anatomy.labels
    for name, share in zip(blood.types, blood.shares, strict=True):
        assert not L.is_in(labels[share > 0.01], L.SKULL).any(), name
        if name == "ivh":
            assert L.is_in(labels[share > 0], L.VENTRICLES).all()
        if name == "sah":
            assert (labels[share > 0] == L.CSF).all()
        if name == "iph":
            assert not L.is_in(labels[share > 0], L.VENTRICLES).any()


@pytest.mark.parametrize("seed", range(3))
def test_all_types_together_share_the_head(head, spaces, seed):
    blood = draw(head, spaces, ALL, seed)
    assert float(blood.shares.sum(0).max()) <= 1 + 1e-5
    assert float(blood.shares.min()) >= 0
    assert (blood.hu[blood.shares.sum(0) > 0] > 5).all()
    check_rooms(blood)


@pytest.mark.parametrize("seed", range(6))
def test_subdural_blood_stays_on_its_side_of_the_midline(head, spaces, seed):
    blood = draw(head, spaces, ("sdh",), seed)
    left, right = (float(part.sum()) for part in blood.shares[0].tensor_split([42], 0))
    side = blood.truth["bleeds"]["sdh"]["side"]
    assert {"left": right == 0 < left, "right": left == 0 < right, "both": left > 0 < right}[side]


@pytest.mark.parametrize("seed", range(4))
def test_epidural_blood_stays_under_one_bone(head, spaces, seed):
    blood = draw(head, spaces, ("edh",), seed)
    voxels = (blood.shares[0] > 0.05).nonzero().T.double()
    mni = torch.as_tensor(spaces.frame[:, :3]) @ voxels + torch.as_tensor(spaces.frame[:, 3:])
    assert len(set(plate(mni).tolist())) == 1


def test_epidural_blood_is_thickest_in_its_middle(head, spaces, monkeypatch):
    ask_for(monkeypatch, 30.0)
    blood = draw(head, spaces, ("edh",), 3)
    # Thickness counted along the axis that the lens faces, as a sum of shares.
    thick = max((blood.shares[0].sum(axis) for axis in range(2)), key=lambda t: float(t.max()))
    inside = thick[thick > 0.5]
    assert float(inside.max()) > 1.5 * float(inside.mean()) > 3


def test_settled_blood_lies_below_the_fluid_of_the_same_ventricle(head, spaces, monkeypatch):
    ask_for(monkeypatch, 3.0)
    seed = next(
        s for s in range(20) if draw(head, spaces, ("ivh",), s).truth["bleeds"]["ivh"]["form"] == "level"
    )
    blood = draw(head, spaces, ("ivh",), seed)
    for part in ((4,), (43,)):
        inside = L.is_in(blood.anatomy.labels, part)
        full, empty = inside & (blood.shares[0] > 0.5), inside & (blood.shares[0] < 0.01)
        if full.any() and empty.any():  # the patient lies on the back: y points up
            assert full.nonzero()[:, 1].float().mean() < empty.nonzero()[:, 1].float().mean() - 5


# --- mass effect


def test_a_mass_pushes_the_ventricles_to_the_other_side(head, spaces, monkeypatch):
    ask_for(monkeypatch, 8.0)  # as much as 64 mL in a whole head
    blood = draw(head, spaces, ("edh",), 1)
    sign = {"left": -1, "right": 1}[blood.truth["bleeds"]["edh"]["side"]]

    def middle(labels: torch.Tensor) -> float:
        return float(L.is_in(labels, (4, 43, 14)).nonzero()[:, 0].float().mean())

    assert sign * (middle(blood.anatomy.labels) - middle(head.labels)) < -0.3
    # Fluid leaves the spaces that are squeezed, beyond what the blood itself covers.
    free, fluid = blood.shares[0] < 0.01, (L.CSF, *L.VENTRICLES)
    before, after = (int((L.is_in(h.labels, fluid) & free).sum()) for h in (head, blood.anatomy))
    assert after < before - 200


@pytest.mark.parametrize("types", [("edh",), ("iph",), ("sdh", "iph")])
def test_mass_effect_does_not_fold(head, spaces, monkeypatch, types):
    ask_for(monkeypatch, 60.0)
    blood = draw(head, spaces, types, 1)
    assert blood.displacement is not None
    assert float(jacobian(blood.displacement, COARSE).min()) > 0


def test_a_velocity_that_would_fold_is_made_weaker(spaces):
    x = torch.linspace(-1, 1, spaces.cavity.shape[0] // COARSE)
    shape = [n // COARSE for n in spaces.cavity.shape]
    velocity = torch.zeros(3, *shape)
    velocity[0] = (60 * torch.sign(x) * (x.abs() < 0.3))[:, None, None]
    moved = displace(spaces, None, velocity)
    assert moved is None or float(jacobian(moved, COARSE).min()) > 0


def test_the_head_that_is_given_is_not_changed(head, spaces):
    labels, hu = head.labels.clone(), head.hu.clone()
    draw(head, spaces, ("edh", "iph"), 5)
    assert torch.equal(head.labels, labels)
    assert torch.equal(head.hu, hu)


# --- brightness


def test_blood_is_fresh_or_pale_in_the_stated_ranges():
    rng = np.random.default_rng(1)
    ages = [bleed.draw_age(rng) for _ in range(4000)]
    pale = [age.hu for age in ages if age.name == "pale"]
    fresh = [age.hu for age in ages if age.name == "fresh"]
    assert len(pale) / len(ages) == pytest.approx(0.37, abs=0.03)
    assert min(pale) >= 35
    assert max(pale) <= 50
    assert min(fresh) >= 45
    assert max(fresh) <= 80
    assert 55 < np.median(fresh) < 68


@pytest.mark.parametrize("name", ALL)
def test_pale_blood_stays_in_its_range(head, spaces, monkeypatch, name):
    ask_for(monkeypatch, 6.0)
    monkeypatch.setattr(bleed, "draw_age", lambda rng: bleed.Age("pale", 8.0, 38.0, 42.0))
    monkeypatch.setattr("tools.phantom.anatomy.blood.subdural.AGES", {"acute": 1.0})
    blood = draw(head, spaces, (name,), 2)
    inside = blood.hu[blood.shares[0] > 0.5]
    assert 33 < float(inside.mean()) < 46
    assert float(inside.quantile(0.02)) > 18


def test_edema_darkens_the_tissue_around_a_hematoma(head, spaces, monkeypatch):
    ask_for(monkeypatch, 20.0)
    blood = draw(head, spaces, ("iph",), 4)
    rim = (blood.edema > 0.3) & (blood.shares[0] < 0.01) & L.is_in(blood.anatomy.labels, L.WHITE)
    assert rim.sum() > 50
    assert float(blood.anatomy.hu[rim].mean()) < TISSUE.white - 1


# --- seeds and input


def test_a_seed_decides_everything(head, spaces):
    first, again, other = (draw(head, spaces, ("iph", "sah"), seed) for seed in (8, 8, 9))
    for name in ("shares", "hu"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert first.truth == again.truth
    assert not torch.equal(first.shares, other.shares)


def test_no_types_leave_the_head_as_it_is(head):
    blood = draw_blood(head, (), np.random.default_rng(0), torch.Generator())
    assert blood.shares.shape == (0, *head.shape)
    assert blood.anatomy is head


def test_a_map_without_deep_structures_serves(head):
    labels = head.labels.clone()
    deep = L.is_in(labels, L.DEEP_GREY)
    labels[deep & (torch.arange(labels.shape[0]) < 42)[:, None, None]] = L.WHITE_LEFT
    labels[L.is_in(labels, L.DEEP_GREY)] = L.WHITE_RIGHT
    plain = as_anatomy(labels)
    blood = draw(plain, find_spaces(labels), ALL, 0)
    assert (blood.shares.sum((1, 2, 3)) > 0).all()
    check_rooms(blood)


def test_a_map_without_brain_is_refused():
    with pytest.raises(InputError, match="brain"):
        find_spaces(torch.full((40, 40, 40), L.BONE, dtype=torch.int16))


def test_a_similarity_transform_is_recovered():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    points = rng.normal(size=(9, 3)) * 30
    matrix, shift = similarity(points, points @ (1.3 * turn).T + (4, -7, 11))
    assert np.allclose(matrix, 1.3 * turn)
    assert np.allclose(shift, (4, -7, 11))


# --- real people


def real_map(number: int) -> Path:
    """A label map of a real person, or skip."""
    folder = os.environ.get("HEADCT_REAL_DATA")
    if not folder or not (Path(folder) / "anatomy").is_dir():
        pytest.skip("HEADCT_REAL_DATA names no folder with anatomy/, the label maps of SynthSeg")
    return Path(folder) / "anatomy" / f"training_seg_{number:02d}.nii.gz"


@pytest.mark.parametrize(
    ("number", "types"), [(5, ("sdh", "ivh")), (16, ("iph", "sah")), (9, ("edh", "sah"))]
)
def test_blood_obeys_the_anatomy_of_real_people(number, types):
    labels = read_map(real_map(number)).labels
    used = labels.nonzero()
    low, high = used.amin(0).tolist(), (used.amax(0) + 1).tolist()
    person = as_anatomy(labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].contiguous())
    measured = find_spaces(person.labels)
    blood = draw(person, measured, types, number)
    for name, share in zip(types, blood.shares, strict=True):
        assert float(share.sum()) / 1000 == pytest.approx(blood.truth["asked_ml"][name], rel=0.03)
    check_rooms(blood)
    assert float(blood.shares.sum(0).max()) <= 1 + 1e-5
    if blood.displacement is not None:
        assert float(jacobian(blood.displacement, COARSE).min()) > 0
