"""CT volumes: read and checked, straightened; where the brain is; masks written."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.volumes.brain import extract_brain
    from tools.volumes.read import LoadVolumed, read_label, read_volume

__all__ = ["LoadVolumed", "extract_brain", "read_label", "read_volume"]

__getattr__ = lazy_exports(__name__, __file__)
