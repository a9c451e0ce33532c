"""Ignite handler that scores every case of an evaluation and writes the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.data import decollate_batch

from tools.errors import InputError
from tools.metrics.masks import check_pair, class_masks, is_discrete
from tools.metrics.overlap import OVERLAP_NAMES, overlap_counts, overlap_scores
from tools.metrics.summary import summarize, summary_markdown
from tools.metrics.tables import Row, write_atomically, write_csv, write_json


class SegmentationReport:
    """Score every case and write `per_case.csv`, `summary.json`, `summary.md` at the end of the evaluation.

    Per case: Dice, IoU, precision, recall, volume of truth and prediction in mL, whether the prediction
    hits the lesion, whether there is intraventricular hemorrhage. The summary has mean, standard deviation
    and pooled values of all cases and split by IVH (Abramova 2021, tables 2 to 5), location accuracy (Li
    2021), and the false alarms of images without lesion. Counts stay on the device until the end of the
    epoch; several processes (DistributedDataParallel) gather their cases and rank 0 writes. Give the
    sampler `even_divisible=False`, or the cases that it repeats are counted twice.

    Put it among the evaluator's handlers before the TensorBoard and MLflow handlers: the values also go to
    `engine.state.metrics` (`dice`, `dice_pooled`, `location_accuracy` ...), where those handlers read them.

    Args:
        output_dir: folder for the three files.
        classes: name of each class value, for data with several hemorrhage types, for instance
            {1: "edh", 2: "iph"}; adds columns `dice_edh`, `volume_ml_edh` ... The plain columns are of any
            foreground.
        output_transform: callable on `engine.state.output` that gives a list of dictionaries (or a
            dictionary of batched tensors) with `pred_key` and `label_key`. By default the output as MONAI's
            evaluators leave it.
        pred_key, label_key: discrete label maps (1, spatial...) or one-hot (num_classes, spatial...),
            background in channel 0.
        case_key, ivh_key: keys of the datalist item (`engine.state.batch`) with the case's name and the IVH
            flag. Without a name, the file name in the metadata of prediction or label is taken.
        spacing: voxel edge lengths in mm, for tensors without affine. By default from the label's affine.
        title: heading of `summary.md`.

    Example in a MONAI bundle's evaluate.yaml:

    .. code-block:: yaml

        - _target_: tools.metrics.SegmentationReport
          output_dir: "@output_dir"
    """

    def __init__(
        self,
        output_dir: str | Path,
        classes: Mapping[int, str] | None = None,
        output_transform: Callable[[Any], Any] | None = None,
        pred_key: str = "pred",
        label_key: str = "label",
        case_key: str = "case",
        ivh_key: str = "ivh",
        spacing: Sequence[float] | None = None,
        title: str = "Metrics",
    ) -> None:
        self.output_dir = Path(output_dir)
        # keys of a YAML or JSON mapping may arrive as strings
        self.classes = {int(value): str(name) for value, name in (classes or {}).items()}
        self.output_transform = output_transform or (lambda output: output)
        self.pred_key, self.label_key, self.case_key, self.ivh_key = pred_key, label_key, case_key, ivh_key
        self.spacing = spacing
        self.title = title
        self.rows: list[Row] = []
        self._pending: list[tuple[str, bool | None, float, torch.Tensor, torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Connect to an evaluator (or any engine that leaves predictions in `engine.state.output`)."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def reset(self, engine: Engine | None = None) -> None:
        """Forget all cases."""
        self._pending, self.rows = [], []

    def update(self, engine: Engine) -> None:
        """Count the cases of one iteration."""
        outputs = _items(self.output_transform(engine.state.output))
        batch = _items(engine.state.batch)
        if len(batch) != len(
            outputs
        ):  # an output_transform that regroups: then it must carry the names itself
            batch = [{}] * len(outputs)
        for source, output in zip(batch, outputs, strict=True):
            self.add({**source, **output})

    def add(self, item: Mapping[str, Any]) -> None:
        """Count one case: a dictionary with prediction and label, channel first and without batch axis."""
        for key in (self.pred_key, self.label_key):
            if key not in item:
                raise InputError(f"report: expected '{key}' in the evaluator's output, found {sorted(item)}")
        pred, label = item[self.pred_key], item[self.label_key]
        case = self._case(item)
        masks = [class_masks(torch.as_tensor(x)[None], list(self.classes)) for x in (pred, label)]
        check_pair(*masks, what=f"case {case}")
        counts = overlap_counts(*masks)[0]
        discrete = is_discrete(torch.as_tensor(pred)) & is_discrete(torch.as_tensor(label))
        ivh = item.get(self.ivh_key)
        voxel_ml = self._voxel_ml(case, pred, label)
        self._pending.append((case, None if ivh is None else bool(ivh), voxel_ml, counts, discrete))

    def finish(self, engine: Engine | None = None) -> list[Row]:
        """Gather the cases of all processes, write the files (rank 0) and return the rows, sorted by case."""
        rows = self._local_rows()
        if idist.get_world_size() > 1:
            rows = [row for part in _gather(rows) for row in part]
        self.rows = sorted(rows, key=lambda row: row["case"])
        if not self.rows:
            return []
        summary = summarize(self.rows)
        if idist.get_rank() == 0:
            self._write(summary)
        if engine is not None:
            for name, value in log_values(summary["all"]).items():
                engine.state.metrics.setdefault(name, value)
        return self.rows

    def _write(self, summary: dict[str, Any]) -> None:
        write_csv(self.output_dir / "per_case.csv", self.rows)
        write_json(self.output_dir / "summary.json", summary)
        write_atomically(self.output_dir / "summary.md", summary_markdown(summary, self.title))

    def _local_rows(self) -> list[Row]:
        if not self._pending:
            return []
        counts = torch.stack([c for *_, c, _ in self._pending]).cpu()  # the one transfer from the device
        discrete = torch.stack([d for *_, d in self._pending]).cpu()
        for (case, *_), whole in zip(self._pending, discrete.tolist(), strict=True):
            if not whole:
                raise InputError(
                    f"case {case}: expected class values or one-hot masks in '{self.pred_key}' and "
                    f"'{self.label_key}', found fractions; add AsDiscreted to the post-processing"
                )
        names = ["", *(f"_{name}" for name in self.classes.values())]
        return [
            case_row(case, ivh, counts[i], voxel_ml, names)
            for i, (case, ivh, voxel_ml, *_) in enumerate(self._pending)
        ]

    def _case(self, item: Mapping[str, Any]) -> str:
        if item.get(self.case_key) is not None:
            return str(item[self.case_key])
        for key in (self.pred_key, self.label_key, "image"):
            name = getattr(item.get(key), "meta", {}).get("filename_or_obj")
            if name:
                return case_name(name if isinstance(name, (str, Path)) else name[0])
        raise InputError(
            f"report: expected a case name under '{self.case_key}' or 'filename_or_obj' in the metadata of "
            f"'{self.pred_key}' or '{self.label_key}', found neither"
        )

    def _voxel_ml(self, case: str, pred: Any, label: Any) -> float:
        if self.spacing is not None:
            return float(torch.tensor([float(s) for s in self.spacing], dtype=torch.float64).prod()) / 1000
        for x in (label, pred):
            affine = getattr(x, "affine", None)
            if affine is not None and affine.shape[-1] == 4:
                return float(affine.to("cpu", torch.float64)[:3, :3].det().abs()) / 1000
        raise InputError(
            f"case {case}: expected a 4x4 affine on '{self.label_key}' or '{self.pred_key}', or the report's "
            "argument 'spacing' (mm), found neither; without it there is no volume in mL"
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
        if suffix == "":
            has_lesion = tp + fn > 0
            row["hit"] = int(tp > 0) if has_lesion else None
            row["false_alarm"] = None if has_lesion else int(fp > 0)
            row |= {"tp": tp, "fp": fp, "fn": fn}
    return row


def case_name(path: str | Path) -> str:
    """File name without folder and extension (.nii.gz counts as one)."""
    name = Path(path).name
    for extension in (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".dcm", ".npy"):
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name


def log_values(group: Mapping[str, Any]) -> dict[str, float]:
    """Flat numbers of one group of the summary, for TensorBoard and MLflow."""
    values = {name: group["mean"][name] for name in OVERLAP_NAMES}
    values |= {f"{name}_pooled": group["pooled"][name] for name in OVERLAP_NAMES}
    location = group["location"]
    named = {"location_accuracy": location["accuracy"], "image_specificity": location["specificity"]}
    return values | {name: value for name, value in named.items() if value is not None}


def _items(batch: Any) -> list[Any]:
    """A batch as a list of dictionaries, whether the engine has decollated it or not."""
    if isinstance(batch, Mapping):
        return decollate_batch(dict(batch))
    return list(batch)


def _gather(rows: list[Row]) -> list[list[Row]]:
    parts: list[list[Row]] = [[] for _ in range(idist.get_world_size())]
    torch.distributed.all_gather_object(parts, rows)
    return parts
