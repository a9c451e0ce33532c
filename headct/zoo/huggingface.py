"""The form in which Hugging Face shows a bundle: the model card at the root, with a header."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

__all__ = ["huggingface_readme"]


def huggingface_readme(bundle: Path, name: str) -> str:
    """`README.md` of the Hugging Face form: a YAML header, then the bundle's `docs/README.md`."""
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text("utf-8"))
    header = {
        "library_name": "monai",
        "license": "apache-2.0",
        "pipeline_tag": "image-segmentation",
        "tags": ["monai", "medical", "ct", "brain", "hemorrhage"],
        "model-index": [{"name": name, "results": _results(metadata)}],
    }
    card = (bundle / "docs" / "README.md").read_text("utf-8")
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{card}"


def _results(metadata: dict) -> list[dict]:
    """The figures of the metadata, in the notation of Hugging Face's `model-index`."""
    metrics = [
        {"type": key, "value": value, "name": key.replace("_", " ")}
        for key, value in metadata.get("eval_metrics", {}).items()
    ]
    if not metrics:
        return []
    task = {"type": "image-segmentation", "name": metadata["task"]}
    data = {"name": metadata["data_source"], "type": "synthetic"}
    return [{"task": task, "dataset": data, "metrics": metrics}]
