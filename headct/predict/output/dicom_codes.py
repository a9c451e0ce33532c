"""What DICOM objects call things: SNOMED CT, DICOM and UCUM codes, of the context groups that DICOM names.

All of them but the three types of bleeding are in the lists that pydicom has from the standard; a test looks
them up there. Those lists have no code for epidural or intraventricular bleeding: both get the general one,
and intraventricular blood the ventricles as its place, which is the same statement in two codes.
"""

from __future__ import annotations

import re

from tools.core.extras import extra_packages

with extra_packages("DICOM SEG"):
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

__all__ = [
    "ABSENT", "CATEGORY", "CODES", "HEMORRHAGE", "HU", "LENGTH", "MAXIMUM", "MEAN", "ML", "NO_UNIT", "NUMBER",
    "PLACES", "PRESENCE", "PRESENT", "PROCEDURE", "SIDES", "VALUE", "VOLUME", "place_of", "type_of",
]  # fmt: skip

#: SNOMED CT codes by what a class is called; the first that matches. Only codes that could be verified are
#: here: epidural and intraventricular blood get the general one, and their segment is named.
CODES = (
    (r"subdural|\bsdh\b", "35486000", "Subdural intracranial hemorrhage"),
    (r"subarachnoid|\bsah\b", "21454007", "Subarachnoid intracranial hemorrhage"),
    (r"parenchym|intracerebral|\biph\b|\bich\b", "274100004", "Cerebral hemorrhage"),
    (r"", "1386000", "Intracranial hemorrhage"),
)
HEMORRHAGE = Code("1386000", "SCT", "Intracranial hemorrhage")
#: Where it is, of CID 7151; the first that matches.
PLACES = (
    (r"intraventric|\bivh\b", codes.SCT.BrainVentricle),
    (r"subarachnoid|\bsah\b", codes.SCT.SubarachnoidSpace),
    (r"parenchym|intracerebral|\biph\b|\bich\b", codes.SCT.Brain),
    (r"", codes.SCT.Intracranial),
)
CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # of CID 7150
SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}  # of CID 244; the midline is none of it
VOLUME = codes.SCT.Volume  # of CID 7472
LENGTH = codes.SCT.LongAxis  # of CID 7470
VALUE = codes.DCM.AttenuationCoefficient  # of CID 6141
NUMBER = codes.SCT.NumberOfLesions
MEAN, MAXIMUM = codes.SCT.Mean, codes.SCT.Maximum  # of CID 7464
ML, HU = Code("mL", "UCUM", "milliliter"), codes.UCUM.HounsfieldUnit
NO_UNIT = codes.UCUM.NoUnits
PRESENCE = codes.DCM.PresenceOfProperty
PRESENT, ABSENT = codes.SCT.Present, codes.SCT.Absent  # of CID 240
PROCEDURE = codes.LN.CTUnspecifiedBodyRegion  # of CID 100, which has no CT of the head without perfusion


def type_of(name: str) -> Code:
    """The code of a class, by its name."""
    return next(
        Code(code, "SCT", meaning) for pattern, code, meaning in CODES if re.search(pattern, name, re.I)
    )


def place_of(name: str) -> Code:
    """Where the bleeding of a class is, by its name."""
    return next(code for pattern, code in PLACES if re.search(pattern, name, re.I))
