"""Metadata are checked against the schema that they name, from a file or fetched, if it can be had."""

from __future__ import annotations

import json

import pytest

from headct.zoo.metadata_schema import SchemaNotAtHand, schema_faults
from tools.core.errors import InputError

SCHEMA = {"type": "object", "required": ["task"], "properties": {"version": {"type": "string"}}}


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema" / "rules.json"
    path.parent.mkdir()
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.mark.parametrize("source", ["file", "at hand", "fetched"])
def test_faults(schema, monkeypatch, source):
    """All of them, and none of metadata without faults; a file:// address needs no network."""
    if source == "at hand":
        monkeypatch.setenv("HEADCT_REAL_DATA", str(schema.parents[1]))
    arguments = {"schema": schema} if source == "file" else {"online": source == "fetched"}
    url = schema.as_uri()
    assert schema_faults({"schema": url, "version": "1", "task": ""}, **arguments) == []
    assert schema_faults({"schema": url, "version": 1}, **arguments) == [
        "metadata: 'task' is a required property",
        "version: 1 is not of type 'string'",
    ]


def test_what_the_real_schema_asks_for(real_data):
    """MONAI's: the keys that its documentation calls required."""
    url = "https://example.org/meta_schema_20240725.json"
    required = {"task", "authors", "network_data_format", "required_packages_version"}
    faults = " ".join(schema_faults({"schema": url}, real_data / "schema" / url.rsplit("/", 1)[-1]))
    assert all(f"'{key}' is a required property" in faults for key in required)


def test_no_schema(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADCT_REAL_DATA", str(tmp_path))
    metadata = {"schema": "https://example.org/none.json"}
    assert schema_faults({}) == ["expected the key schema, found none"]
    with pytest.raises(SchemaNotAtHand, match=r"no copy of https://example\.org/none\.json"):
        schema_faults(metadata)
    with pytest.raises(InputError, match=r"mine\.json: expected a JSON schema, found no such file"):
        schema_faults(metadata, tmp_path / "mine.json")
