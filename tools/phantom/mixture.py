"""The mixture of synthetic heads that the bundles' networks learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.core.errors import InputError
from tools.phantom.anatomy.maps import list_maps
from tools.phantom.cases import PhantomCases

__all__ = ["training_heads"]

SHAPE = [256, 256, 32]
SPACINGS = [[0.9, 0.9, 5.0], [0.9, 0.9, 5.0], [0.85, 0.85, 4.0], [0.9, 0.9, 7.0], [0.95, 0.95, 2.5]]
"""In mm, one for each head."""

KINDS = ["any", "any", "any", "any", "edh", "sdh", "normal"]
"""Layers beside the skull more often than among patients, and more heads without hemorrhage."""


def training_heads(
    anatomy: str | Path | None,
    background: str | Path | None,
    validation_maps: Sequence[str] = (),
    sources: Sequence[Mapping[str, Any]] | None = None,
    seed: int = 11,
    **options: Any,
) -> PhantomCases:
    """Heads of real anatomy, also with looks beyond what scanners do, in a real scan, and procedural ones.

    Their shares are 35, 35, 20 and 10 %.

    Args:
        anatomy: folder of label maps, see docs/phantom.md.
        background: a real scan without blood, NIfTI file or DICOM folder.
        validation_maps: names of maps that no head is made of; the others all are used.
        sources: another mixture, see `PhantomCases`; then the arguments above are not used.
        seed: of everything random.
        options: further arguments of `PhantomCases`.

    Raises:
        InputError: there is no folder of maps or no background; and what `PhantomCases` refuses.
    """
    if sources is None:
        for option, what in (
            (anatomy, "anatomy, a folder of label maps"),
            (background, "background, a scan"),
        ):
            if option is None:
                raise InputError(f"expected {what}, found none: docs/phantom.md says where they come from")
        maps = [path.name.split(".")[0] for path in list_maps(str(anatomy), None)]
        maps = [name for name in maps if name not in validation_maps]
        if not maps:
            raise InputError(f"{anatomy}: expected label maps besides those of the validation, found none")
        heads = {"anatomy": anatomy, "maps": maps, "shape": SHAPE, "spacing": SPACINGS, "kind": KINDS}
        scan = {"anatomy": anatomy, "maps": maps[:1], "shape": SHAPE, "background": background, "kind": KINDS}
        sources = [
            {"share": 0.35, **heads},
            {"share": 0.35, **heads, "appearance": "wide"},
            {"share": 0.20, **scan},
            {"share": 0.10, "shape": SHAPE, "spacing": SPACINGS},
        ]
    return PhantomCases(sources, seed=seed, **options)
