"""Training patches by region: the strategies of Abramova 2021, on the device or as a transform."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.sampling.augment import RandomAffine2d
    from tools.sampling.case_regions import HyperdenseRegiond, RoiSettings
    from tools.sampling.crop import RandRoiCropd, RoiRunsd
    from tools.sampling.mix import RoiMix
    from tools.sampling.sampler import RoiPatchSampler
    from tools.sampling.settings import Augmentation, BatchFormat, CohortStorage, ProcessShare

__all__ = [
    "Augmentation", "BatchFormat", "CohortStorage", "HyperdenseRegiond", "ProcessShare", "RandRoiCropd",
    "RandomAffine2d", "RoiMix", "RoiPatchSampler", "RoiRunsd", "RoiSettings",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
