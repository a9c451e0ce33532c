"""Synthetic heads with the anatomy of real people, made from label maps.

| file | idea |
|---|---|
| `labels` | numbers of structures, alone and in groups |
| `maps` | reading a folder of label maps |
| `prepare`, `structures`, `distances` | what a map needs once: aligned frame, whole bone, drawn structures |
| `warp`, `deformation` | sampling, smoothing, deformations that cannot fold; where a person lies in a map |
| `traits`, `findings` | the numbers of a person, HU of its tissues; calcium, infarcts, dark white matter |
| `person` | a person made from a map |
| `anatomy` | `Anatomy`: what is known about a head before it is scanned |
| `blood` | `draw_blood(anatomy, types, ...)` -> `Blood` |
| `render` | from the head's grid to the voxels of a scan |
| `head` | one case, as `HeadPhantom(anatomy=FOLDER)` renders it |
"""
