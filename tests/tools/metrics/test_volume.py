"""Volumes, ABC/2, Bland-Altman and paired tests."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from headct.scores.compare import compare_files, compare_runs, holm, paired_tests
from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.core.tables import write_csv, write_json
from tools.metrics import abc_half_ml, abc_half_total_ml, bland_altman, volume_ml
from tools.report.plots import plot_bland_altman

INF = float("inf")


def test_volumes(device: torch.device) -> None:
    labels = torch.zeros(1, 1, 5, 4, 3, dtype=torch.int16, device=device)
    labels[0, 0, :2] = 2
    assert volume_ml(labels == 2, (0.5, 0.5, 4)).tolist() == [[24 * 1 / 1000]]


class TestAbcHalf:
    def test_rectangle_by_hand(self) -> None:
        # 4 x 3 mm on each slice: A = 5, the chord at right angles through (3, 0) is 1.35 + 2.4 long
        mask = np.zeros((12, 12, 6), bool)
        mask[2:10, 3:9, 1:4] = True
        assert abc_half_ml(mask, (0.5, 0.5, 5)) == pytest.approx(5 * 3.75 * (3 * 5) / 2 / 1000)

    def test_weights_of_the_slices(self) -> None:
        mask = np.zeros((10, 10, 6), bool)
        for k, columns in enumerate((0, 8, 6, 2, 1)):  # shares 0, 1, 0.75, 0.25, 0.125
            mask[:8, :columns, k] = True
        a, b = 8 * math.sqrt(2), 8 * math.sqrt(2)  # the diagonals of a square
        assert abc_half_ml(mask, (1, 1, 10)) == pytest.approx(a * b * (1 + 1 + 0.5) * 10 / 2 / 1000)

    def test_one_voxel_and_empty(self) -> None:
        mask = np.zeros((3, 3, 3), bool)
        assert abc_half_ml(mask, (1, 1, 1)) == 0
        assert abc_half_total_ml(mask, (1, 1, 1)) == 0
        mask[1, 1, 1] = True
        assert abc_half_ml(mask, (1, 1, 1)) == pytest.approx(math.sqrt(2) * math.sqrt(2) / 2 / 1000)

    @pytest.mark.parametrize("axes", [(20, 12, 9), (15, 15, 15), (9, 20, 12)])
    def test_ellipsoid(self, axes: tuple[int, ...]) -> None:
        grid = np.indices((90, 90, 60)) - np.array([45, 45, 30]).reshape(3, 1, 1, 1)
        spacing = np.array([0.5, 0.5, 0.5])
        mask = (((grid * spacing.reshape(3, 1, 1, 1)) / np.array(axes).reshape(3, 1, 1, 1)) ** 2).sum(0) <= 1
        # slices from 75 % of the area on count whole, from 25 % half: sqrt(1/4) and sqrt(3/4) of the height
        c = 2 * axes[2] * (0.5 * math.sqrt(1 - 0.75) + 0.5 * math.sqrt(1 - 0.25))
        expected = (2 * axes[0]) * (2 * axes[1]) * c / 2 / 1000
        assert abc_half_ml(mask, spacing) == pytest.approx(expected, rel=0.06)

    @pytest.mark.parametrize("angle", [0.2, 0.7, 1.3])
    def test_turned_in_the_slice_it_stays_the_same(self, angle: float) -> None:
        x, y = np.indices((120, 120)) - 60
        u, v = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
        mask = ((u / 50) ** 2 + (v / 20) ** 2 <= 1)[..., None]
        # from edge to edge a diameter is up to a pixel's diagonal longer than between centres
        longest = (100 + math.sqrt(2)) * (40 + math.sqrt(2))
        assert 99 * 39 <= abc_half_ml(mask, (1, 1, 1)) * 2 * 1000 <= longest

    def test_perpendicular_diameter_equals_brute_force(self) -> None:
        mask = np.random.default_rng(4).random((7, 6, 1)) < 0.3
        spacing = (1.0, 1.7, 1.0)
        points = [
            ((i + di) * spacing[0], (j + dj) * spacing[1])
            for i, j in np.argwhere(mask[..., 0])
            for di, dj in itertools.product((0, 1), repeat=2)
        ]
        p, q = max(itertools.combinations(points, 2), key=lambda pair: math.dist(*pair))
        a = math.dist(p, q)
        along = np.array([(q[0] - p[0]) / a, (q[1] - p[1]) / a])
        across = np.array([-along[1], along[0]])
        # width of the convex outline at many places along A, from the lines between all pairs of points
        local = np.array([((np.array(x) - p) @ along, (np.array(x) - p) @ across) for x in points])
        widths = []
        for s in np.unique(local[:, 0]):
            heights = [
                h0 + (h1 - h0) * (s - s0) / (s1 - s0)
                for (s0, h0), (s1, h1) in itertools.permutations(local.tolist(), 2)
                if s0 <= s <= s1 and s1 > s0
            ]
            widths.append(max(heights) - min(heights))
        assert abc_half_ml(mask, spacing) == pytest.approx(a * max(widths) * 1 / 2 / 1000)

    def test_total_is_the_sum_of_the_hematomas(self) -> None:
        mask = np.zeros((20, 10, 4), bool)
        mask[1:5, 1:4, 0:2] = mask[10:16, 2:9, 1:4] = True
        parts = [mask.copy(), mask.copy()]
        parts[0][8:] = parts[1][:8] = False
        total = abc_half_total_ml(torch.as_tensor(mask), (0.5, 0.5, 5))
        assert total == pytest.approx(sum(abc_half_ml(part, (0.5, 0.5, 5)) for part in parts))


class TestBlandAltman:
    def test_hand_computed(self) -> None:
        result = bland_altman([11, 18, 33, 0], [10, 20, 30, 0])  # differences 1, -2, 3, 0; all within 10 %
        assert result["bias_ml"] == 0.5
        sd = math.sqrt((0.5**2 + 2.5**2 + 2.5**2 + 0.5**2) / 3)
        assert result["sd_ml"] == pytest.approx(sd)
        assert result["lower_limit_ml"] == pytest.approx(0.5 - 1.96 * sd)
        assert result["upper_limit_ml"] == pytest.approx(0.5 + 1.96 * sd)
        assert result["within_10_percent"] == 1

    def test_ten_percent(self) -> None:
        assert bland_altman([1.1, 1.11, 0.9, 0.1], [1, 1, 1, 0])["within_10_percent"] == 0.5

    def test_one_case_and_wrong_input(self) -> None:
        assert bland_altman([2], [1])["sd_ml"] is None
        for wrong in (([1], [1, 2]), ([], [])):
            with pytest.raises(InputError, match="Bland-Altman"):
                bland_altman(*wrong)

    def test_plot(self, tmp_path: Path) -> None:
        for n in (1, 5):
            path = plot_bland_altman([1.0] * n, list(range(n)), tmp_path / f"{n}.png")
            assert path.read_bytes().startswith(b"\x89PNG")


class TestCompare:
    def test_holm_by_its_definition(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.5, 0.6]) == [1, 1]
        assert holm([]) == []
        rng = np.random.default_rng(0)
        for _ in range(20):
            p = rng.random(6).round(1)  # with ties
            rank = sorted(range(6), key=lambda i: p[i])
            for i, corrected in enumerate(holm(p)):
                steps = [(6 - r) * p[j] for r, j in enumerate(rank) if r <= rank.index(i)]
                assert corrected == pytest.approx(min(1, max(steps)))

    def test_t_by_hand_and_wilcoxon_by_enumeration(self) -> None:
        first, second = [0.5, 0.6, 0.7, 0.8, 0.65], [0.6, 0.65, 0.9, 0.78, 0.95]
        result = paired_tests(first, second)
        difference = np.array(second) - np.array(first)
        t = difference.mean() / (difference.std(ddof=1) / math.sqrt(5))
        assert result["t"] == pytest.approx(t)
        # two-sided p of Student's t with 4 degrees of freedom has a closed form
        x = t / math.sqrt(4 + t * t)
        assert result["p_t"] == pytest.approx(1 - (1.5 * x - 0.5 * x**3))
        ranks = np.argsort(np.argsort(np.abs(difference))) + 1
        plus = ranks[difference > 0].sum()
        sums = [
            sum(r for r, s in zip(ranks, signs, strict=True) if s)
            for signs in itertools.product((0, 1), repeat=5)
        ]
        tail = min(sum(s <= plus for s in sums), sum(s >= plus for s in sums)) / len(sums)
        assert result["p_wilcoxon"] == pytest.approx(min(1, 2 * tail))

    def test_equal_runs_and_infinite_distances(self) -> None:
        same = paired_tests([0.1, INF, 0.3], [0.1, INF, 0.3])
        assert (same["p_t"], same["p_wilcoxon"]) == (1, 1)
        result = paired_tests([1.0, 2.0, 3.0, INF], [0.9, 1.7, 2.5, 4.0])
        assert result["p_t"] is None  # no t-test with an infinite difference
        assert result["p_wilcoxon"] == pytest.approx(2 / 16)  # all four lower
        constant = paired_tests([0.25, 0.5], [0.5, 0.75])
        assert constant["p_t"] == 0
        opposite = paired_tests([1.0, INF, 2.0], [INF, 1.0, 3.0])
        assert (opposite["mean_difference"], opposite["p_t"]) == (None, None)

    def test_ties_of_decimals_are_those_of_whole_numbers(self) -> None:
        first, second = [9, 5, 7, 6, 1, 8, 6], [5, 8, 10, 3, 4, 8, 2]
        tenths, whole = (paired_tests(*(np.array(x) / n for x in (first, second))) for n in (10, 1))
        assert tenths["p_wilcoxon"] == whole["p_wilcoxon"]  # 0.53, not 0.88
        assert tenths["p_t"] == pytest.approx(whole["p_t"])

    def test_tables(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(2)
        rows = [
            {"case": f"{i:03d}", "dice": float(d), "iou": float(d) / 2} for i, d in enumerate(rng.random(8))
        ]
        better = [{**row, "dice": row["dice"] + 0.1 + 0.01 * i} for i, row in enumerate(rows)]
        write_csv(tmp_path / "a.csv", rows)
        write_csv(tmp_path / "b.csv", better[::-1])  # paired by name, not by place
        a, b = read_csv(tmp_path / "a.csv"), read_csv(tmp_path / "b.csv")
        assert a == rows  # names such as 007 stay names
        dice, iou = compare_runs(a, b, columns=("dice", "iou"))
        files = compare_files(tmp_path / "a.csv", tmp_path / "b.csv", ("dice", "iou"), out=tmp_path / "c.csv")
        assert files == [dice, iou]
        assert (tmp_path / "c.csv").read_text().startswith("metric,n,mean_first")
        assert dice["mean_difference"] == pytest.approx(0.135)
        assert dice["p_t_holm"] == pytest.approx(2 * dice["p_t"])
        assert dice["p_wilcoxon"] == 2 / 2**8
        assert (iou["p_t"], iou["p_t_holm"]) == (1, 1)

    def test_missing_cases_and_cells_raise(self) -> None:
        rows = [{"case": c, "dice": 0.5} for c in "abc"]
        with pytest.raises(InputError, match=r"1 in one only: \['c'\]"):
            compare_runs(rows, rows[:2], columns=["dice"])
        assert compare_runs(rows, rows[:2], columns=["dice"], allow_missing=True)[0]["n"] == 2
        with pytest.raises(InputError, match=r"case b: .*'dice'"):
            compare_runs(rows, [rows[0], {"case": "b", "dice": None}, rows[2]], columns=["dice"])
        with pytest.raises(InputError, match=r"case b: .*'dice', found \(0.5, nan\)"):
            compare_runs(rows, [rows[0], {"case": "b", "dice": math.nan}, rows[2]], columns=["dice"])
        with pytest.raises(InputError, match="each case once"):
            compare_runs(rows + rows[:1], rows, columns=["dice"])
        with pytest.raises(InputError, match="at least two"):
            compare_runs(rows[:1], rows[:1], columns=["dice"])


def test_tables_keep_infinities_and_reject_other_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"case": "1", "hd": INF, "n": 3, "hit": None}])
    assert read_csv(tmp_path / "t.csv") == [{"case": "1", "hd": INF, "n": 3, "hit": None}]
    write_json(tmp_path / "t.json", {"hd": INF, "x": [1.5, None]})
    assert '"hd": "inf"' in (tmp_path / "t.json").read_text()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv: .*'case'"):
        read_csv(tmp_path / "other.csv")
    with pytest.raises(InputError, match=r"none\.csv"):
        read_csv(tmp_path / "none.csv")
