"""The summary of an evaluation as a page of Markdown tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.core.markdown import number, records, table
from tools.metrics.overlap import OVERLAP_NAMES

GROUP_TITLES = {"all": "all cases", "ivh": "with IVH", "no_ivh": "without IVH"}
INTRODUCTION = """\
Mean ± sd over images. Pooled: the voxels of all images counted together, then scored once. Overlap of an
empty truth with an empty prediction is 1, of one empty side 0; no case is left out of a mean."""


def summary_markdown(summary: dict[str, Any], title: str = "Metrics") -> str:
    """Tables of overlap, detection and volume with a column for each group of cases.

    Args:
        summary: of `summarize`, with at least one group.
    """
    groups = list(summary.values())

    def line(name: str, cell: Callable[[dict[str, Any]], str]) -> list[str]:
        return [name, *(cell(group) for group in groups)]

    def share(part: str, value: str, hits: str, n: str) -> Callable[[dict[str, Any]], str]:
        return lambda g: _share(g[part][value], g[part][hits], g[part][n])

    def cell(part: str, value: str, show: Callable[[Any], str]) -> Callable[[dict[str, Any]], str]:
        return lambda g: show(g[part].get(value))

    columns = list(dict.fromkeys(c for g in groups for c in g["columns"]))
    rows = [line("cases", lambda g: str(g["n"]))]
    rows += [line(c, cell("columns", c, _mean)) for c in columns]
    rows += [line(f"{c}, cases with lesion", cell("with_lesion", c, _mean)) for c in OVERLAP_NAMES]
    rows += [line(f"{c}, pooled", cell("pooled", c, "{:.4g}".format)) for c in OVERLAP_NAMES]
    rows += [
        line("location accuracy", share("location", "accuracy", "hits", "n_with_lesion")),
        line("false alarms, images without lesion", _alarms),
        line("volume: bias and limits of agreement, mL", _limits),
        line("volume: within 10 %", lambda g: f"{g['volume']['within_10_percent']:.4g}"),
    ]
    if all("slices" in g for g in groups):
        rows += [
            line(f"slice {k}", cell("slices", k, number)) for k in ("sensitivity", "specificity", "accuracy")
        ]
    page = [f"# {title}", "", INTRODUCTION, ""]
    page += table(["", *(GROUP_TITLES.get(name, name) for name in summary)], rows)
    all_cases = groups[0]
    if "lesions" in all_cases:
        page += ["", "## Lesions by size", "", *records(all_cases["lesions"])]
    if "classes" in all_cases:
        page += ["", "## Classes, in the cases where the class is present", ""]
        page += records(
            [
                {"class": name, "cases": c["n_present"]}
                | {score: _mean(c.get(score)) for score in OVERLAP_NAMES}
                | {"dice, pooled": c["pooled"]["dice"]}
                for name, c in all_cases["classes"].items()
            ]
        )
    if "slice_detection" in all_cases:
        page += ["", "## Slices by probability threshold", "", *records(all_cases["slice_detection"])]
    if "precision_recall" in all_cases:
        page += ["", "## Precision-recall", "", *records([all_cases["precision_recall"]])]
    return "\n".join(page) + "\n"


def _mean(statistics: dict[str, Any] | None) -> str:
    if statistics is None:
        return "none"
    text = f"{statistics['mean']:.4g}"
    if statistics["sd"] is not None:
        text += f" ± {statistics['sd']:.4g}"
    if statistics.get("n_infinite"):
        text += f" ({statistics['n_infinite']} of {statistics['n']} infinite"
        finite = statistics["finite_mean"]
        text += ")" if finite is None else f", mean of the others {finite:.4g})"
    return text


def _share(value: float | None, hits: int, n: int) -> str:
    return "no such image" if value is None else f"{value:.4g} ({hits} of {n})"


def _alarms(group: dict[str, Any]) -> str:
    location = group["location"]
    if location["specificity"] is None:
        return "no such image"
    return (
        f"{location['false_alarms']} of {location['n_without_lesion']} "
        f"(specificity {location['specificity']:.4g})"
    )


def _limits(group: dict[str, Any]) -> str:
    volume = group["volume"]
    text = f"{volume['bias_ml']:.3g}"
    return (
        text
        if volume["sd_ml"] is None
        else f"{text} ({volume['lower_limit_ml']:.3g} to {volume['upper_limit_ml']:.3g})"
    )
