"""Public data sets of head CT with hemorrhage, checked file by file and written as MONAI datalists.

Nothing is downloaded: `headct datasets list` says where each set comes from, and
`headct datasets prepare` reads the copy that the user has.

| file | idea |
|---|---|
| `catalogue` | what each set is, its licence, how to get it |
| `prepare` | one set on disk -> a datalist with folds, and a report |
| `export` | a datalist -> raw data of nnU-Net v2 |
| `layouts/` `ct_ich_v1`, `bhsd`, `folder`, `nnunet` ... | one layout each |
| `layouts/volumes` | what the layouts share: NIfTI pairs |
| `layouts/pairing` | which mask belongs to which image |
| `masks` | a mask in our class values on the grid of its image |
| `layouts/dicom`, `layouts/negatives` | DICOM converted; scans without hemorrhage |
| `layouts/ct_ich_tables` | the two tables of CT-ICH |
| `folds` | splits by patient, or by slice |
| `collection`, `report` | what an adapter found, and how that is printed |

Class values: 0 background, 1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH; 255 hemorrhage whose type nobody wrote down.
"""

from headct.datasets.catalogue import CATALOGUE, datasets
from headct.datasets.prepare import prepare

__all__ = ["CATALOGUE", "datasets", "prepare"]
