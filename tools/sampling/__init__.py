"""Training patches by region: the strategies of Abramova 2021, from a cohort on the device."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.sampling.augment import RandomAffine2d
    from tools.sampling.case_regions import RoiSettings
    from tools.sampling.mix import RoiMix
    from tools.sampling.sampler import RoiPatchSampler
    from tools.sampling.settings import Augmentation, BatchFormat, CohortStorage, ProcessShare

__all__ = [
    "Augmentation", "BatchFormat", "CohortStorage", "ProcessShare", "RandomAffine2d", "RoiMix",
    "RoiPatchSampler", "RoiSettings",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
