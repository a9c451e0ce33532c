"""Whether the networks of a bundle's configurations take its weights, each key and no other.

`monai.bundle.load` and MONAI Label copy what fits into a network, and say nothing of the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from headct.predict.model.bundle import own_scripts
from tools.core.errors import first_line, input_error
from tools.engine.checkpoint import load_weights

__all__ = ["strict_faults"]


def strict_faults(folder: Path, configurations: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One sentence for each configuration whose `network_def` is not the network of `models/model.pt`.

    An overlay that `models/model.json` names makes `train.json` fit, see `json_configurations`.

    Args:
        folder: the bundle; its `scripts` are run.
        configurations: by path in the bundle, see `json_configurations`.
    """
    for name, configuration in configurations.items():
        parser = ConfigParser(copy.deepcopy(dict(configuration)))  # it writes into what it parses
        parser["bundle_root"] = str(folder)
        try:
            with own_scripts(folder):
                load_weights(parser.get_parsed_content("network_def"), folder / "models" / "model.pt")
        except Exception as error:  # whatever a configuration or a network may raise
            yield f"{name}: {input_error(error) or first_line(error)}"
