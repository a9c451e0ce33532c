"""Precision-recall, slices and lesions, each against a direct count."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.core.errors import InputError
from tools.metrics import (
    lesion_scores,
    lesion_summary,
    match_lesions,
)
from tools.metrics.lesion import best_assignment
from tools.metrics.pr_curve import pr_counts, pr_curve
from tools.metrics.slice_detection import slice_detection_counts, slice_detection_table
from tools.report.plots import plot_pr_curve


def probabilities(device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(6, 1, 9, 8, 5, generator=generator) < 0.1
    prob = (0.35 * torch.rand(truth.shape, generator=generator) + 0.3 * truth).clamp(0, 1)
    prob[0, 0, 0, 0, :3] = torch.tensor([0.0, 1.0, 0.5])
    truth[5] = False
    return prob.to(device), truth.to(device)


class TestPrecisionRecall:
    def test_hand_computed(self) -> None:
        prob = torch.tensor([0.1, 0.4, 0.35, 0.8]).reshape(1, 1, 4)
        truth = torch.tensor([0, 0, 1, 1]).reshape(1, 1, 4)
        curve = pr_curve(pr_counts(prob, truth))
        # from the top: 0.8 is lesion (P 1, R 1/2), 0.4 is not (P 1/2), 0.35 is (P 2/3, R 1), 0.1 is not
        assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
        assert curve.area == pytest.approx(0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2)
        assert (curve.recall[0], curve.recall[-1], curve.precision[-1]) == (1, 0, 1)

    def test_every_threshold_is_exact(self, device: torch.device) -> None:
        prob, truth = probabilities(device)
        curve = pr_curve(pr_counts(prob, truth, bins=64))
        for k in range(65):
            called = prob >= k / 64
            tp = int((called & truth).sum())
            assert float(curve.recall[k]) == tp / int(truth.sum())
            assert float(curve.precision[k]) == (tp / int(called.sum()) if called.any() else 1)

    @pytest.mark.parametrize("size", [1, 2, 4, 6])
    def test_batch_split_and_fixed_memory(self, device: torch.device, size: int) -> None:
        prob, truth = probabilities(device)
        parts = zip(prob.split(size), truth.split(size), strict=True)
        counts = torch.stack([pr_counts(p, t) for p, t in parts]).sum(0)
        assert torch.equal(counts, pr_counts(prob, truth))
        assert counts.shape == (2, 1026)

    def test_perfect_and_worthless(self) -> None:
        truth = torch.tensor([0, 1, 0, 1]).reshape(1, 1, 4)
        assert pr_curve(pr_counts(truth.float(), truth)).average_precision == 1
        assert pr_curve(pr_counts(torch.full((1, 1, 4), 0.5), truth)).average_precision == 0.5

    def test_no_lesion_and_no_probability_raise(self) -> None:
        prob = torch.tensor([0.2, 0.7]).reshape(1, 1, 2)
        with pytest.raises(InputError, match="no lesion voxel"):
            pr_curve(pr_counts(prob, torch.zeros(1, 1, 2)))
        for wrong in (float("nan"), -0.1, 1.1, float("inf")):
            counts = pr_counts(torch.tensor([0.2, wrong]).reshape(1, 1, 2), torch.ones(1, 1, 2))
            with pytest.raises(InputError, match="found 1 voxels"):
                pr_curve(counts)
        with pytest.raises(InputError, match="power of two"):
            pr_counts(prob, prob, bins=100)

    def test_plot(self, tmp_path: Path) -> None:
        path = plot_pr_curve(pr_curve(pr_counts(*probabilities())), tmp_path / "pr.png")
        assert path.read_bytes().startswith(b"\x89PNG")


class TestSlices:
    def test_hand_computed(self, device: torch.device) -> None:
        prob, truth = (torch.zeros(1, 1, 2, 2, 4, device=device) for _ in range(2))
        prob[0, 0, 0, 0] = torch.tensor([0.95, 0.6, 0.7, 0.2])  # largest of each slice
        truth[0, 0, 1, 1] = torch.tensor([1.0, 0, 1, 0])
        table = slice_detection_table(slice_detection_counts(prob, truth)[0])
        counts = [[row[k] for k in ("tp", "fp", "tn", "fn")] for row in table]
        #               0.5           0.6: called at it  0.7           0.8           0.9
        assert counts == [[2, 1, 1, 0], [2, 1, 1, 0], [2, 0, 2, 0], [1, 0, 2, 1], [1, 0, 2, 1]]
        assert [row["accuracy"] for row in table] == [0.75, 0.75, 1, 0.75, 0.75]
        assert (table[3]["sensitivity"], table[3]["specificity"]) == (0.5, 1)

    def test_direct_count_along_every_axis(self, device: torch.device) -> None:
        prob, truth = probabilities(device)
        for axis in (2, 3, 4, -1):
            counts = slice_detection_counts(prob, truth, [0.35], axis)[:, 0]
            for b in range(len(prob)):
                along = axis if axis < 0 else axis - 1
                slices = zip(prob[b].unbind(along), truth[b].unbind(along), strict=True)
                pairs = [(bool((p >= 0.35).any()), bool(t.any())) for p, t in slices]
                expected = [
                    pairs.count(x) for x in ((True, True), (True, False), (False, False), (False, True))
                ]
                assert counts[b].tolist() == expected

    @pytest.mark.parametrize("size", [1, 4, 6])
    def test_batch_split_and_single_slices(self, size: int) -> None:
        prob, truth = probabilities()
        expected = slice_detection_table(slice_detection_counts(prob, truth).sum(0))
        volumes, images = [], []
        for p, t in zip(prob.split(size), truth.split(size), strict=True):
            volumes.append(slice_detection_counts(p, t).sum(0))
            slices = (x.movedim(-1, 1).flatten(0, 1) for x in (p, t))
            images.append(slice_detection_counts(*slices, slice_dim=None).sum(0))
        for counts in (volumes, images):
            assert slice_detection_table(torch.stack(counts).sum(0)) == expected

    def test_without_positive_or_negative_slices(self) -> None:
        prob = torch.ones(1, 1, 2, 2, 3)
        for truth, missing in (
            (torch.zeros_like(prob), "sensitivity"),
            (torch.ones_like(prob), "specificity"),
        ):
            row = slice_detection_table(slice_detection_counts(prob, truth)[0])[0]
            assert row[missing] is None
            assert row["accuracy"] == float(truth.any())


def brute_force(iou: np.ndarray) -> tuple[int, float]:
    """Most pairs, then largest sum of IoU, over all one-to-one assignments."""
    n, m = iou.shape
    best = (0, 0.0)
    for k in range(1, min(n, m) + 1):
        for rows in itertools.combinations(range(n), k):
            for columns in itertools.permutations(range(m), k):
                chosen = iou[list(rows), list(columns)]
                if (chosen > 0).all():
                    best = max(best, (k, float(chosen.sum())))
    return best


class TestLesions:
    @staticmethod
    def blocks(*blocks: tuple[int, int, int]) -> np.ndarray:
        """A 20x4x3 volume with blocks (first, last, slice) along x, two voxels wide."""
        x = np.zeros((20, 4, 3), bool)
        for low, high, k in blocks:
            x[low:high, 1:3, k] = True
        return x

    def test_hand_computed(self) -> None:
        truth = self.blocks((0, 4, 0), (6, 10, 0), (14, 16, 2))
        pred = self.blocks((0, 10, 0), (18, 20, 0))  # a bridge over two lesions, and a false one
        match = match_lesions(pred, truth, (10, 10, 10))
        assert match.truth_ml.tolist() == [8, 8, 4]
        assert sorted(match.pred_ml.tolist()) == [4, 20]
        assert match.counts == (1, 1, 2)  # the bridge finds one of its two
        assert match.iou.tolist() == [8 / 20]
        assert match_lesions(pred, truth, (10, 10, 10), min_iou=0.5).counts == (0, 2, 3)
        sheared = match_lesions(pred, truth, (10, 10, 10), voxel_ml=0.9)  # gantry tilt
        assert sheared.truth_ml.tolist() == pytest.approx([7.2, 7.2, 3.6])

    def test_split_lesion_is_found_once(self) -> None:
        match = match_lesions(self.blocks((0, 4, 0), (6, 9, 0)), self.blocks((0, 9, 0)), (1, 1, 1))
        assert match.counts == (1, 1, 0)
        assert match.iou.tolist() == [4 / 9]

    def test_diagonal_neighbours_are_one_lesion(self) -> None:
        x = np.zeros((3, 3, 3), bool)
        x[0, 0, 0] = x[1, 1, 1] = True
        assert match_lesions(x, x, (1, 1, 1)).counts == (1, 0, 0)
        assert match_lesions(x, x, (1, 1, 1), connectivity=6).counts == (2, 0, 0)

    @pytest.mark.parametrize("seed", range(30))
    def test_assignment_equals_brute_force(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        iou = rng.random(rng.integers(0, 5, 2)) * (rng.random() < 0.9)
        iou[rng.random(iou.shape) < 0.5] = 0
        pairs = best_assignment(iou)
        assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
        count, total = brute_force(iou)
        assert len(pairs) == count
        assert iou[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(total)

    @pytest.mark.parametrize("seed", [2, 7, 17, 23, 26, 28])
    def test_matching_of_volumes_equals_brute_force(self, device: torch.device, seed: int) -> None:
        rng = np.random.default_rng(seed)
        truth = rng.random((12, 11, 6)) < 0.02
        truth |= np.roll(truth, 1, 0)
        pred = (np.roll(truth, 1, 1) | np.roll(truth, 1, 0)) & (rng.random(truth.shape) < 0.7)
        truth &= rng.random(truth.shape) < 0.9
        masks = [torch.as_tensor(x, device=device) for x in (pred, truth)]
        match = match_lesions(*masks, spacing=(1, 2, 5), min_iou=0)
        components = [flood(x) for x in (truth, pred)]
        for volumes, own in zip((match.truth_ml, match.pred_ml), components, strict=True):
            assert sorted(volumes.tolist()) == pytest.approx(sorted(len(c) * 0.01 for c in own))
        iou = np.array([[len(t & p) / len(t | p) for p in components[1]] for t in components[0]])
        touching = iou[iou.any(1)][:, iou.any(0)]
        assert max(touching.shape) < 7  # small enough to try all
        assert (touching > 0).sum() > min(touching.shape)  # there is a choice
        count, total = brute_force(touching)
        assert len(match.iou) == count
        assert match.iou.sum() == pytest.approx(total)

    @pytest.mark.parametrize(
        ("pred", "truth", "counts", "scores"),
        [
            ((), (), (0, 0, 0), (1, 1, 1)),
            ([(0, 3, 0)], (), (0, 1, 0), (0, 0, 0)),
            ((), [(0, 3, 0)], (0, 0, 1), (0, 0, 0)),
            ([(0, 3, 0)], [(0, 3, 0)], (1, 0, 0), (1, 1, 1)),
            ([(0, 3, 0)], [(5, 8, 0)], (0, 1, 1), (0, 0, 0)),
        ],
    )
    def test_empty_identity_disjoint(self, pred, truth, counts, scores) -> None:
        match = match_lesions(self.blocks(*pred), self.blocks(*truth), (1, 1, 1))
        assert match.counts == counts
        assert tuple(lesion_scores(*counts).values()) == scores

    def test_summary_by_size(self) -> None:
        truth = self.blocks((0, 4, 0), (6, 10, 0), (14, 16, 2))  # 8, 8, 4 mL
        pred = self.blocks((0, 4, 0), (18, 20, 0))
        match = match_lesions(pred, truth, (10, 10, 10))
        table = {row["size"]: row for row in lesion_summary(match.rows("a"), n_scans=2, size_edges_ml=(5.0,))}
        assert list(table) == ["all", "0-5 mL", "from 5 mL"]
        assert [table["all"][k] for k in ("found", "missed", "false", "false_per_scan")] == [1, 2, 1, 0.5]
        assert table["all"]["f1"] == 2 * 1 / (2 + 1 + 2)
        assert [table["0-5 mL"][k] for k in ("found", "missed", "false")] == [0, 1, 1]
        assert [table["from 5 mL"][k] for k in ("found", "missed", "false")] == [1, 1, 0]

    def test_wrong_shape_raises(self) -> None:
        with pytest.raises(InputError, match=r"\(2, 2\) and \(2, 2\)"):
            match_lesions(np.ones((2, 2)), np.ones((2, 2)), (1, 1, 1))


def flood(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """26-connected components by flooding, as sets of voxels."""
    left = set(map(tuple, np.argwhere(mask).tolist()))
    components = []
    while left:
        stack = [left.pop()]
        component = set(stack)
        while stack:
            x, y, z = stack.pop()
            for step in itertools.product((-1, 0, 1), repeat=3):
                voxel = (x + step[0], y + step[1], z + step[2])
                if voxel in left:
                    left.remove(voxel)
                    component.add(voxel)
                    stack.append(voxel)
        components.append(component)
    return components
