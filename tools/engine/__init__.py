"""Running networks: precision, weights and training states, inferers, ensembles, clean-up of label maps."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.engine.checkpoint import BestWeights, TrainingState, require_weights
    from tools.engine.ensemble import EnsembleInferer, load_members
    from tools.engine.handlers import EarlyStop, OutputAsList, TimeLimitHandler
    from tools.engine.postprocess import LabelFromProbabilitiesd
    from tools.engine.precision import with_precision
    from tools.engine.slices import SliceProbabilityInferer
    from tools.engine.tensorrt import with_tensorrt

__all__ = [
    "BestWeights", "EarlyStop", "EnsembleInferer", "LabelFromProbabilitiesd", "OutputAsList",
    "SliceProbabilityInferer", "TimeLimitHandler", "TrainingState", "load_members", "require_weights",
    "with_precision", "with_tensorrt",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
