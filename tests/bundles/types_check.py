"""What the overlays `types` and `anatomy` of a bundle must do, on a tiny set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from headct.predict.model.bundle import BundleModel
from tests.bundles.runs import check_inferred, held_out_case, workflow
from tools.phantom import write_phantoms

KINDS = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]
__all__ = ["MADE", "check_types", "typed_data"]

MADE = {  # of no label maps here
    "train#dataset#sources": [{"shape": [64, 64, 12], "spacing": [3.0, 3.0, 10.0]}],
    "sampler#pool": 2,
    "sampler#renewed": 1,
    "sampler#roi_size": [32, 32],
    "sampler#patches_per_case": 4,
    "sampler#batch_size": 4,
}


def typed_data(root: Path) -> dict[str, object]:
    """Keys of a data set of three heads with EDH and IPH."""
    spacing, shape = (3.0, 3.0, 10.0), (64, 64, 12)
    write_phantoms(root / "data", cases=3, seed=3, folds=3, kind="edh+iph", shape=shape, spacing=spacing)
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache")}


def check_types(
    overlays: Sequence[str],
    data: Mapping[str, Any],
    folder: Path,
    small: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train an epoch, evaluate, and infer by what stands beside the weights: it finds what evaluation did.

    Args:
        overlays: variants by name, `anatomy` among them.
        data: see `typed_data`.
        folder: for what is written.
        small: keys that make the network small, of training and evaluation.
        training: further keys of the training.

    Returns:
        the last output of the trainer.
    """
    files = ["train.yaml", *(f"variants/{name}.yaml" for name in overlays)]
    folders = {"ckpt_dir": str(folder), "output_dir": str(folder), "threshold": 0.2}
    more = {"max_epochs": 1, "val_interval": 1, "heads_dir": str(folder / "heads"), **(training or {})}
    run = workflow("train", *files, **data, **folders, **small, **{**MADE, **more})
    trainer = run.parser.get_parsed_content("train#trainer")
    run.run()
    assert len(list((folder / "heads").glob("*/*.pt"))) == 2
    assert json.loads((folder / "model.json").read_text())["out_channels"] == 6

    threshold = folders.pop("threshold")  # from here on it is the one beside the weights
    evaluation = workflow("infer", files[0], "evaluate.yaml", *files[1:], **data, **folders, **small)
    assert evaluation.parser.get_parsed_content("threshold") == threshold
    evaluation.run()
    columns = (folder / "metrics" / "per_case.csv").read_text().splitlines()[0].split(",")
    assert "dice_iph" in columns
    model = BundleModel(Path.cwd(), [folder / "model.pt"])
    assert model.threshold == threshold
    names = model.names  # of these weights, whatever those that ship are
    assert [name.split()[0] for name in names.values()] == KINDS
    case = held_out_case(str(data["dataset_dir"]))
    found = nib.load(folder / "predictions" / f"{case['case']}_seg.nii.gz").get_fdata()
    assert set(np.unique(found)) <= set(range(6))

    image = Path(str(data["dataset_dir"])) / case["image"]
    out = {"output_dir": str(folder / "out"), "ckpt_path": str(folder / "model.pt")}
    inference = workflow("infer", "inference.yaml", dataset_dir=str(image), **out)
    assert inference.parser.get_parsed_content("threshold") == threshold
    inference.run()
    check_inferred(folder / "out" / f"{case['case']}_seg.nii.gz", image, found > 0)
    (output,) = trainer.state.output
    return output
