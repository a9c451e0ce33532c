"""Synthetic data sets on disk, in one of two layouts.

A case's truth file names every argument and is written last, so an interrupted run goes on where it stopped,
and a case that was made with other arguments is made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tools.core.errors import InputError
from tools.core.files import write_bytes
from tools.phantom.anatomy.head import map_source
from tools.phantom.anatomy.maps import stem
from tools.phantom.appearance import check_appearance
from tools.phantom.background import check_background
from tools.phantom.ct_ich_layout import CtIchLayout
from tools.phantom.head import PHANTOM_VERSION, HeadPhantom, check_size
from tools.phantom.kinds import check_kind, lesion_types
from tools.phantom.nifti_layout import NiftiLayout
from tools.phantom.scanner import check_thickness

LAYOUTS = {layout.name: layout for layout in (NiftiLayout, CtIchLayout)}


def check_counts(**least: tuple[Any, int]) -> None:
    """Raise `InputError` for the first (value, least value) that is no whole number of at least that."""
    for name, (value, low) in least.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
            raise InputError(f"{name}: expected a whole number from {low}, found {value!r}")


def check_device(device: torch.device | str) -> torch.device:
    """Return the device, or raise `InputError` where torch knows no such or has none."""
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device: expected one that torch can use here, found {device!s} ({str(error).splitlines()[0]})"
        ) from None
    return device


def read_truth(path: Path) -> dict[str, Any] | None:
    """Truth file of an earlier run, or None where there is no readable one."""
    try:
        truth = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return truth if isinstance(truth, dict) else None


@dataclass(frozen=True)
class PhantomMaker:
    """Makes and writes case n of a data set, in any process, and returns what is in its truth file.

    Args:
        writer: of the layout.
        head: makes a `HeadPhantom` of `index=n`.
        parameters: all arguments, for the truth file.
        overwrite: make cases again that are complete.
    """

    writer: NiftiLayout | CtIchLayout
    head: Callable[..., HeadPhantom]
    parameters: Mapping[str, Any]
    overwrite: bool = False

    @property
    def title(self) -> str:
        """What a progress bar calls the cases."""
        return f"phantoms ({self.parameters['kind']})"

    def __call__(self, index: int) -> dict[str, Any]:
        """Write the case, unless it is there."""
        name = f"case_{index:03d}"
        path = self.writer.out / "truth" / f"{name}.json"
        truth = None if self.overwrite else read_truth(path)
        if truth is None or truth.get("parameters") != self.parameters or not self.writer.complete(truth):
            path.unlink(missing_ok=True)  # until its files are whole again, the case is not complete
            case = self.head(index=index).render()
            self.writer.write(case, name)
            lesion = self.parameters["lesion"]
            truth = {"case": name, **case.truth, "lesion": lesion, "parameters": self.parameters}
            write_bytes(path, (json.dumps(truth, indent=2) + "\n").encode())
        return truth


def one_by_one(make: PhantomMaker, cases: int) -> list[dict[str, Any]]:
    """Every case, one after the other, with a progress bar."""
    with tqdm(range(cases), desc=make.title, unit="case") as bar:  # which ends before an error is printed
        return [make(index) for index in bar]


def write_phantoms(
    out: str | Path,
    cases: int = 12,
    seed: int = 0,
    shape: Sequence[int] = (256, 256, 32),
    spacing: Sequence[float] = (0.9, 0.9, 5.0),
    kind: str = "iph_ivh",
    folds: int = 5,
    test_cases: int = 0,
    lesion: str | Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    layout: str = "nifti",
    overwrite: bool = False,
    tilt: float = 0.0,
    anatomy: str | Path = "procedural",
    maps: str | Sequence[str] | None = None,
    per_person: int = 1,
    appearance: str = "natural",
    background: str | Path | None = None,
    thickness: float | None = None,
    each: Callable[[PhantomMaker, int], list[dict[str, Any]]] = one_by_one,
) -> Path:
    """Write a synthetic data set to the folder `out`.

    Args:
        out: folder to write to; complete cases in it that were made with the same arguments are kept.
        cases: number of training cases, shared out to the folds in turn.
        seed: the same seed gives the same bytes.
        shape: voxels along right, anterior, superior.
        spacing: voxel size in mm along the same axes.
        kind: `iph_ivh`, `any`, `normal`, a type (`edh`, `iph`, `ivh`, `sah`, `sdh`), or types joined by `+`.
        folds: number of cross-validation folds.
        test_cases: number of further cases, listed under `testing`.
        lesion: types that make up the binary label; default: IPH for kind `iph_ivh`, else all.
        device: where cases are made.
        layout: `nifti`, or `ct_ich_v1` for the 8-bit JPEG slices of CT-ICH 1.0.0.
        overwrite: make every case again.
        tilt: gantry tilt in degrees; the files' affine is then a shear.
        anatomy: `procedural`, or a folder of label maps of real heads.
        maps: names of the maps to use, in a list or joined by commas; default: all in the folder.
        per_person: how many cases in a row show the same person, with maps.
        appearance: `natural`, or `wide`: contrast, noise, blur and more beyond what scanners do.
        background: a real scan without blood to put blood into, NIfTI file or folder of one DICOM series;
            needs `anatomy` to name label maps, and gives every case its own grid.
        thickness: mm of a slice; default: the distance between slices. Thinner ones leave gaps.
        each: calls a function for every number below another, and returns what came of it, in order.

    Returns:
        `OUT/dataset.json` for `nifti`, `OUT` for `ct_ich_v1`.

    Raises:
        InputError: an argument that cannot be used, or `out` is a file.
    """
    check_counts(cases=(cases, 1), seed=(seed, 0), folds=(folds, 1), test_cases=(test_cases, 0))
    check_size(shape, spacing)
    check_kind(kind)
    if not isinstance(tilt, Real) or not -30 <= tilt <= 30:
        raise InputError(f"tilt: expected -30 to 30 degrees, found {tilt!r}")
    types = lesion_types(kind, lesion)
    check_appearance(appearance)
    source = map_source(anatomy, maps, per_person)
    background = check_background(background, source)
    check_thickness(thickness, spacing[2])
    if layout not in LAYOUTS:
        raise InputError(f"layout: expected one of {', '.join(LAYOUTS)}, found {layout!r}")
    device = check_device(device)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write phantoms to, found a file")

    made_of = "no patient data" if source is None else f"anatomy of {len(source.paths)} label maps"
    if background is not None:
        made_of = f"on the real scan {background.name}"
    description = f"Synthetic hemorrhage on head CT, seed {seed}; {made_of}. Label: {', '.join(types)}."
    writer = LAYOUTS[layout](out, types, description)
    parameters = {
        "version": PHANTOM_VERSION,
        "layout": layout,
        "seed": int(seed),
        "shape": [int(n) for n in shape],
        "spacing": [float(mm) for mm in spacing],
        "kind": kind,
        "lesion": list(types),
        "tilt": float(tilt),
    }
    if appearance != "natural":
        parameters["appearance"] = appearance
    if thickness is not None:
        parameters["thickness"] = float(thickness)
    if source is not None:
        parameters["maps"] = [stem(path) for path in source.paths]
        parameters["per_person"] = source.per_person
    if background is not None:
        parameters["background"] = background.name
    head = partial(
        HeadPhantom, seed=seed, shape=shape, spacing=spacing, kind=kind, device=device, tilt=tilt,
        anatomy=anatomy, maps=maps, per_person=per_person, appearance=appearance, background=background,
        thickness=thickness,
    )  # fmt: skip
    truths = each(PhantomMaker(writer, head, parameters, overwrite), cases + test_cases)
    return writer.finish(truths, cases, folds)
