"""INSTANCE 2022 rules: DeepMind's surface-distance package, a brute force, hand-computed cases."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tools.core.errors import InputError
from tools.metrics import compute_surface_distances, instance2022_scores, surface

SPACINGS = [(0.42, 0.42, 5.0), (1.0, 1.0, 1.0), (0.5, 0.7, 3.3), (5.0, 0.42, 0.42)]
INF = float("inf")


def blob(seed: int, shape: tuple[int, ...] = (26, 22, 9), level: float = 0.4) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (2.5, 2.5, 1))
    return noise > level * noise.max()


def pairs() -> list[tuple[str, np.ndarray, np.ndarray]]:
    one = np.zeros((26, 22, 9), bool)
    one[25, 0, 8] = True  # in a corner of the image
    return [
        *((f"blobs {s}", blob(s), blob(s + 100)) for s in range(6)),
        ("shifted by a voxel", np.roll(blob(7), 1, 0), blob(7)),
        ("shifted by a slice", np.roll(blob(8), 1, 2), blob(8)),
        ("one voxel", one, blob(9)),
        ("full", np.ones_like(one), blob(10)),
        ("noise", np.random.default_rng(1).random(one.shape) < 0.3, blob(11)),
        ("identity", blob(12), blob(12)),
    ]


@pytest.mark.parametrize(("pred", "truth"), [p[1:] for p in pairs()], ids=[p[0] for p in pairs()])
def test_agrees_with_surface_distance_package(pred: np.ndarray, truth: np.ndarray) -> None:
    package = pytest.importorskip("surface_distance", reason="pip install surface-distance==0.1")
    for spacing in SPACINGS:
        with warnings.catch_warnings():  # scipy.ndimage's old module names
            warnings.simplefilter("ignore")
            reference = package.compute_surface_distances(truth, pred, spacing)
        ours = compute_surface_distances(pred, truth, spacing)
        for tolerance in (0, 0.42, 0.84, 1, 2, 5):
            expected = package.compute_surface_dice_at_tolerance(reference, tolerance)
            assert ours.surface_dice(tolerance) == pytest.approx(expected, abs=1e-6)
        for percentile in (50, 95, 100):
            expected = package.compute_robust_hausdorff(reference, percentile)
            assert ours.hausdorff(percentile) == pytest.approx(expected, abs=1e-6)
        scores = instance2022_scores(pred, truth, spacing)
        assert scores["nsd"] == pytest.approx(
            package.compute_surface_dice_at_tolerance(reference, 0.42), abs=1e-6
        )
        assert scores["hd95"] == pytest.approx(package.compute_robust_hausdorff(reference, 95), abs=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_distances_equal_brute_force(spacing: tuple[float, ...], device: torch.device) -> None:
    truth, pred = blob(20, (9, 8, 5)), blob(21, (9, 8, 5))
    ours = compute_surface_distances(
        torch.as_tensor(pred, device=device), torch.as_tensor(truth, device=device), spacing
    )
    corners = [np.array(list(surface_corners(x))) * spacing for x in (truth, pred)]
    gaps = np.linalg.norm(corners[0][:, None] - corners[1][None], axis=-1)
    np.testing.assert_allclose(ours.truth_to_pred, np.sort(gaps.min(1)), atol=1e-12)
    np.testing.assert_allclose(ours.pred_to_truth, np.sort(gaps.min(0)), atol=1e-12)


def surface_corners(mask: np.ndarray) -> set[tuple[int, ...]]:
    """Corners where inside and outside meet."""
    inside = set(map(tuple, np.argwhere(mask).tolist()))
    corners = set()
    for corner in itertools.product(*(range(s + 1) for s in mask.shape)):
        around = [
            tuple(c - d for c, d in zip(corner, step, strict=True)) in inside
            for step in itertools.product((0, 1), repeat=3)
        ]
        if any(around) and not all(around):
            corners.add(corner)
    return corners


def test_tree_and_distance_map_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, pred = blob(30), np.roll(blob(31), 9, 0)
    by_tree = [compute_surface_distances(pred, truth, s) for s in SPACINGS]
    monkeypatch.setattr(surface, "FAR_MM", -1.0)
    for spacing, tree in zip(SPACINGS, by_tree, strict=True):
        dense = compute_surface_distances(pred, truth, spacing)
        np.testing.assert_allclose(dense.truth_to_pred, tree.truth_to_pred, atol=1e-12)
        np.testing.assert_allclose(dense.pred_to_truth, tree.pred_to_truth, atol=1e-12)


def voxels(*places: tuple[int, int, int]) -> torch.Tensor:
    x = torch.zeros(6, 6, 4)
    for place in places:
        x[place] = 1
    return x


A, B = (1, 1, 1), (4, 5, 1)
S = 1e-5


@pytest.mark.parametrize(
    ("pred", "truth", "expected"),
    [
        # dice_smooth, rvd, nsd, hd, hd95 with voxels of 0.5 x 0.5 x 5 mm; A to B is 3 and 4 voxels: 2.5 mm
        (voxels(A), voxels(A), (1, 0, 1, 0, 0)),
        (voxels(A), voxels(B), (S / (2 + S), 0, 0, 2.5, 2.5)),
        (voxels(A, B), voxels(A), ((2 + S) / (3 + S), 1, 2 / 3, 2.5, 2.5)),
        (voxels(), voxels(), (1, 0, 1, 0, 0)),
        (voxels(A), voxels(), (S / (1 + S), INF, 0, INF, INF)),
        (voxels(), voxels(A, B), (S / (2 + S), 1, 0, INF, INF)),
    ],
    ids=["identity", "disjoint", "one false lesion", "both empty", "truth empty", "prediction empty"],
)
def test_hand_computed(device: torch.device, pred: torch.Tensor, truth: torch.Tensor, expected) -> None:
    scores = instance2022_scores(pred.to(device), truth.to(device), (0.5, 0.5, 5))
    assert tuple(scores) == ("dice_smooth", "rvd", "nsd", "hd", "hd95")
    assert list(scores.values()) == pytest.approx(list(expected), abs=1e-12)


def test_tolerance_of_one_voxel_is_within() -> None:
    # 0.42 mm voxels far from the origin: a difference of scaled positions is not exactly 0.42
    for start in range(40):
        x = torch.zeros(44, 3, 3)
        y = x.clone()
        x[start, 1, 1] = y[start + 1, 1, 1] = 1
        assert instance2022_scores(x, y, (0.42, 0.42, 5.0))["nsd"] == 1


def test_wrong_shapes_raise() -> None:
    with pytest.raises(InputError, match=r"\(2, 2, 2\), \(2, 2, 3\) and 3"):
        instance2022_scores(torch.ones(2, 2, 2), torch.ones(2, 2, 3), (1, 1, 1))
    with pytest.raises(InputError, match="and 2"):
        compute_surface_distances(torch.ones(2, 2, 2), torch.ones(2, 2, 2), (1, 1))
