"""Everything the report says about one scan, from the volume and the models' label maps."""

from __future__ import annotations

import re
import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.predict.bundles import BundleModel, Segmentation
from tools.predict.consensus import RULE, consensus
from tools.predict.findings import find_lesions, inner_table
from tools.predict.midline import midline_shift
from tools.predict.quality import LOW_SCORE, volume_warnings
from tools.predict.results import Case, Lesion, Model, Uncertainty
from tools.predict.scan import Scan

__all__ = ["Measured", "density_warnings", "measure", "verdict"]


BLOOD_HU = (50.0, 90.0)  # mean of a fresh bleed; its edge and thick slices lower it


@dataclass
class Measured:
    """A case without its files, and the arrays (X, Y, Z) that pictures are made of: RAS, except `label`.

    Attributes:
        label: the final label map in the orientation of the file, uint8.
        hu, brain, final: scan, mask of the brain, final label map.
        parts: label map of each model, by its name; empty with one model.
        deviation: mean of the models' uncertainty maps; None without.
    """

    case: Case
    label: np.ndarray
    hu: np.ndarray
    brain: np.ndarray
    final: np.ndarray
    parts: dict[str, np.ndarray]
    deviation: np.ndarray | None
    spacing: np.ndarray


def measure(
    name: str, scan: Scan, models: Sequence[BundleModel], results: Sequence[Segmentation], min_ml: float
) -> Measured:
    """Measure one case.

    Args:
        name: of the case.
        scan: see `tools.predict.scan`.
        models, results: the bundles and what each of them made of the scan.
        min_ml: smaller lesions are not counted as hemorrhage.

    Raises:
        InputError: there is no brain in the scan.
    """
    from tools.brain import extract_brain

    volume = scan.volume
    final = consensus(results)
    ras = _to_ras(volume, volume.as_tensor())
    affine, spacing = np.asarray(ras.affine), np.asarray(ras.pixdim, dtype=float)
    hu = ras.as_tensor()[0].numpy()
    caught: list[str] = []
    with python_warnings.catch_warnings(record=True) as shown:
        python_warnings.simplefilter("always", UserWarning)
        brain = extract_brain(ras).as_tensor()[0].numpy().astype(bool)
        plane, score = _plane(ras)
    caught += [str(w.message) for w in shown if "skull" in str(w.message)]
    final_ras = _array(volume, final)
    blood = final_ras > 0
    names = models[0].names if len(models) == 1 else {1: "hemorrhage"}
    skull = inner_table(hu, brain, affine, spacing)
    counted, small = find_lesions(final_ras, hu, affine, spacing, names, plane, skull, min_ml)
    midline = midline_shift(hu, blood, brain, affine, plane, score, LOW_SCORE)
    volume_ml = sum(lesion.volume_ml for lesion in counted)
    described = [_model(m, r, spacing) for m, r in zip(models, results, strict=True)]
    notes = [*scan.notes, *volume_warnings(hu, brain, affine, spacing, score)]
    if caught:
        notes.append("The skull has a large hole: the brain mask may be wrong.")
    notes += _cut_lesions(counted, hu.shape[2]) + density_warnings(counted) + _disagreement(described, min_ml)
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
        models=described,
        consensus=RULE if len(models) > 1 else "",
        warnings=notes,
        scan={**scan.facts, "symmetry score": "none" if score is None else f"{score:.2f}"},
        files={},
    )
    return Measured(
        case=case,
        label=final.numpy(),
        hu=hu,
        brain=brain,
        final=final_ras,
        parts={m.name: _array(volume, r.label) for m, r in zip(models, results, strict=True)}
        if len(models) > 1
        else {},
        deviation=_mean_deviation(volume, results),
        spacing=spacing,
    )


def verdict(volume_ml: float, lesions: int, min_ml: float) -> str:
    """The first line of a report."""
    if not lesions:
        return f"No hemorrhage found above {min_ml:g} mL"
    return f"Hemorrhage found: {volume_ml:.1f} mL, {lesions} lesion{'s' if lesions > 1 else ''}"


def _plane(ras: Any) -> tuple[tuple[np.ndarray, float] | None, float | None]:
    from tools.errors import InputError
    from tools.symmetry import estimate_symmetry_plane

    try:
        plane = estimate_symmetry_plane(ras)
    except InputError:
        return None, None
    return (plane.normal.numpy(), float(plane.offset)), float(plane.score)


def _to_ras(volume: Any, values: Any) -> Any:
    """(1, X, Y, Z) values on the grid of `volume`, turned to RAS, as MetaTensor."""
    from monai.data import MetaTensor
    from monai.transforms import Orientation

    return Orientation(axcodes="RAS", labels=None)(MetaTensor(values, affine=volume.affine))


def _array(volume: Any, values: Any) -> np.ndarray:
    return _to_ras(volume, values[None]).as_tensor()[0].contiguous().numpy()


def _mean_deviation(volume: Any, results: Sequence[Segmentation]) -> np.ndarray | None:
    maps = [r.deviation for r in results if r.deviation is not None]
    return _array(volume, sum(maps) / len(maps)) if maps else None


def _model(model: BundleModel, result: Segmentation, spacing: np.ndarray) -> Model:
    voxel_ml = float(np.prod(spacing)) / 1000
    counts = np.bincount(result.label.numpy().ravel(), minlength=max(model.names) + 1)
    uncertainty = None
    if result.deviation is not None:
        low, high = ((result.mean + sign * result.deviation > 0.5) for sign in (-1, 1))
        either = high | (result.label > 0)
        inside = result.deviation[either]
        uncertainty = Uncertainty(
            method=model.uncertainty_method,
            mean_deviation=float(inside.mean()) if inside.numel() else 0.0,
            volume_range_ml=[float(low.sum()) * voxel_ml, float(high.sum()) * voxel_ml],
        )
    meta = model.metadata
    formats = next(iter(meta.get("network_data_format", {}).get("outputs", {}).values()), {})
    return Model(
        bundle=model.name,
        version=str(meta.get("version", "not stated")),
        title=str(meta.get("name", model.name)),
        weights=[path.name for path in model.weights],
        sha256=model.sha256,
        volume_ml=float(counts[1:].sum()) * voxel_ml,
        class_volumes_ml={name: float(counts[value]) * voxel_ml for value, name in model.names.items()},
        segments=_segments(meta, formats),
        trained_on=str(model.notes.get("trained_on") or meta.get("data_source") or "not stated"),
        intended_use=str(meta.get("intended_use", "Research use only, not a medical device.")),
        references=[str(text) for text in meta.get("references", [])],
        uncertainty=uncertainty,
    )


def _segments(meta: dict[str, Any], formats: dict[str, Any]) -> str:
    """What the model calls hemorrhage, from its card: "1: intraparenchymal hemorrhage"."""
    text = str(meta.get("pred_classes") or "")
    found = re.split(r"(?:^|,\s*)(?=\d+:)", text)
    kept = [re.sub(r"^\d+:\s*", "", part) for part in found if part and not part.startswith("0:")]
    channels = [str(c) for c in formats.get("channel_def", {}).values() if str(c) != "background"]
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


def _disagreement(models: Sequence[Model], min_ml: float) -> list[str]:
    found = [model.volume_ml >= min_ml for model in models]
    if all(found) or not any(found):
        return []
    volumes = ", ".join(f"{model.bundle} {model.volume_ml:.1f} mL" for model in models)
    return [f"The models disagree on whether there is hemorrhage: {volumes}."]
