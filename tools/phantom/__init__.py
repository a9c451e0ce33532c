"""Synthetic non-contrast head CT with hemorrhage: free, and different for every seed.

A procedural head, the default, needs no file: it is a set of smooth implicit shapes (signed distances in mm)
in its own coordinates, posed at random, scanned, and written with everything that is known about it.
`anatomy` makes heads from label maps of real people instead, with the same interface.

| file | idea |
|---|---|
| `kinds` | which hemorrhages a kind of case holds, and which of them are the label |
| `head`, `case` | one case: `HeadPhantom(seed, ...).render()` -> `PhantomCase` |
| `anatomy` | heads from label maps of real people |
| `background` | real scans without blood as heads |
| `stream`, `cases`, `mixture` | endless cases made on the training device, mixtures of them to train on |
| `variation`, `outline` | other looks of a rendered head; labels as a reader would outline them |
| `person`, `fields`, `geometry` | what is drawn: numbers, noise fields, pose |
| `cranium`, `skull_base`, `ventricles`, `brain` | anatomy: vault and skin, base and face, ventricles, brain |
| `bleed`, `layers`, `masses` | hemorrhage: what all share; EDH and SDH; IPH, IVH and SAH |
| `confounders` | bright and dark things that are no intracranial blood |
| `render`, `acquisition`, `scanner` | from shapes to voxels, and what a scanner does to them |
| `appearance` | looks beyond what scanners do |
| `writer` | `write_phantoms`: a data set on disk |
| `nifti_layout`, `ct_ich_layout` | its two layouts |

Head coordinates: mm, x to the patient's right, y to the front, z up, origin mid-brain; the mid-sagittal plane
is x = 0. World coordinates: RAS+ mm. Class values: 0 background, 1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH.
"""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.phantom.head import HeadPhantom, PhantomCase
    from tools.phantom.kinds import CLASSES, KINDS
    from tools.phantom.stream import PhantomStream
    from tools.phantom.writer import write_phantoms

__all__ = ["CLASSES", "KINDS", "HeadPhantom", "PhantomCase", "PhantomStream", "write_phantoms"]

__getattr__ = lazy_exports(__name__, __file__)
