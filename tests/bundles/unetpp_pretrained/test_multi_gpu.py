"""Two processes train the same network, also when the encoder joins in after the first epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tools.phantom import write_phantoms


def test_two_processes_keep_the_same_network(bundle, tmp_path):
    spacing, shape = (3.0, 3.0, 10.0), (64, 64, 12)
    write_phantoms(tmp_path / "data", cases=3, seed=4, folds=3, kind="any", shape=shape, spacing=spacing)
    paths = os.pathsep.join([str(bundle), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
            __file__, str(tmp_path),
        ],
        cwd=bundle, capture_output=True, text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    learned = [key for key in first["end"] if "running" not in key and "num_batches" not in key]
    for key in learned:  # the running statistics are each process's own; rank 0's are saved
        assert torch.equal(first["end"][key], second["end"][key]), key
    for state in ("start", "frozen", "end"):
        encoder = {key: value for key, value in first[state].items() if key.startswith("encoder.")}
        same = [torch.equal(value, first["start"][key]) for key, value in encoder.items()]
        assert all(same) == (state != "end"), state
    assert not torch.equal(first["frozen"]["head.weight"], first["start"]["head.weight"])
    assert not torch.equal(first["image"], second["image"])  # each process had slices of its own
    assert (tmp_path / "model.pt").is_file()


def _train(folder: Path) -> None:
    from ignite.engine import Events
    from monai.bundle import ConfigWorkflow
    from scripts.network import EncoderUNetPlusPlus

    small = {"encoder": "vgg11_bn", "encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    torch.manual_seed(5)
    weights = folder / f"imagenet{os.environ['RANK']}.pt"
    torch.save(EncoderUNetPlusPlus(**small).encoder.state_dict(), weights)
    workflow = ConfigWorkflow(
        ["configs/train.yaml", "configs/variants/unfrozen.yaml", "configs/multi_gpu_train.yaml"],
        workflow_type="train", dataset_dir=str(folder / "data"), cache_dir=str(folder / "cache"),
        ckpt_dir=str(folder), output_dir=str(folder / "eval"), encoder_weights_path=str(weights),
        size=[32, 32], slices_per_case=4, batch_size=2, freeze_epochs=1, max_epochs=2, **small,
    )  # fmt: skip
    workflow.initialize()
    part = workflow.parser.get_parsed_content
    network, trainer, states = part("network_def"), part("train#trainer"), {}

    def keep(engine, name: str) -> None:
        states[name] = {key: value.clone() for key, value in network.state_dict().items()}

    trainer.add_event_handler(Events.STARTED, keep, "start")
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), keep, "frozen")
    workflow.run()
    keep(trainer, "end")
    output = trainer.state.output  # as MONAI's trainer leaves it, or as a list of one
    image = (output[0] if isinstance(output, list) else output)["image"]
    torch.save({**states, "image": image}, folder / f"rank{os.environ['RANK']}.pt")
    workflow.finalize()


if __name__ == "__main__":
    _train(Path(sys.argv[1]))
