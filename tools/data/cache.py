"""Deterministic transforms computed once and kept on disk, keyed by file contents and parameters."""

from __future__ import annotations

import functools
import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.data import MetaTensor, PersistentDataset
from monai.utils import enums

import tools
from tools.core.files import input_files, replacing

logger = logging.getLogger(__name__)

#: What entries hold besides tensors and plain values. Nothing else is loaded: a foreign entry runs no code.
PLAIN: list[Any] = [
    np.ndarray,
    np.dtype,
    np.array(0).__reduce__()[0],  # how NumPy's arrays and numbers are put together again
    np.float64(0).__reduce__()[0],
    *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"},
    *{type(np.dtype(kind)) for kind in "US"},
    MetaTensor,
    *(kind for kind in vars(enums).values() if isinstance(kind, type) and issubclass(kind, str)),
]


class CachedDataset(PersistentDataset):
    """MONAI's `PersistentDataset`, keyed by what the files hold rather than by their names.

    A changed image, label or transform argument makes a new entry; a copied data set finds the old ones.
    Entries are written in one step, so an interrupted run leaves none that is half written.

    Args:
        data: list of dictionaries.
        transform: transforms; those before the first random one are cached.
        cache_dir: folder of the cache; None computes every time.
    """

    def __init__(self, data: Sequence[Mapping], transform: Callable, cache_dir: str | Path | None) -> None:
        super().__init__(data, transform, cache_dir, content_hash, track_meta=True, weights_only=False)
        self.set_transform_hash(transform_hash)

    @property
    def fingerprint(self) -> str:
        """Hash of all data and of the deterministic transforms: another one means other images."""
        digest = hashlib.blake2b(self.transform_hash.encode(), digest_size=8)
        for item in self.data:
            digest.update(content_hash(item))
        return digest.hexdigest()

    def _cachecheck(self, item_transformed: Mapping) -> Any:
        if self.cache_dir is None:
            return self._pre_transform(dict(item_transformed))
        key = self.hash_func(item_transformed).decode() + self.transform_hash
        entry = self.cache_dir / f"{key}.pt"
        if entry.is_file():
            try:
                with torch.serialization.safe_globals(PLAIN):
                    return torch.load(entry, weights_only=True)
            except Exception as error:  # torch, zip and pickle each raise their own
                cause = str(error).splitlines()[0] if str(error) else type(error).__name__
                fault = f"expected an entry of the cache, found another or a damaged file ({cause})"
                logger.warning("%s: %s; made anew", entry, fault)
        result = self._pre_transform(dict(item_transformed))
        with replacing(entry) as partial:
            torch.save(result, partial)
        return result


def content_hash(item: Mapping[str, Any]) -> bytes:
    """Hash of a datalist entry in which paths of files count as the bytes of those files.

    A name, or a text that is empty, is no path, whatever the working folder holds.
    """
    digest = hashlib.blake2b(digest_size=12)
    for key in sorted(item):
        digest.update(f"{key}=".encode())
        value = item[key]
        may_be_path = isinstance(value, str | Path) and value and key not in ("case", "patient")
        if may_be_path and Path(value).is_file():
            digest.update(_file_hash(Path(value)))
        elif may_be_path and Path(value).is_dir():
            for file in sorted(input_files(value)):
                digest.update(_file_hash(file))
        else:
            _update(digest, value)
    return digest.hexdigest().encode()


def _file_hash(file: Path) -> bytes:
    """Hash of a file's name and bytes, which are read once as long as size and time stay the same."""
    status = file.stat()
    return _read_hash(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _read_hash(file: Path, size: int, time: int) -> bytes:
    return hashlib.blake2b(file.name.encode() + b"\0" + file.read_bytes(), digest_size=12).digest()


def transform_hash(transforms: Sequence[Callable]) -> bytes:
    """Hash of transforms: their classes, all their arguments, and the versions of the code behind them."""
    digest = hashlib.blake2b(f"{tools.__version__} {monai.__version__}".encode(), digest_size=8)
    _update(digest, list(transforms))
    return digest.hexdigest().encode()


def _update(digest: Any, value: Any) -> None:
    """Feed `value` to the digest by what it holds, never by where it lies in memory."""
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(f"{key}:".encode())
            _update(digest, value[key])
    elif isinstance(value, set | frozenset):
        _update(digest, sorted(value, key=str))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for element in value:
            digest.update(b",")
            _update(digest, element)
    elif isinstance(value, torch.Tensor | np.ndarray):
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.random.RandomState):
        pass  # part of every Randomizable; deterministic transforms draw nothing from it
    elif isinstance(value, str | bytes | int | float | bool | None | torch.dtype | torch.device | Path):
        digest.update(repr(value).encode())
    elif hasattr(value, "__qualname__"):  # functions and classes
        digest.update(f"{value.__module__}.{value.__qualname__}".encode())
    else:
        digest.update(f"{type(value).__module__}.{type(value).__qualname__}".encode())
        state = getattr(value, "__dict__", {})
        # MONAI adds its tracing switch at the first call: the hash must not depend on whether there was one
        _update(digest, {name: part for name, part in state.items() if not isinstance(part, threading.local)})
