"""Hemorrhage in a head with real anatomy.

`draw_blood(anatomy, types, rng, generator)` -> `Blood`: everything random is drawn from `rng` (numbers) and
`generator` (fields, on the CPU), so that a seed decides a case on every device.

| file | idea |
|---|---|
| `frame` | atlas coordinates of a head, from the centroids of its structures |
| `spaces` | distances and sides, once per person |
| `site` | points with all that a bleed may ask about them; noise |
| `bleed` | volume, brightness, age, edge; reaching the volume asked for |
| `epidural`, `subdural`, `intraparenchymal`, `intraventricular`, `subarachnoid` | one type each |
| `mass_effect` | the brain pushed aside without folding, fluid pressed out |
| `draw` | all of one head |
"""

from __future__ import annotations

from tools.phantom.anatomy.blood.blood import Blood
from tools.phantom.anatomy.blood.draw import draw_blood
from tools.phantom.anatomy.blood.spaces import Spaces, find_spaces

__all__ = ["Blood", "Spaces", "draw_blood", "find_spaces"]
