"""What a scanner does to a head.

| file | idea |
|---|---|
| `closed_form` | the scanner of the heads made of shapes, which know their own skull |
| `acquisition` | the scanner of any volume in HU: `draw_acquisition`, `acquire_volume` |
| `kernels` | noise power spectra and point spread of reconstruction kernels, as measured |
| `projections` | line integrals on a coarse grid, filtered and plain back-projection |
| `hardening` | hardened beam: bright rim inside the skull, dark bands and streaks between dense bones |
| `noise` | quantum noise: its spectrum, and its level and direction from place to place |
| `movement` | motion within a turn, helical scanning |
| `objects` | table, head rest, clips, electrodes |
| `slices` | thickness of slices and gaps between them |
"""

from tools.phantom.scanner.acquisition import Acquisition, acquire_volume, draw_acquisition
from tools.phantom.scanner.closed_form import Scanner, acquire, draw_scanner, metal_streaks, table_share
from tools.phantom.scanner.slices import average_slices, check_thickness, slice_offsets

__all__ = [
    "Acquisition",
    "Scanner",
    "acquire",
    "acquire_volume",
    "average_slices",
    "check_thickness",
    "draw_acquisition",
    "draw_scanner",
    "metal_streaks",
    "slice_offsets",
    "table_share",
]
