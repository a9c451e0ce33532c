"""Everything the report says about one scan, from the volume and the models' label maps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headct.predict.findings.head import Head, in_ras
from headct.predict.findings.lesions import find_lesions, inner_table
from headct.predict.findings.midline import midline_shift
from headct.predict.findings.warnings import LOW_SCORE, volume_warnings
from headct.predict.input.scan import Scan
from headct.predict.model.bundle import BundleModel, Segmentation
from headct.predict.model.consensus import RULE, consensus
from headct.predict.results import Case, Lesion, Midline, Model, Uncertainty
from tools.core.tensors import voxel_ml

__all__ = ["Measured", "density_warnings", "measure", "measure_label", "seam_warnings", "verdict"]


BLOOD_HU = (50.0, 90.0)  # mean of a fresh bleed; its edge and thick slices lower it
SEAM_ML, SEAM_MM = 0.5, 1.0  # smaller and nearer to the skull: bone in part of a voxel looks like that


@dataclass
class Measured:
    """A case without its files, and the arrays (X, Y, Z) that pictures are made of: RAS, except `label`.

    Attributes:
        label: the final label map in the orientation of the file, uint8.
        hu, brain, final: scan, mask of the brain, final label map.
        affine: voxels of these to RAS+ mm.
        parts: further label maps by name: of each model where there are several, and of all before a
            correction.
        deviation: mean of the models' uncertainty maps, with any sign if it is of one; None without.
        probability: mean of the models' probability maps.
    """

    case: Case
    label: np.ndarray
    hu: np.ndarray
    brain: np.ndarray
    final: np.ndarray
    parts: dict[str, np.ndarray]
    deviation: np.ndarray | None
    probability: np.ndarray | None
    spacing: np.ndarray
    affine: np.ndarray


def measure(
    name: str,
    scan: Scan,
    head: Head,
    models: Sequence[BundleModel],
    results: Sequence[Segmentation],
    min_ml: float,
) -> Measured:
    """Measure one case as the models segmented it.

    Args:
        name: of the case.
        scan: see `headct.predict.input.scan`.
        head: what `find_head` finds in it.
        models, results: the bundles and what each of them made of the scan.
        min_ml: smaller lesions are not counted as hemorrhage.
    """
    volume = scan.volume
    one_ml = voxel_ml(volume.affine)
    described = [_model(m, r, one_ml) for m, r in zip(models, results, strict=True)]
    classes = models[0].names if len(models) == 1 else {1: "hemorrhage"}
    measured = measure_label(name, scan, head, consensus(results), classes, described, min_ml)
    measured.case.warnings += _disagreement(described, min_ml)
    spreads = [r.spread if len(results) == 1 else r.deviation for r in results]
    measured.deviation = _mean_map(volume, spreads)
    measured.probability = _mean_map(volume, [r.probability for r in results])
    if len(models) > 1:
        measured.case.consensus = RULE
        measured.parts = {m.name: in_ras(volume, r.label) for m, r in zip(models, results, strict=True)}
    return measured


def measure_label(
    name: str,
    scan: Scan,
    head: Head,
    label: Any,
    classes: Mapping[int, str],
    models: Sequence[Model],
    min_ml: float,
) -> Measured:
    """Measure one case by its label map alone, whoever made it.

    Args:
        name: of the case.
        scan: see `headct.predict.input.scan`.
        head: what `find_head` finds in it.
        label: (X, Y, Z) uint8, class values, in the orientation of the scan's file.
        classes: names of these values.
        models: for the report.
        min_ml: smaller lesions are not counted as hemorrhage.
    """
    hu, brain, affine, spacing = head.hu, head.brain, head.affine, head.spacing
    final = in_ras(scan.volume, label)
    skull = inner_table(hu, brain, affine, spacing)
    counted, small = find_lesions(
        final, hu, affine, spacing, classes, None if head.doubts else head.plane, skull, min_ml
    )
    midline = Midline(reason="not estimated: it is not known how the head lies")
    if not head.doubts:
        midline = midline_shift(hu, final > 0, brain, affine, head.plane, head.score, LOW_SCORE)
    volume_ml = sum(lesion.volume_ml for lesion in counted)
    notes = [*scan.notes, *head.doubts, *volume_warnings(hu, brain, affine, spacing, head.score)]
    if head.open_skull:
        notes.append("The skull has a large hole: the brain mask may be wrong.")
    notes += _cut_lesions(counted, hu.shape[2]) + density_warnings(counted) + seam_warnings(counted)
    case = Case(
        name=name,
        kind=scan.kind,
        verdict=verdict(volume_ml, len(counted), min_ml),
        hemorrhage=bool(counted),
        volume_ml=volume_ml,
        abc_half_ml=sum(lesion.abc_half_ml for lesion in counted),
        lesions=counted,
        small_lesions=len(small),
        small_ml=sum(small),
        min_ml=min_ml,
        midline=midline,
        models=list(models),
        consensus="",
        warnings=notes,
        scan={**scan.facts, "symmetry score": "none" if head.score is None else f"{head.score:.2f}"},
        files={},
        classes=dict(classes),
    )
    return Measured(
        case=case,
        label=np.asarray(label),
        hu=hu,
        brain=brain,
        final=final,
        parts={},
        deviation=None,
        probability=None,
        spacing=spacing,
        affine=affine,
    )


def verdict(volume_ml: float, lesions: int, min_ml: float) -> str:
    """The first line of a report."""
    if not lesions:
        return f"No hemorrhage found above {min_ml:g} mL"
    return f"Hemorrhage found: {volume_ml:.1f} mL, {lesions} lesion{'s' if lesions > 1 else ''}"


def _mean_map(volume: Any, maps: Sequence[Any]) -> np.ndarray | None:
    maps = [values for values in maps if values is not None]
    if len(maps) < 2:
        return in_ras(volume, maps[0]) if maps else None
    mean = maps[0] + maps[1]
    for values in maps[2:]:
        mean.add_(values)
    return in_ras(volume, mean.div_(len(maps)))


def _model(model: BundleModel, result: Segmentation, one_ml: float) -> Model:
    slices = (np.bincount(plane.ravel(), minlength=256) for plane in result.label.numpy().T)
    counts: np.ndarray = sum(slices, np.zeros(256, np.int64))
    uncertainty = None
    if result.spread is not None:
        low, high, either, total = result.counts_above_threshold()
        uncertainty = Uncertainty(
            method=model.uncertainty_method,
            mean_deviation=total / max(either, 1),
            volume_range_ml=[low * one_ml, high * one_ml],
        )
    meta = model.metadata
    formats: dict[str, Any] = next(iter(meta.get("network_data_format", {}).get("outputs", {}).values()), {})
    return Model(
        bundle=model.name,
        version=str(meta.get("version", "not stated")),
        title=str(meta.get("name", model.name)),
        weights=[path.name for path in model.weights],
        sha256=model.sha256,
        volume_ml=float(counts[1:].sum()) * one_ml,
        class_volumes_ml={name: float(counts[value]) * one_ml for value, name in model.names.items()},
        segments=_segments(meta, formats, model.names),
        trained_on=str(model.notes.get("trained_on") or meta.get("data_source") or "not stated"),
        intended_use=str(meta.get("intended_use", "Research use only, not a medical device.")),
        references=[str(text) for text in meta.get("references", [])],
        uncertainty=uncertainty,
    )


def _segments(meta: dict[str, Any], formats: dict[str, Any], names: Mapping[int, str]) -> str:
    """What the model calls hemorrhage, from its card, "1: intraparenchymal hemorrhage", or of its weights."""
    text = str(meta.get("pred_classes") or "")
    found = re.split(r"(?:^|,\s*)(?=\d+:)", text)
    kept = [re.sub(r"^\d+:\s*", "", part) for part in found if part and not part.startswith("0:")]
    channels = [str(c) for c in formats.get("channel_def", {}).values() if str(c) != "background"]
    if len(channels) != len(names):  # weights of another kind than the card's
        return ", ".join(names.values())
    return ", ".join(kept or channels) or "hemorrhage"


def _cut_lesions(lesions: Sequence[Lesion], depth: int) -> list[str]:
    cut = [str(lesion.number) for lesion in lesions if lesion.slices[0] == 1 or lesion.slices[1] == depth]
    if not cut:
        return []
    return [f"Lesion {', '.join(cut)} reaches the end of the scan: it may go on beyond it."]


def density_warnings(lesions: Sequence[Lesion]) -> list[str]:
    """A sentence on the lesions that are too dark for fresh blood, and one on those that are too bright."""
    usual = f"{BLOOD_HU[0]:.0f} to {BLOOD_HU[1]:.0f} HU on average"
    kinds = (
        (lambda hu: hu < BLOOD_HU[0], f"not as dense as fresh blood, {usual}; old or thin blood"),
        (lambda hu: hu > BLOOD_HU[1], f"denser than fresh blood, {usual}; calcium, bone or metal"),
    )
    warnings = []
    for odd, what in kinds:
        hu = {lesion.number: lesion.mean_hu for lesion in lesions if odd(lesion.mean_hu)}
        found = ", ".join(f"{number} ({hu[number]:.0f} HU)" for number in list(hu)[:5])
        found += f" and {len(hu) - 5} more" if len(hu) > 5 else ""
        if hu:
            warnings.append(f"Lesion {found}: {what}, or a false alarm.")
    return warnings


def seam_warnings(lesions: Sequence[Lesion]) -> list[str]:
    """A sentence on the small lesions that lie against the skull."""
    seams = [
        str(lesion.number)
        for lesion in lesions
        if lesion.volume_ml < SEAM_ML and lesion.depth_mm is not None and lesion.depth_mm < SEAM_MM
    ]
    if not seams:
        return []
    several = "are small and lie" if len(seams) > 1 else "is small and lies"
    return [
        f"Lesion {', '.join(seams)} {several} against the skull, where bone in a part of a voxel looks like "
        "blood: such findings are often false alarms."
    ]


def _disagreement(models: Sequence[Model], min_ml: float) -> list[str]:
    found = [model.volume_ml >= min_ml for model in models]
    if all(found) or not any(found):
        return []
    volumes = ", ".join(f"{model.bundle} {model.volume_ml:.1f} mL" for model in models)
    return [f"The models disagree on whether there is hemorrhage: {volumes}."]
