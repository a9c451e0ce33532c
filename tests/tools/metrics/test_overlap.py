"""Overlap and location: hand-computed cases, empty sides, agreement with MONAI, batch split."""

from __future__ import annotations

import pytest
import torch
from monai.metrics import compute_dice, compute_iou, get_confusion_matrix

from tools.core.errors import InputError
from tools.metrics import (
    ImageSpecificityMetric,
    LocationAccuracyMetric,
    compute_image_specificity,
    compute_location_accuracy,
    compute_overlap,
    compute_pooled_overlap,
)
from tools.metrics.masks import class_masks
from tools.metrics.overlap import OVERLAP_NAMES, count_true, overlap_counts

NAN = float("nan")


def mask(*pixels: tuple[int, int], device: torch.device | str = "cpu") -> torch.Tensor:
    x = torch.zeros(1, 1, 4, 4, device=device)
    for i, j in pixels:
        x[0, 0, i, j] = 1
    return x


A, B, C, D = (0, 0), (1, 2), (3, 3), (2, 0)
EVERYWHERE = [(i, j) for i in range(4) for j in range(4)]
# name, prediction, truth, (tp, fp, fn), (dice, iou, precision, recall), hit, image specificity
TABLE = [
    ("one of two found, one false", [A, C], [A, B], (1, 1, 1), (1 / 2, 1 / 3, 1 / 2, 1 / 2), 1, NAN),
    ("one of three found", [A], [A, B, C], (1, 0, 2), (2 / 4, 1 / 3, 1, 1 / 3), 1, NAN),
    ("identity", [A, B], [A, B], (2, 0, 0), (1, 1, 1, 1), 1, NAN),
    ("disjoint", [A, B], [C, D], (0, 2, 2), (0, 0, 0, 0), 0, NAN),
    ("both empty", [], [], (0, 0, 0), (1, 1, 1, 1), NAN, 1),
    ("only truth empty", [A], [], (0, 1, 0), (0, 0, 0, 0), NAN, 0),
    ("only prediction empty", [], [A], (0, 0, 1), (0, 0, 0, 0), 0, NAN),
    ("one voxel in a full prediction", EVERYWHERE, [A], (1, 15, 0), (2 / 17, 1 / 16, 1 / 16, 1), 1, NAN),
    ("both full", EVERYWHERE, EVERYWHERE, (16, 0, 0), (1, 1, 1, 1), 1, NAN),
]


@pytest.mark.parametrize(("pred", "truth", "counts", "scores", "hit", "specific"), [row[1:] for row in TABLE])
def test_hand_computed(device: torch.device, pred, truth, counts, scores, hit, specific) -> None:
    p, t = mask(*pred, device=device), mask(*truth, device=device)
    assert overlap_counts(p, t).tolist() == [[list(counts)]]
    found = compute_overlap(p, t)
    assert found["dice"].device.type == device.type
    assert [float(found[name]) for name in OVERLAP_NAMES] == pytest.approx(list(scores), abs=1e-15)
    assert float(compute_location_accuracy(p, t)) == pytest.approx(hit, nan_ok=True)
    assert float(compute_image_specificity(p, t)) == pytest.approx(specific, nan_ok=True)


