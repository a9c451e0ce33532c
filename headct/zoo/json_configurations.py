"""A bundle's configurations as JSON, the form in which other programs find its network by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from tools.core.errors import InputError
from tools.engine.checkpoint import weights_settings

__all__ = ["json_configurations"]

SETTINGS = "tools.engine.checkpoint.weights_settings"


def json_configurations(folder: Path) -> dict[str, dict[str, Any]]:
    """What `train.json` and `inference.json` of a published bundle hold.

    `monai.bundle.load` and MONAI Label take them before YAML, and load `models/model.pt` without asking
    whether it fits. So `train.json` describes the network of the weights: it is `train.yaml` with the
    overlays that `models/model.json` names under `overlay`, if any: a path in the bundle, or several.
    `inference.json` is `inference.yaml`, and holds what `models/model.json` says for when it is read in
    another folder.

    Args:
        folder: the bundle.

    Returns:
        configurations by path in the bundle.

    Raises:
        InputError: there is no such overlay, or a configuration cannot be read.
    """
    weights = folder / "models" / "model.pt"
    trained = weights_settings(weights)
    result = {}
    for workflow in ("train", "inference"):
        files = [folder / "configs" / f"{workflow}.yaml"]
        if not files[0].is_file():
            continue
        named = trained.get("overlay") or []
        for overlay in [named] if isinstance(named, str) else named:
            if workflow == "train":
                files.append(folder / str(overlay))
                if not files[-1].is_file():
                    raise InputError(
                        f"{weights.with_suffix('.json')}: expected the file of an overlay under `overlay`, "
                        f"found {overlay!r}, which is none"
                    )
        try:
            configuration = ConfigParser.load_config_files(files)
            json.dumps(configuration)
        except Exception as error:  # of YAML's kinds, or a value that JSON has no word for
            reason = " ".join(str(error).split())[:200]
            names = " with ".join(map(str, files))
            raise InputError(f"{names}: expected a configuration in YAML, found {reason}") from error
        reader = configuration.get("trained")
        if isinstance(reader, dict) and reader.get("_target_") == SETTINGS:
            reader["otherwise"] = trained
        result[f"configs/{workflow}.json"] = configuration
    return result
