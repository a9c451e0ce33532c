"""Ignite handler that scores every case of an evaluation and writes the tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor, decollate_batch
from monai.data.utils import affine_to_spacing

from tools.core.errors import InputError
from tools.core.files import write_text
from tools.core.names import case_name, slice_name
from tools.core.tables import Row, write_csv, write_json
from tools.core.tensors import plain, upright_spacing, voxel_ml
from tools.metrics.lesion import match_lesions
from tools.metrics.masks import check_pair, class_masks, is_discrete, lesion_probability
from tools.metrics.overlap import OVERLAP_NAMES, overlap_counts, overlap_scores
from tools.metrics.pr_curve import PrecisionRecallCurve, pr_counts, pr_curve
from tools.metrics.slice_detection import THRESHOLDS, slice_detection_counts, slice_detection_table
from tools.metrics.volume import abc_half_total_ml
from tools.report.page import summary_markdown
from tools.report.summary import log_values, summarize


class SegmentationReport:
    """Score every case and write tables and plots at the end of the evaluation.

    `per_case.csv`: Dice, IoU, precision, recall, mL of truth and prediction, hit or not, intraventricular
    hemorrhage or not, detected slices, lesions, ABC/2. `lesions.csv`: every lesion, its volume and whether it
    was found. `summary.json` and `summary.md`: mean, standard deviation and pooled values of all cases and
    split by IVH (Abramova 2021, tables 2 to 5), location accuracy (Li 2021), false alarms, agreement of
    volumes. `bland_altman.png`; and with `prob_key` also `precision_recall.png`, `precision_recall.csv` and
    `slice_detection.csv` (Hssayeni 2020, table 6).

    Overlap is counted on the device and fetched once at the end of the epoch; lesions and surfaces are looked
    for on the host, case by case. Several processes gather their cases and rank 0 writes: give their sampler
    `even_divisible=False`, or the cases that it repeats count twice. Put it before the TensorBoard and MLflow
    handlers, which read the values (`dice`, `dice_pooled` ...) in `engine.state.metrics`.

    Args:
        output_dir: folder for the files; None writes nothing.
        classes: name of each class value, such as {1: "edh", 2: "iph"}; adds columns `dice_edh`,
            `volume_ml_edh` ... The plain columns are of any foreground.
        lesions: look for lesions (3D components) and ABC/2.
        scores: further columns of every case, from prediction and truth, bool (X, Y, Z), and the voxel edge
            lengths in mm, such as `tools.metrics.instance2022.instance2022_scores`.
        prob_key: key of the lesion's probabilities in the output, shape (1, spatial...), or (num_classes,
            spatial...) softmax with the background first. Keep them with CopyItemsd before AsDiscreted.
        plots: write the PNG files.
        label_key: of the truth in the output; it and `pred` are discrete label maps (1, spatial...) or
            one-hot (num_classes, spatial...), background in channel 0. The entries `case` and `ivh` of the
            datalist item (`engine.state.batch`) are the case's name, else that of its file, and the IVH flag.
        by_slice: score every slice of a volume as an image of its own, named `<case>_<number>`, as 2D methods
            are (Li 2021); a volume of one slice keeps its name.
        small_mm2: area in mm2 up to which the lesion of a slice counts as small; adds the groups `large` and
            `small` to the summary (Li 2021, table I). Needs `by_slice`.
        columns: further keys of the datalist item to be kept in `per_case.csv`.
        title: heading of `summary.md`.
    """

    def __init__(
        self,
        output_dir: str | Path | None,
        classes: Mapping[int, str] | None = None,
        lesions: bool = True,
        scores: Callable[[torch.Tensor, torch.Tensor, list[float]], Row] | None = None,
        prob_key: str | None = None,
        plots: bool = True,
        label_key: str = "label",
        by_slice: bool = False,
        small_mm2: float | None = None,
        columns: Sequence[str] = (),
        title: str = "Metrics",
    ) -> None:
        if small_mm2 is not None and not by_slice:
            raise InputError(f"report: small_mm2 = {small_mm2:g} needs by_slice: areas are those of slices")
        self.output_dir = None if output_dir is None else Path(output_dir)
        # keys of a YAML or JSON mapping may arrive as strings
        self.classes = {int(value): str(name) for value, name in (classes or {}).items()}
        self.lesions, self.scores, self.prob_key, self.plots = lesions, scores, prob_key, plots
        self.label_key, self.columns, self.title = label_key, tuple(columns), title
        self.by_slice, self.small_mm2 = by_slice, small_mm2
        self._logged: set[str] = set()
        self.reset()

    def attach(self, engine: Engine) -> None:
        """Connect to an evaluator (or any engine that leaves predictions in `engine.state.output`)."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def reset(self, engine: Engine | None = None) -> None:
        """Forget all cases."""
        self.rows: list[Row] = []
        self.lesion_rows: list[Row] = []
        self.summary: dict[str, Any] = {}
        self._pending: list[tuple[Row, float, torch.Tensor]] = []
        self._lesion_rows: list[Row] = []
        self._pr: torch.Tensor | None = None
        self._slices: torch.Tensor | None = None

    def update(self, engine: Engine) -> None:
        """Count the cases of one iteration."""
        for source, output in zip(_items(engine.state.batch), _items(engine.state.output), strict=True):
            self.add({**source, **output})

    def add(self, item: Mapping[str, Any]) -> None:
        """Count one case, or each slice of it (`by_slice`).

        Args:
            item: prediction and label, channel first and without batch axis.
        """
        for key in filter(None, ("pred", self.label_key, self.prob_key)):
            if key not in item:
                raise InputError(f"report: expected '{key}' in the evaluator's output, found {sorted(item)}")
        by_slice = self.by_slice and item[self.label_key].ndim == 4
        for part in self._slices_of(item) if by_slice else [item]:
            self._add(part)

    def _add(self, item: Mapping[str, Any]) -> None:
        case = self._case(item)
        affine = _affine(case, item[self.label_key], item["pred"])
        spacing, one_ml = affine_to_spacing(affine).tolist(), voxel_ml(affine)
        pred = plain(item["pred"])
        label = plain(item[self.label_key]).to(pred.device)  # one that only the report uses is on the host
        pred_masks, masks = (class_masks(x[None], list(self.classes)) for x in (pred, label))
        check_pair(pred_masks, masks, what=f"case {case}")
        # everything of one case as one row of integers, so that the end of the epoch fetches a single tensor
        counts = overlap_counts(pred_masks, masks)[0].flatten()
        slice_dim = -1 if masks.ndim == 5 else None
        slices = slice_detection_counts(pred_masks[:, :1], masks[:, :1], [0.5], slice_dim).flatten()
        discrete = is_discrete(pred) + 2 * is_discrete(label)
        ivh = item.get("ivh")
        row: Row = {"case": case, "ivh": None if ivh is None else bool(ivh)}
        row |= {column: item.get(column) for column in self.columns}
        if self.small_mm2 is not None:
            row["pixel_mm2"] = spacing[0] * spacing[1]
        row |= self._host_scores(case, pred_masks[0, 0], masks[0, 0], affine)
        self._pending.append((row, one_ml, torch.cat([discrete[None], slices, counts])))
        if self.prob_key:
            self._add_probabilities(case, item[self.prob_key], masks[:, :1], slice_dim)

    def finish(self, engine: Engine | None = None) -> list[Row]:
        """Gather the cases of all processes, write the files (rank 0) and return the rows, sorted by case."""
        part = (self._local_rows(), self._lesion_rows, self._pr, self._slices)
        parts = _gather(part) if idist.get_world_size() > 1 else [part]
        self.rows = sorted((row for p in parts for row in p[0]), key=lambda row: row["case"])
        self.lesion_rows = sorted((row for p in parts for row in p[1]), key=lambda row: row["case"])
        if not self.rows:
            raise InputError("report: expected at least one case in the evaluation, found none")
        lesions = self.lesion_rows if self.lesions else None
        self.summary = summarize(self.rows, lesions, list(self.classes.values()))
        curve = self._summarize_probabilities([p[2] for p in parts], [p[3] for p in parts])
        if self.output_dir is not None and idist.get_rank() == 0:
            self._write(self.output_dir, curve)
        if engine is not None:
            # an engine keeps its metrics from run to run: replace our own, leave those of other handlers
            for name, value in log_values(self.summary["all"]).items():
                if name in self._logged or name not in engine.state.metrics:
                    engine.state.metrics[name] = value
                    self._logged.add(name)
        return self.rows

    def _host_scores(self, case: str, pred: torch.Tensor, truth: torch.Tensor, affine: torch.Tensor) -> Row:
        row: Row = {}
        spacing = affine_to_spacing(affine).tolist()
        if self.scores is not None:
            row |= self.scores(pred, truth, spacing)
        if self.lesions:
            if pred.ndim == 2:  # a slice is a volume of one slice
                pred, truth = pred[..., None], truth[..., None]
            pred, truth = pred.cpu(), truth.cpu()
            match = match_lesions(pred, truth, spacing, voxel_ml=voxel_ml(affine))
            found, false, missed = match.counts
            row |= {"lesions": found + missed, "lesions_found": found, "false_lesions": false}
            upright = upright_spacing(affine)
            row |= {"abc_half_ml": abc_half_total_ml(truth, upright)}
            row |= {"pred_abc_half_ml": abc_half_total_ml(pred, upright)}
            self._lesion_rows += match.rows(case)
        return row

    def _add_probabilities(self, case: str, prob: Any, truth: torch.Tensor, slice_dim: int | None) -> None:
        prob = lesion_probability(plain(prob)[None]).to(truth.device)
        check_pair(prob, truth, f"case {case}, probabilities")
        pr, slices = pr_counts(prob, truth), slice_detection_counts(prob, truth, THRESHOLDS, slice_dim)[0]
        self._pr = pr if self._pr is None else self._pr + pr
        self._slices = slices if self._slices is None else self._slices + slices

    def _summarize_probabilities(self, pr: list[Any], slices: list[Any]) -> PrecisionRecallCurve | None:
        pr, slices = ([x.cpu() for x in parts if x is not None] for parts in (pr, slices))
        if not pr:
            return None
        all_cases = self.summary["all"]
        all_cases["slice_detection"] = slice_detection_table(torch.stack(slices).sum(0))
        if all_cases["location"]["n_with_lesion"] == 0:  # no lesion in the set: there is no curve
            return None
        curve = pr_curve(torch.stack(pr).sum(0))
        all_cases["precision_recall"] = {"average_precision": curve.average_precision, "area": curve.area}
        return curve

    def _write(self, folder: Path, curve: PrecisionRecallCurve | None) -> None:
        write_csv(folder / "per_case.csv", self.rows)
        if self.lesions:
            write_csv(folder / "lesions.csv", self.lesion_rows)
        if "slice_detection" in self.summary["all"]:
            write_csv(folder / "slice_detection.csv", self.summary["all"]["slice_detection"])
        write_json(folder / "summary.json", self.summary)
        write_text(folder / "summary.md", summary_markdown(self.summary, self.title))
        if curve is not None:
            columns = {name: getattr(curve, name).tolist() for name in ("thresholds", "precision", "recall")}
            points = zip(*columns.values(), strict=True)
            write_csv(folder / "precision_recall.csv", [dict(zip(columns, p, strict=True)) for p in points])
        if self.plots:
            from tools.report.plots import plot_bland_altman, plot_pr_curve

            found, true = ([row[c] for row in self.rows] for c in ("pred_volume_ml", "volume_ml"))
            plot_bland_altman(found, true, folder / "bland_altman.png")
            if curve is not None:
                plot_pr_curve(curve, folder / "precision_recall.png")

    def _local_rows(self) -> list[Row]:
        if not self._pending:
            return []
        # the one transfer from the device
        fetched = torch.stack([counts for *_, counts in self._pending]).cpu()
        suffixes = ["", *(f"_{name}" for name in self.classes.values())]
        rows = []
        for (extra, one_ml, _), counts in zip(self._pending, fetched, strict=True):
            if counts[0] != 3:
                what = "'pred', after the postprocessing" if counts[0] == 2 else "its label"
                raise InputError(
                    f"case {extra['case']}: expected class values or one-hot masks as {what}, found fractions"
                )
            row = case_row(extra["case"], extra["ivh"], counts[5:].view(-1, 3), one_ml, suffixes)
            slices = zip(("tp", "fp", "tn", "fn"), counts[1:5].tolist(), strict=True)
            row |= {f"slice_{outcome}": count for outcome, count in slices} | extra
            if self.small_mm2 is not None:
                area = (row["tp"] + row["fn"]) * row.pop("pixel_mm2")
                row |= {"area_mm2": area, "large": area > self.small_mm2 if area else None}
            rows.append(row)
        return rows

    def _slices_of(self, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The slices (1, X, Y) of one item's volumes (1, X, Y, Z), as items."""
        keys = [key for key in ("pred", self.label_key, self.prob_key) if key]
        case, depth = self._case(item), item[self.label_key].shape[-1]
        names = [case] if depth == 1 else [slice_name(case, number) for number in range(1, depth + 1)]
        volumes = {key: plain(item[key]) for key in keys}
        affine = getattr(item[self.label_key], "affine", None)
        slices = []
        for number, name in enumerate(names):
            part = {key: volume[..., number] for key, volume in volumes.items()}
            if affine is not None:
                part[self.label_key] = MetaTensor(part[self.label_key], affine=affine)
            slices.append({**item, **part, "case": name})
        return slices

    def _case(self, item: Mapping[str, Any]) -> str:
        if item.get("case") is not None:
            return str(item["case"])
        for key in ("pred", self.label_key, "image"):
            name = getattr(item.get(key), "meta", {}).get("filename_or_obj")
            if name:
                return case_name(name if isinstance(name, (str, Path)) else name[0])
        raise InputError(
            f"report: expected a case name under 'case' or 'filename_or_obj' in the metadata of 'pred' or "
            f"'{self.label_key}', found neither"
        )


def _affine(case: str, *masks: Any) -> torch.Tensor:
    """Voxel to world in mm (4, 4) float64 on the host, of the first mask that has an affine."""
    for x in masks:
        affine = getattr(x, "affine", None)
        if affine is not None and affine.shape[-1] == 4:
            return affine.to("cpu", torch.float64)
    raise InputError(
        f"case {case}: expected a 4x4 affine on prediction or label, found none: without it there are no mL"
    )


def case_row(
    case: str, ivh: bool | None, counts: torch.Tensor, voxel_ml: float, suffixes: Sequence[str] = ("",)
) -> Row:
    """One line of the per-case table.

    Args:
        counts: int64 in shape (len(suffixes), 3), as `overlap_counts` gives for one image.
        voxel_ml: volume of a voxel in mL.
        suffixes: of the column names, one for each row of `counts`; "" for the plain columns.
    """
    row: Row = {"case": case, "ivh": ivh}
    scores = overlap_scores(counts)
    for i, suffix in enumerate(suffixes):
        tp, fp, fn = counts[i].tolist()
        row |= {f"{name}{suffix}": float(scores[name][i]) for name in OVERLAP_NAMES}
        row |= {f"volume_ml{suffix}": (tp + fn) * voxel_ml, f"pred_volume_ml{suffix}": (tp + fp) * voxel_ml}
        row |= {f"tp{suffix}": tp, f"fp{suffix}": fp, f"fn{suffix}": fn}
        if suffix == "":
            has_lesion = tp + fn > 0
            row["hit"] = int(tp > 0) if has_lesion else None
            row["false_alarm"] = None if has_lesion else int(fp > 0)
    return row


def _items(batch: Any) -> list[Any]:
    """A batch as a list of dictionaries, whether the engine has decollated it or not."""
    return decollate_batch(dict(batch)) if isinstance(batch, Mapping) else list(batch)


def _gather(part: Any) -> list[Any]:
    parts: list[Any] = [None] * idist.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts
