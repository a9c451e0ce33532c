"""Heads from label maps: cases, determinism, truth."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.phantom import CLASSES, HeadPhantom, PhantomStream, write_phantoms
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.maps import list_maps, read_map
from tools.phantom.anatomy.person import make_person
from tools.phantom.anatomy.prepare import PreparedMap, prepare
from tools.phantom.anatomy.render import SliceSampler
from tools.phantom.anatomy.scalp import add_scalp_hematoma
from tools.phantom.anatomy.traits import draw_tissue, draw_traits
from tools.phantom.geometry import Pose, scan_affine

sys.path.insert(0, str(Path(__file__).parent))
from label_map import small_head, write_map

SMALL = {"shape": (64, 64, 20), "spacing": (2.4, 2.4, 6.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with one small map."""
    path = tmp_path_factory.mktemp("maps")
    write_map(path / "a.nii.gz", small_head(0.6))
    return path


@pytest.fixture(scope="module")
def prepared(folder) -> PreparedMap:
    """That map, prepared."""
    return prepare(read_map(list_maps(folder)[0]))


def person(prepared: PreparedMap, seed: int) -> Anatomy:
    """A person of the map."""
    return make_person(prepared, np.random.default_rng(seed), torch.Generator().manual_seed(seed))


def test_the_same_seed_gives_the_same_case_and_another_index_another(folder):
    def head(index):
        return HeadPhantom(3, index, kind="iph", anatomy=folder, per_person=2, **SMALL).render()

    first, again, other = head(0), head(0), head(1)
    assert torch.equal(first.image.as_tensor(), again.image.as_tensor())
    assert first.truth == again.truth
    assert not torch.equal(first.image.as_tensor(), other.image.as_tensor())
    assert first.truth["person"] == other.truth["person"] == 0


def test_truth_counts_the_masks(folder):
    case = HeadPhantom(3, 1, kind="iph+sdh", anatomy=folder, noise=False, **SMALL).render()
    classes = case.classes.as_tensor()[0].numpy()
    ml = np.prod(SMALL["spacing"]) / 1000
    for name, value in CLASSES.items():
        assert case.truth["volume_ml"][name] == pytest.approx((classes == value).sum() * ml)
    assert case.truth["brain_ml"] == pytest.approx(float(case.brain.sum()) * ml)
    brain = case.brain.as_tensor()[0].bool() & (case.classes.as_tensor()[0] == 0)
    assert 280 < case.truth["brain_ml"] < 500
    assert 25 < float(case.image.as_tensor()[0][brain].median()) < 42


@pytest.mark.parametrize(
    ("shape", "spacing", "tilt"),
    [((64, 64, 20), (2.4, 2.4, 6.0), 0.0), ((70, 66, 60), (2.0, 2.2, 2.0), 15.0)],
)
def test_blood_is_neither_lost_nor_made_on_the_way_to_the_scan(folder, shape, spacing, tilt):
    case = HeadPhantom(
        7, 0, shape, spacing, "iph+ivh", tilt=tilt, pose=Pose(yaw=9.0, roll=4.0, pitch=-6.0), noise=False,
        anatomy=folder,
    ).render()  # fmt: skip
    for name, asked in case.truth["asked_ml"].items():
        assert case.truth["exact_ml"][name] == pytest.approx(asked, rel=0.03), name


