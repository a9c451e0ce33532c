"""CT volumes: read and checked, straightened, resampled, registered; where the brain is."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.volumes.brain import ExtractBraind, extract_brain
    from tools.volumes.read import LoadVolumed, find_volumes, read_label, read_volume
    from tools.volumes.registration import RegisterRigidd, register_rigid
    from tools.volumes.spacing import ResampleSpacingd

__all__ = [
    "ExtractBraind", "LoadVolumed", "RegisterRigidd", "ResampleSpacingd", "extract_brain", "find_volumes",
    "read_label", "read_volume", "register_rigid",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
