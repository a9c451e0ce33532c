"""Weights of a training made ready to ship: half the size, with a note of where they come from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tools.core.errors import InputError
from tools.core.files import write_bytes
from tools.engine.checkpoint import read_weights, require_weights, weights_settings

__all__ = ["ship_weights"]


def ship_weights(source: str | Path, out: str | Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write a plain state_dict in fp16, which loads into a float32 network, and a note beside it.

    A tensor with values beyond fp16's range, such as a variance of a batch normalisation, stays as it is.

    Args:
        source: `model.pt` of a training; what lies beside it in `model.json` is taken along.
        out: file to write.
        notes: for the file beside it, such as the data that was trained on.

    Raises:
        InputError: there are no weights, or one is NaN or infinite.
    """
    source, out = Path(source), Path(out)
    require_weights(source)
    weights = read_weights(source)
    for name, value in weights.items():
        if not value.isfinite().all():
            raise InputError(f"{source}: expected finite weights, found NaN or infinite ones in {name}")
    half = {name: _half(value) for name, value in weights.items()}
    stream = io.BytesIO()
    torch.save(half, stream)
    write_bytes(out, stream.getvalue())
    settings = {**weights_settings(source), "shipped": True, **(notes or {})}
    write_bytes(out.with_suffix(".json"), (json.dumps(settings, indent=2) + "\n").encode())
    print(f"{out}: {len(stream.getvalue()) / 1e6:.1f} MB")


def _half(value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if half.isfinite().all() else value
