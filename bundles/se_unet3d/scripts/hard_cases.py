"""Cases that a first training got wrong, added again to the next, flipped and turned."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import Flip, MapTransform, Rotate90

from tools.core.errors import InputError
from tools.sampling.patches import SYMMETRIES

__all__ = ["TurnHardCased", "repeat_hard_cases"]

TURN_KEY = "turn"


def repeat_hard_cases(
    items: Sequence[Mapping[str, Any]],
    hard_cases: Sequence[str],
    copies: int = 3,
    known: Sequence[Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """The cases, and `copies` further entries of each hard one, which `TurnHardCased` will tell apart.

    Args:
        items: entries of a datalist.
        hard_cases: names (`case`) of cases; those that are not among `items` belong to another fold.
        copies: further entries per hard case, 0 to 5, each under another of
            `tools.sampling.patches.SYMMETRIES`.
        known: entries of all folds, among which hard cases must be; None leaves a misspelt name unnoticed.

    Raises:
        InputError: more copies than there are ways to turn a case, or a hard case that is not known.
    """
    if not 0 <= copies < len(SYMMETRIES):
        raise InputError(f"hard_case_copies: expected 0 to {len(SYMMETRIES) - 1}, found {copies}")
    names = {str(name) for name in hard_cases}
    unknown = sorted(names - {str(item.get("case")) for item in known}) if known is not None else []
    if known is not None and unknown:
        example = known[0].get("case")
        raise InputError(
            f"hard_cases: expected names of training cases, such as {example}, found {unknown[0]!r}"
        )
    hard = [item for item in items if str(item.get("case")) in names]
    return [*map(dict, items), *({**item, TURN_KEY: turn + 1} for item in hard for turn in range(copies))]


class TurnHardCased(MapTransform):
    """Flip or turn the slices of a case: its entry `turn` is an index of `tools.sampling.patches.SYMMETRIES`.

    A case without that entry is left as it is. Affines follow, so that voxel sizes stay true.

    Args:
        keys: volumes (C, X, Y, Z).
        turn_key: entry with the index.
    """

    def __init__(
        self, keys: KeysCollection, turn_key: str = TURN_KEY, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.turn_key = turn_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        turn = int(d.get(self.turn_key, 0))
        if turn:
            step = Flip(turn - 1) if turn < 3 else Rotate90(turn - 2, (0, 1))
            for key in self.key_iterator(d):
                d[key] = step(d[key])
        return d
