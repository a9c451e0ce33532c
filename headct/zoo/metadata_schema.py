"""Whether a bundle's metadata are what the JSON schema asks for that they name."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import jsonschema
from monai.apps.utils import download_url
from referencing.exceptions import Unresolvable

from tools.core.errors import InputError

__all__ = ["SchemaNotAtHand", "schema_at_hand", "schema_faults"]


class SchemaNotAtHand(Exception):
    """No copy of the schema here and no network: nothing is known about the metadata."""


def schema_faults(
    metadata: Mapping[str, Any], schema: str | Path | None = None, online: bool = False
) -> list[str]:
    """One sentence for each thing that is wrong, with the key it stands under.

    Args:
        metadata: content of `metadata.json`.
        schema: file of the JSON schema. Default: see `schema_at_hand`.
        online: fetch what the metadata name as their `schema` instead.

    Raises:
        SchemaNotAtHand: there is no copy, or with `online` no network.
        InputError: `schema` is no such file, or no JSON schema.
    """
    url = str(metadata.get("schema", ""))
    if not url:
        return ["expected the key schema, found none"]
    if online:
        try:
            text = _fetched(url)
        except (OSError, RuntimeError, ValueError) as error:
            reason = f"{url}: can't be fetched: {error}"
            if isinstance(error, URLError) and not isinstance(error, HTTPError):
                raise SchemaNotAtHand(reason) from error
            return [reason]
    else:
        file = Path(schema) if schema else schema_at_hand(url)
        if schema and not file.is_file():
            raise InputError(f"{file}: expected a JSON schema, found no such file")
        if not file.is_file():
            raise SchemaNotAtHand(f"no copy of {url} at hand: --schema FILE or --online")
        text = file.read_text("utf-8")
    source = schema or url
    try:
        rules = json.loads(text)
        validator = jsonschema.validators.validator_for(rules)
        validator.check_schema(rules)
        errors = sorted(validator(rules).iter_errors(metadata), key=str)
    except (ValueError, TypeError, RecursionError, jsonschema.SchemaError, Unresolvable) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source}: expected a JSON schema, found: {reason}") from error
    return [f"{'/'.join(map(str, e.absolute_path)) or 'metadata'}: {e.message[:200]}" for e in errors]


def schema_at_hand(url: str) -> Path:
    """Where this machine would have a copy: in the folder `schema` of $HEADCT_REAL_DATA."""
    return Path(os.environ.get("HEADCT_REAL_DATA", ""), "schema", url.rsplit("/", 1)[-1])


def _fetched(url: str) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "schema.json")
        download_url(url, file, progress=False)
        return file.read_text("utf-8")
