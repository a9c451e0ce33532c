"""Synthetic non-contrast head CT with hemorrhage: procedural, free, and different for every seed.

No patient image or template goes in: a head is a set of smooth implicit shapes (signed distances in mm) in
its own coordinates, posed at random, scanned by a simple scanner model, and written with everything that is
known about it.

| file | idea |
|---|---|
| `kinds` | which hemorrhages a kind of case holds, and which of them are the label |
| `head` | one case: `HeadPhantom(seed, ...).render()` -> `PhantomCase` |
| `stream` | `PhantomStream`: endless cases made on the training device |
| `person`, `fields`, `geometry` | what is drawn: numbers, noise fields, pose |
| `cranium`, `skull_base`, `ventricles`, `brain` | anatomy: vault and skin, base and face, ventricles, brain |
| `bleed`, `layers`, `masses` | hemorrhage: what all share; EDH and SDH; IPH, IVH and SAH |
| `confounders` | bright and dark things that are no intracranial blood |
| `render`, `scanner` | from shapes to voxels, and what a scanner does to them |
| `writer` | `write_phantoms`: a data set on disk |
| `nifti_layout`, `ct_ich_layout`, `files` | its two layouts, and how files are written |

Head coordinates: mm, x to the patient's right, y to the front, z up, origin mid-brain; the mid-sagittal plane
is x = 0. World coordinates: RAS+ mm. Class values: 0 background, 1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH.
"""

from tools.phantom.head import HeadPhantom, PhantomCase
from tools.phantom.kinds import CLASSES, KINDS
from tools.phantom.stream import PhantomStream
from tools.phantom.writer import write_phantoms

__all__ = ["CLASSES", "KINDS", "HeadPhantom", "PhantomCase", "PhantomStream", "write_phantoms"]
