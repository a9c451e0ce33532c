"""Is one run better than another? Paired tests on two per-case tables, corrected for their number."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.core.tables import Row, write_csv

COMPARED = ("dice", "iou", "precision", "recall")
DECIMALS = 12  # of a difference: more are of rounding, and would rank 0.3 - 0.2 before 0.2 - 0.1


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values for a family of tests, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def paired_tests(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Paired t-test (the papers') and Wilcoxon signed-rank test, two-sided, of second - first.

    Rules: runs that agree in every case have p = 1. Differences that are equal to 12 decimals are: they tie.
    Two infinite distances of the same case do not differ. A t-test needs finite differences: with an infinite
    one its p is None and Wilcoxon, which ranks, decides; with infinite ones of both signs there is no mean.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise InputError(f"paired tests: expected at least two pairs, found {a.shape} and {b.shape}")
    with np.errstate(invalid="ignore"):
        difference = np.where(a == b, 0.0, np.round(b - a, DECIMALS))
        mean = float(difference.mean())
    t = p_t = None
    if not difference.any():
        t, p_t, w, p_w = 0.0, 1.0, 0.0, 1.0
    else:
        w, p_w = map(float, stats.wilcoxon(difference))
        if np.isfinite(difference).all():
            with warnings.catch_warnings():  # equal differences everywhere: sd 0, t infinite, p 0
                warnings.simplefilter("ignore", RuntimeWarning)
                t, p_t = map(float, stats.ttest_1samp(difference, 0))
    return {
        "n": len(a),
        "mean_first": float(a.mean()),
        "mean_second": float(b.mean()),
        "mean_difference": None if math.isnan(mean) else mean,
        "t": t,
        "p_t": p_t,
        "w": w,
        "p_wilcoxon": p_w,
    }


def compare_runs(
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str] = COMPARED,
    allow_missing: bool = False,
) -> list[dict[str, Any]]:
    """Compare two runs on the same cases.

    Args:
        first, second: per-case tables (`tools.core.tables.read_csv`); cases are paired by their name.
        columns: metrics to compare; they are the family of Holm's correction, separately for each kind of
            test.
        allow_missing: compare the cases that both tables have, instead of raising.

    Returns:
        one row per column: `paired_tests` and the corrected `p_t_holm`, `p_wilcoxon_holm`.

    Raises:
        InputError: if a case is in one table only, or a compared cell is empty.
    """
    a, b = _by_case(first), _by_case(second)
    alone = sorted(set(a) ^ set(b))
    if alone and not allow_missing:
        raise InputError(
            f"compare: expected the same cases in both tables, found {len(alone)} in one only: {alone[:5]}"
        )
    cases = sorted(set(a) & set(b))
    rows = []
    for column in columns:
        pairs = [(a[case].get(column), b[case].get(column)) for case in cases]
        for case, pair in zip(cases, pairs, strict=True):
            if any(not isinstance(v, (int, float)) or math.isnan(v) for v in pair):
                raise InputError(
                    f"compare: case {case}: expected a number in column '{column}', found {pair}"
                )
        rows.append(
            {"metric": column, **paired_tests(*zip(*pairs, strict=True))}
            if len(pairs) > 1
            else _too_few(pairs)
        )
    for key in ("p_t", "p_wilcoxon"):
        known = [row for row in rows if row[key] is not None]
        for row, p in zip(known, holm([row[key] for row in known]), strict=True):
            row[f"{key}_holm"] = p
    return rows


def compare_files(
    first: str | Path,
    second: str | Path,
    columns: Sequence[str] = COMPARED,
    allow_missing: bool = False,
    out: str | Path | None = None,
) -> list[dict[str, Any]]:
    """`compare_runs` on two `per_case.csv` files; `out` writes the result as CSV."""
    rows = compare_runs(read_csv(first), read_csv(second), columns, allow_missing)
    if out is not None:
        write_csv(out, rows)
    return rows


def _too_few(pairs: Sequence[Any]) -> dict[str, Any]:
    raise InputError(f"compare: expected at least two cases in both tables, found {len(pairs)}")


def _by_case(rows: Sequence[Row]) -> dict[str, Row]:
    table = {str(row["case"]): row for row in rows}
    if len(table) != len(rows):
        raise InputError(f"compare: expected each case once, found {len(rows)} rows of {len(table)} cases")
    return table
