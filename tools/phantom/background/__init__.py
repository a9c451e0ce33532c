"""Real scans without blood as the ground for synthetic blood.

| file | idea |
|---|---|
| `registration` | a label map moved onto a scan: affine, then a deformation that cannot fold |
| `correct` | labels put right where the scan's HU say otherwise |
| `background` | `read_background`: a scan as an `Anatomy`, found once and kept |
| `case` | one case: blood blended into the scan, whose noise stays |
"""

from tools.phantom.background.background import check_background, read_background
from tools.phantom.background.case import render_background

__all__ = ["check_background", "read_background", "render_background"]
