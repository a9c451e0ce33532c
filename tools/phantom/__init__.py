"""Synthetic non-contrast head CT with hemorrhage: procedural, free, and different for every seed.

No patient image or template goes in: a head is a set of smooth implicit shapes (signed distances in mm) in
its own coordinates, posed at random, scanned by a simple scanner model, and written with everything that is
known about it.

| file | idea |
|---|---|
| `kinds` | which hemorrhages a kind of case holds, and which of them are the label |
| `head` | one case: `HeadPhantom(seed, ...).render()` -> `PhantomCase` |
| `stream` | `PhantomStream`: endless cases made on the training device |
| `writer` | `write_phantoms`: NIfTI files, truth and a MONAI datalist on disk |

Head coordinates: mm, x to the patient's right, y to the front, z up, origin mid-brain; the mid-sagittal plane
is x = 0. World coordinates: RAS+ mm. Class values: 0 background, 1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH.
"""

from tools.phantom.head import HeadPhantom, PhantomCase
from tools.phantom.kinds import CLASSES, KINDS
from tools.phantom.stream import PhantomStream
from tools.phantom.writer import write_phantoms

__all__ = ["CLASSES", "KINDS", "HeadPhantom", "PhantomCase", "PhantomStream", "write_phantoms"]
