"""Running networks: precision, weights and training states, inferers, ensembles, clean-up of label maps."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.engine.brain_windows import WindowProbabilityInferer, prepare_with_brain
    from tools.engine.checkpoint import BestWeights, TrainingState, require_weights
    from tools.engine.ensemble import EnsembleInferer, load_members
    from tools.engine.handlers import EarlyStop, OutputAsList, TimeLimitHandler
    from tools.engine.postprocess import CloseOpend, KeepLargeComponentsd
    from tools.engine.precision import with_precision
    from tools.engine.slices import SliceProbabilityInferer
    from tools.engine.tensorrt import with_tensorrt

__all__ = [
    "BestWeights", "CloseOpend", "EarlyStop", "EnsembleInferer", "KeepLargeComponentsd", "OutputAsList",
    "SliceProbabilityInferer", "TimeLimitHandler", "TrainingState", "WindowProbabilityInferer",
    "load_members", "prepare_with_brain", "require_weights", "with_precision", "with_tensorrt",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
