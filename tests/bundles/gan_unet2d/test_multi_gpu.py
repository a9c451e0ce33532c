"""Two processes train both networks alike through both phases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tools.phantom import write_phantoms


def test_two_processes_keep_the_same_networks(bundle, tmp_path):
    write_phantoms(
        tmp_path / "data", cases=3, seed=4, folds=3, kind="any", shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0)
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            __file__,
            str(tmp_path),
        ],
        cwd=bundle,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join([str(bundle), os.environ.get("PYTHONPATH", "")]),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in ("network_def", "discriminator_def"):
        weights = {key for key in first[name] if "running" not in key and "num_batches" not in key}
        assert all(torch.equal(first[name][key], second[name][key]) for key in weights), name
        assert not all(torch.equal(first[name][key], first["start"][name][key]) for key in weights), name
    assert first["against"]
    assert second["against"]
    assert first["image"].shape == (2, 1, 32, 32)
    assert not torch.equal(first["image"], second["image"])  # each process had slices of its own
    assert (tmp_path / "model.pt").is_file()


def _train(folder: Path) -> None:
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        ["configs/train.yaml", "configs/multi_gpu_train.yaml"], workflow_type="train",
        dataset_dir=str(folder / "data"), cache_dir=str(folder / "cache"), ckpt_dir=str(folder),
        output_dir=str(folder / "eval"), size=[32, 32], slices_per_case=4, batch_size=2, features=4,
        discriminator_features=4, pretrain_epochs=1, max_epochs=3, seed=1,
    )  # fmt: skip
    workflow.initialize()
    part = workflow.parser.get_parsed_content
    names = ("network_def", "discriminator_def")
    start = {name: {k: v.clone() for k, v in part(name).state_dict().items()} for name in names}
    workflow.run()
    result = {name: part(name).state_dict() for name in names}
    against, image = part("phases").against_discriminator, part("train#trainer").state.output[0]["image"]
    torch.save(
        {**result, "start": start, "against": against, "image": image},
        folder / f"rank{os.environ['RANK']}.pt",
    )
    workflow.finalize()


if __name__ == "__main__":
    _train(Path(sys.argv[1]))