def test_shares_are_averaged_over_the_voxels():
    # A ball whose volume and place are known, sampled through slices that are thick, turned and sheared.
    n, radius, center = 61, 17.0, np.array([4.0, -6.0, 3.0])
    axis = torch.arange(n, dtype=torch.float32) - 30
    far = sum(
        ((axis - float(c)) ** 2).view(s)
        for c, s in zip(center, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    ball = (radius - far.sqrt() + 0.5).clamp(0, 1)
    affine = np.eye(4)
    affine[:3, 3] = -30
    tissue = draw_tissue(np.random.default_rng(0), 0.0)
    anatomy = Anatomy(torch.zeros((n,) * 3, dtype=torch.int16), ball, ball, ball, affine, 40.0, tissue)
    pose = Pose(yaw=20.0, roll=-8.0, pitch=12.0, shift=(3.0, 1.0, -2.0))
    shape, spacing = (64, 64, 16), (1.3, 1.1, 6.0)
    grid = scan_affine(shape, spacing, 10.0)
    found = SliceSampler(anatomy, pose, grid, shape, spacing[2])(ball)
    # Volume, the shear of a tilted gantry included.
    voxel = abs(np.linalg.det(grid[:3, :3]))
    assert float(found.sum()) * voxel == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)
    index = np.argwhere(found.numpy() >= 0)
    weight = found.numpy().ravel()
    middle = (index * weight[:, None]).sum(0) / weight.sum()
    assert np.allclose((grid @ (*middle, 1))[:3], (pose.matrix @ (*center, 1))[:3], atol=0.1)


def test_persons_of_a_map_differ_and_nothing_folds(prepared):
    people = [person(prepared, seed) for seed in range(3)]
    for anatomy in people:
        assert anatomy.truth["smallest_jacobian"] > 0
        assert anatomy.labels.shape == anatomy.hu.shape == anatomy.depth.shape == anatomy.side.shape
        assert anatomy.labels.dtype == torch.int16
        # Left stays left, mirrored or not.
        left, right = (anatomy.labels == n for n in (L.CORTEX_LEFT, L.CORTEX_RIGHT))
        x = anatomy.points()[0].expand(anatomy.shape)
        assert x[left].mean() < -10 < 10 < x[right].mean()
        assert anatomy.side[left].mean() < -10 < 10 < anatomy.side[right].mean()
    assert len({tuple(anatomy.tissue.__dict__.values()) for anatomy in people}) == 3
    assert torch.equal(person(prepared, 2).hu, people[2].hu)


def test_tissues_have_their_hu(prepared):
    anatomy = person(prepared, 1)
    t = anatomy.tissue
    core = anatomy.depth > 4
    for numbers, low, high in (
        (L.WHITE, t.white - 6, t.white + 2),
        ((L.LATERAL_LEFT, L.LATERAL_RIGHT), t.csf - 2, t.csf + 6),
        ((L.BONE,), 500, 1800),
    ):
        where = L.is_in(anatomy.labels, numbers) & (
            core if L.BONE not in numbers and L.FAT not in numbers else True
        )
        assert low < float(anatomy.hu[where].median()) < high, numbers
    assert float(anatomy.hu[anatomy.labels == L.AIR].median()) == -1000
    # Fat is a thin layer here: half of it shares its voxels with skin and bone.
    assert -115 < float(anatomy.hu[anatomy.labels == L.FAT].quantile(0.2)) < -60


def test_a_hematoma_of_the_scalp_lies_outside_the_skull_and_lifts_the_skin(prepared):
    head = person(prepared, 4)
    before, labels = head.hu.clone(), head.labels.clone()
    assert add_scalp_hematoma(head, np.random.default_rng(2), torch.zeros_like(before), 1.0)
    changed = (head.hu - before).abs() > 1
    assert changed.any()
    assert not (changed & ((head.depth > -3) | L.is_in(labels, L.SKULL))).any()
    lifted = (labels == L.AIR) & (head.labels != L.AIR)
    assert lifted.sum() > 200  # mm3
    filled = changed & (head.labels == L.MUSCLE)
    assert 36 < float(head.hu[filled].median()) < 76


def test_age_moves_the_borders_of_fluid(prepared, monkeypatch):
    def fluid(sulci, ventricles):
        drawn = dataclasses.replace(draw_traits(np.random.default_rng(4)), sulci=sulci, ventricles=ventricles)
        drawn = dataclasses.replace(drawn, warp=0.0, size=(1.0, 1.0, 1.0))
        monkeypatch.setattr("tools.phantom.anatomy.person.draw_traits", lambda *_: drawn)
        labels = person(prepared, 4).labels
        return int((labels == L.CSF).sum()), int(L.is_in(labels, L.VENTRICLES).sum())

    young, old = fluid(0.8, -1.0), fluid(0.4, 3.0)
    assert old[0] > 1.2 * young[0]
    assert old[1] > 1.3 * young[1]
    middle = fluid(0.6, 1.0)
    assert young[0] < middle[0] < old[0]
    assert young[1] < middle[1] < old[1]


def test_a_stream_makes_the_cases_that_a_head_makes(folder):
    options = {"kind": "any", "anatomy": folder, "per_person": 2, **SMALL}
    stream = iter(PhantomStream(seed=5, **options))
    for index in range(2):
        item, case = next(stream), HeadPhantom(5, index, **options).render()
        assert torch.equal(item["image"].as_tensor(), case.image.as_tensor())


def test_a_data_set_names_its_maps_and_is_kept(folder, tmp_path):
    options = {"cases": 2, "kind": "iph", "per_person": 2, **SMALL}
    path = write_phantoms(tmp_path, anatomy=folder, maps="a", **options)
    first = tmp_path / "images" / "case_000.nii.gz"
    made = first.stat().st_mtime_ns
    truth = json.loads((tmp_path / "truth" / "case_001.json").read_text())
    assert truth["parameters"]["maps"] == ["a"]
    assert truth["map"] == "a"
    assert len(json.loads(path.read_text())["training"]) == 2
    write_phantoms(tmp_path, anatomy=folder, **options)
    assert first.stat().st_mtime_ns == made
    write_phantoms(tmp_path, anatomy=folder, **(options | {"cases": 1, "per_person": 1}))
    assert first.stat().st_mtime_ns != made
