"""Public data sets of head CT with hemorrhage, checked file by file and written as MONAI datalists.

Nothing is downloaded: `python -m tools datasets` says where each set comes from, and
`python -m tools prepare` reads the copy that the user has.

| file | idea |
|---|---|
| `catalogue` | what each set is, its licence, how to get it |
| `prepare` | one set on disk -> a datalist with folds, and a report |
| `ct_ich_v1`, `ct_ich_v131`, `instance2022`, `bhsd`, `folder`, `decathlon` | one layout each |
| `volumes` | what the layouts share: NIfTI pairs |
| `tables` | the two tables of CT-ICH |
| `folds` | splits by patient, or by slice |
| `collection`, `report` | what an adapter found, and how that is printed |

Class values: 0 background, 1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH; 255 hemorrhage whose type nobody wrote down.
"""

from tools.datasets.catalogue import CATALOGUE, datasets
from tools.datasets.prepare import prepare
from tools.pictures import read_slice, read_slice_mask, window_to_hu

__all__ = ["CATALOGUE", "datasets", "prepare", "read_slice", "read_slice_mask", "window_to_hu"]
