"""Numbers of tissues and structures in a label map, alone and in named groups.

Inside the brain these are FreeSurfer's numbers (FreeSurferColorLUT.txt); outside it those of the
whole-head maps of SynthSeg (Billot et al., Medical Image Analysis 2023), which their authors do not name: the
names here were found by looking. Numbers from 601 are ours: structures that no map holds and that we draw.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

AIR = 0

WHITE_LEFT, WHITE_RIGHT = 2, 41
CORTEX_LEFT, CORTEX_RIGHT = 3, 42
LATERAL_LEFT, LATERAL_RIGHT = 4, 43
HORN_LEFT, HORN_RIGHT = 5, 44
CEREBELLAR_WHITE_LEFT, CEREBELLAR_WHITE_RIGHT = 7, 46
CEREBELLAR_CORTEX_LEFT, CEREBELLAR_CORTEX_RIGHT = 8, 47
THALAMUS_LEFT, THALAMUS_RIGHT = 10, 49
CAUDATE_LEFT, CAUDATE_RIGHT = 11, 50
PUTAMEN_LEFT, PUTAMEN_RIGHT = 12, 51
PALLIDUM_LEFT, PALLIDUM_RIGHT = 13, 52
THIRD, FOURTH, FIFTH = 14, 15, 72
BRAIN_STEM = 16
CSF = 24
CHIASM = 85

VESSEL = 502
EYE, LENS_ORBIT = 506, 508
SOFT = 507  # scalp, muscle and face
MUCOSA = 509
SKIN = 511
CORD = 512
SINUS = 514  # dural venous sinus
BONE = 515
MARROW = 516
PITUITARY = 530

FAT = 601
FALX = 602
TENTORIUM = 603
ARTERY = 604  # vessels of the base of the brain
PINEAL = 605
CHOROID_CALCIUM = 606
CALCIUM = 607  # in the basal ganglia or the falx
GRANULATION = 608  # arachnoid granulation, a pit in the inner table filled with fluid
AIR_CELLS = 609  # mastoid and ethmoid: air and thin bone
INFARCT = 610  # old, filled with fluid
MUSCLE = 611

#: FreeSurfer's structures that exist on both sides: left number to right number.
PAIRS = {
    2: 41, 3: 42, 4: 43, 5: 44, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54, 25: 57, 26: 58,
    28: 60, 30: 62, 31: 63, 78: 79, 136: 163, 137: 164,
}  # fmt: skip

#: Choroid plexus: FreeSurfer's 31 and 63; SynthSeg's whole-head maps number it by ventricle and side.
CHOROID = (31, 63, 136, 137, 163, 164)
LESIONS = (25, 57, 77, 78, 79)
WHITE = (2, 41, *LESIONS, 251, 252, 253, 254, 255)
CORTEX = (3, 42)
CEREBELLUM = (7, 8, 46, 47)
CEREBELLAR_WHITE = (7, 46)
CEREBELLAR_CORTEX = (8, 47)
VENTRICLES = (4, 5, 14, 15, 43, 44, 72, *CHOROID, CHOROID_CALCIUM)
BASAL_GANGLIA = (11, 12, 13, 50, 51, 52, 26, 58)
THALAMUS = (10, 49)
HIPPOCAMPUS = (17, 18, 53, 54)
VENTRAL = (28, 60)
DEEP_GREY = (*THALAMUS, *BASAL_GANGLIA, *HIPPOCAMPUS, *VENTRAL)
GREY = (*CORTEX, *CEREBELLAR_CORTEX, *DEEP_GREY)
CEREBRUM = (*WHITE, *CORTEX, *DEEP_GREY, CALCIUM)
#: Solid brain: no fluid, no dura.
PARENCHYMA = (*CEREBRUM, *CEREBELLUM, BRAIN_STEM, CHIASM, 30, 62, PINEAL)
FLUID = (CSF, GRANULATION, INFARCT)
DURA = (FALX, TENTORIUM)
#: All that lies inside the skull.
INTRACRANIAL = (*PARENCHYMA, *VENTRICLES, *FLUID, *DURA, SINUS, ARTERY)
LEFT = tuple(PAIRS)
RIGHT = tuple(PAIRS.values())
SKULL = (BONE, MARROW)
SCALP = (SOFT, SKIN, FAT, MUSCLE)

#: Every number that a map may hold once it has been read.
KNOWN = frozenset(
    (
        AIR, *INTRACRANIAL, *PAIRS, *RIGHT, VESSEL, EYE, LENS_ORBIT, SOFT, MUCOSA, SKIN, CORD, BONE, MARROW,
        PITUITARY, FAT, AIR_CELLS, MUSCLE,
    )
)  # fmt: skip

#: One more than the largest number: the length of a table that is indexed by a label.
COUNT = 1 + max(KNOWN)


def member_table(numbers: Iterable[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Bool table (COUNT,) that is true at the given numbers."""
    table = torch.zeros(COUNT, dtype=torch.bool, device=device)
    table[torch.as_tensor(list(numbers), device=device)] = True
    return table


def is_in(labels: torch.Tensor, numbers: Iterable[int]) -> torch.Tensor:
    """Bool tensor: where an integer label tensor holds one of the numbers."""
    numbers = tuple(numbers)
    if len(numbers) == 1:
        return labels == numbers[0]
    return look_up(member_table(numbers, labels.device), labels)


def look_up(table: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """table[labels]; on a CPU by NumPy, which is many times faster for small integers."""
    if labels.device.type != "cpu":
        return table[labels.to(torch.int32)]
    return torch.from_numpy(table.numpy()[labels.numpy()])


def mirror_table() -> torch.Tensor:
    """int16 table (COUNT,) that swaps the numbers of left and right structures."""
    table = torch.arange(COUNT, dtype=torch.int16)
    for left, right in PAIRS.items():
        table[left], table[right] = right, left
    return table
