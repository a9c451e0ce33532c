"""Which hemorrhages a kind of case holds, and which of them are its label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.core.classes import CLASS_VALUES as CLASSES
from tools.core.errors import InputError

#: Named kinds; besides them any combination such as `"edh+sdh"` can be asked for.
KINDS = ("iph_ivh", "any", "normal", *CLASSES)

#: Share of `any` cases without hemorrhage.
NORMAL_SHARE = 0.15

#: How often each type is seen in an `any` case that has hemorrhage.
TYPE_SHARE = {"edh": 0.2, "iph": 0.5, "ivh": 0.25, "sah": 0.35, "sdh": 0.35}


def check_kind(kind: str) -> str:
    """Return `kind`, or raise `InputError` if it names no known hemorrhage."""
    if isinstance(kind, str) and (kind in KINDS or ("+" in kind and set(kind.split("+")) <= set(CLASSES))):
        return kind
    raise InputError(
        f"unknown kind {kind!r}: expected one of {', '.join(KINDS)}, or types joined by '+' such as edh+sdh"
    )


def draw_types(kind: str, index: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Hemorrhage types of case number `index`, in class order.

    `iph_ivh` gives every case an IPH and every third case an IVH too, so that each fold has some.
    """
    check_kind(kind)
    if kind == "normal":
        return ()
    if kind == "iph_ivh":
        return ("iph", "ivh") if index % 3 == 1 else ("iph",)
    if kind == "any":
        if rng.random() < NORMAL_SHARE:
            return ()
        drawn = [name for name, share in TYPE_SHARE.items() if rng.random() < share]
        return tuple(drawn) or (str(rng.choice(list(CLASSES))),)
    return tuple(name for name in CLASSES if name in kind.split("+"))


def lesion_types(kind: str, lesion: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """Types that make up the binary label: those named by `lesion`, else IPH for `iph_ivh`, else all."""
    if lesion is None:
        return ("iph",) if kind == "iph_ivh" else tuple(CLASSES)
    names = lesion.replace("+", ",").split(",") if isinstance(lesion, str) else lesion
    names = [str(name).strip().lower() for name in names] if isinstance(names, Sequence) else []
    if not names or not set(names) <= set(CLASSES):
        raise InputError(f"unknown lesion {lesion!r}: expected one or more of {', '.join(CLASSES)}")
    return tuple(name for name in CLASSES if name in names)
