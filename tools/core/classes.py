"""Class values of masks that tell types of hemorrhage: one numbering for data sets, phantoms and scores."""

from __future__ import annotations

#: Epidural, intraparenchymal, intraventricular, subarachnoid, subdural: BHSD's order.
CLASS_VALUES = {"edh": 1, "iph": 2, "ivh": 3, "sah": 4, "sdh": 5}
TYPES = tuple(CLASS_VALUES)
#: Where a mask shows hemorrhage and its type is not known.
UNKNOWN_VALUE = 255