def random_pair(
    shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks that agree in part; the first image is empty on both sides, the second in its truth."""
    generator = torch.Generator().manual_seed(5)
    truth = torch.rand(shape, generator=generator) < 0.2
    pred = truth ^ (torch.rand(shape, generator=generator) < 0.1)
    pred[0] = truth[0] = truth[1] = False
    return pred.to(device), truth.to(device)


@pytest.mark.parametrize("shape", [(5, 2, 31, 33), (4, 3, 20, 17, 9)])
def test_agrees_with_monai(device: torch.device, shape: tuple[int, ...]) -> None:
    pred, truth = random_pair(shape, device)
    scores = compute_overlap(pred, truth)
    p, t = pred.float(), truth.float()
    torch.testing.assert_close(scores["dice"].float(), compute_dice(p, t, ignore_empty=False))
    torch.testing.assert_close(scores["iou"].float(), compute_iou(p, t, ignore_empty=False))
    confusion = get_confusion_matrix(p, t)  # tp, fp, tn, fn
    assert torch.equal(overlap_counts(pred, truth).float(), confusion[..., [0, 1, 3]])


def test_dtype_does_not_matter(device: torch.device) -> None:
    pred, truth = random_pair((3, 1, 40, 40), device)
    counts = overlap_counts(pred, truth)
    for dtype in (torch.uint8, torch.int64, torch.float16, torch.float64):
        assert torch.equal(overlap_counts(pred.to(dtype), truth.to(dtype) * 5), counts)


@pytest.mark.parametrize("n", [0, 1, 7, 1023, 1024, 1025, 5000, 1 << 20])
def test_packed_count_is_exact(device: torch.device, n: int) -> None:
    full = torch.ones(2, n, dtype=torch.bool, device=device)  # the largest sum that a byte has to hold
    full[1, ::3] = False
    assert count_true(full).tolist() == [n, n - (n + 2) // 3]
    strided = torch.ones(n, 2, dtype=torch.bool, device=device).T
    assert count_true(strided).tolist() == [n, n]
    unaligned = torch.ones(2, n + 3, dtype=torch.bool, device=device)[1:, 3:]
    assert count_true(unaligned).tolist() == [n]


def test_pooled_is_the_set_as_one_image() -> None:
    pred, truth = random_pair((6, 2, 30, 30))
    counts = overlap_counts(pred, truth)
    pooled = compute_pooled_overlap(counts)
    whole = compute_overlap(
        pred.transpose(0, 1).reshape(1, 2, -1), truth.transpose(0, 1).reshape(1, 2, -1)
    )  # the set as one long image
    for name in OVERLAP_NAMES:
        assert torch.equal(pooled[name], whole[name][0])
    torch.testing.assert_close(pooled["dice"], 2 * pooled["iou"] / (1 + pooled["iou"]))


def test_pooled_is_not_the_mean() -> None:
    """A large bleed found whole and a small one missed: half of the images, but most of the voxels."""
    pred, truth = mask(*EVERYWHERE), mask(*EVERYWHERE)
    counts = overlap_counts(torch.cat([pred, mask()]), torch.cat([truth, mask(A)]))
    assert compute_overlap(torch.cat([pred, mask()]), torch.cat([truth, mask(A)]))["dice"].mean() == 0.5
    assert compute_pooled_overlap(counts)["dice"].tolist() == [32 / 33]


def test_wrong_shapes_raise() -> None:
    with pytest.raises(InputError, match=r"\(1, 1, 4, 4\) and \(1, 1, 4, 3\)"):
        overlap_counts(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 3))
    with pytest.raises(InputError, match="batch, channel, spatial"):
        compute_overlap(torch.ones(4, 4), torch.ones(4, 4))


def test_class_masks(device: torch.device) -> None:
    labels = torch.tensor([[[[0, 1, 2, 5]]]], device=device)
    one_hot = torch.cat([labels == c for c in range(3)], dim=1)
    one_hot[:, 2, ..., 3] = True
    expected = [[[[False, True, True, True]], [[False, True, False, False]], [[False] * 4]]]
    assert class_masks(labels, [1, 4]).tolist() == expected
    assert class_masks(one_hot, [1, 4]).tolist() == expected  # class 4 has no channel: absent


class TestLocationMetric:
    @pytest.mark.parametrize("sizes", [[9], [1] * 9, [4, 5], [2, 3, 4]])
    def test_batch_split(self, device: torch.device, sizes: list[int]) -> None:
        pred = torch.cat([mask(*row[1], device=device) for row in TABLE])
        truth = torch.cat([mask(*row[2], device=device) for row in TABLE])
        accuracy = LocationAccuracyMetric(get_not_nans=True)
        specificity = ImageSpecificityMetric(get_not_nans=True)
        for p, t in zip(pred.split(sizes), truth.split(sizes), strict=True):
            accuracy(p, t)
            specificity(list(p), list(t))  # MONAI's other form: lists of channel-first tensors
        assert [float(x) for x in accuracy.aggregate()] == [pytest.approx(5 / 7), 7]
        assert [float(x) for x in specificity.aggregate()] == [0.5, 2]
        assert accuracy.get_buffer().shape == (9, 1)
        accuracy.reset()
        with pytest.raises(ValueError, match="at least one batch"):
            accuracy.aggregate()

    def test_classes_and_reductions(self) -> None:
        truth = class_masks(torch.tensor([[[[1, 2, 0]]], [[[1, 0, 0]]]]), [1, 2])
        pred = class_masks(torch.tensor([[[[1, 0, 0]]], [[[0, 1, 0]]]]), [1, 2])
        metric = LocationAccuracyMetric(include_background=False, reduction="mean_batch", get_not_nans=True)
        metric(pred, truth)
        value, n = metric.aggregate()
        assert value.tolist() == [0.5, 0]  # class 1: hit and missed; class 2: present once, missed
        assert n.tolist() == [2, 1]
        raw = metric.aggregate(reduction="none")[0]
        assert raw[0].tolist() == [1, 0]
        assert raw[1].isnan().tolist() == [False, True]
