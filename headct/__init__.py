"""The application: what a user types, or calls from Python. It imports `tools`; `tools` never imports it.

| room | idea |
|---|---|
| `predict` | scan reports: from a scan to masks, millilitres and a page to look at |
| `datasets` | public data sets, checked and written as datalists with folds |
| `runs` | bundles trained and evaluated in processes of their own; cross-validation |
| `scores` | score tables: folders scored, runs compared, subgroups |
| `reproduce` | a paper's tables beside its own figures |
| `cohort` | cases as tasks: in this process, on several, on a cluster |
| `zoo` | bundles published, verified, their weights fetched |

`headct.predict.predict` is not among the names here, since it would have the name of its room.
"""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from headct.datasets.prepare import prepare
    from headct.runs.bundle_run import BundleRun
    from headct.runs.crossval import crossval
    from headct.scores.score import score
    from headct.zoo.publish import publish
    from headct.zoo.verify import verify

__all__ = ["BundleRun", "crossval", "prepare", "publish", "score", "verify"]

__getattr__ = lazy_exports(__name__, __file__)
