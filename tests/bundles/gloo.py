"""A bundle trained by one process, and by two with gloo at the same global batch: they must do the same.

Each process trains by the documented command. An overlay makes the training small and attaches a `Watch`,
which keeps what happened; each bundle's `test_multi_gpu.py` says what is small there, and compares.

Some things of a training depend on how a batch is shared out, and are taken away:

- batch normalisation takes the statistics of each process's own half (`SyncBatchNorm`, which takes those of
  both, runs on GPUs alone): `Watch` lets it use mean 0 and variance 1, like a new network in evaluation mode;
- dropout and random changes of the slices are drawn by each process for itself: `Watch` sets the drop rates
  to 0, the settings leave the changes out;
- the Dice loss over a batch is no mean over its images: the settings take it image by image;
- Adam divides a gradient by its own size, and so makes whole steps of rounding errors where the gradient is 0
  but for them: the settings give it a larger eps, where it matters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Watch", "assert_same_training", "train", "written_logs"]

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")


def train(
    bundle: Path,
    folder: Path,
    settings: Mapping[str, Any],
    batch_size: int,
    processes: int = 1,
    variants: Sequence[str] = (),
    networks: Sequence[str] = ("network_def",),
) -> list[dict[str, Any]]:
    """Train in one process or two, on the CPU.

    Args:
        bundle: its folder.
        folder: for weights, logs and what `Watch` keeps.
        settings: keys of the configuration.
        batch_size: of all processes together.
        processes: 1 or 2.
        variants: overlays in `configs/variants/`, without suffix.
        networks: keys of the networks to watch.

    Returns:
        What `Watch` kept in each process.
    """
    folder.mkdir()
    watch = {
        "_target_": "tests.bundles.gloo.Watch",
        "trainer": "@train#trainer",
        "networks": {name: f"@{name}" for name in networks},
        "folder": str(folder),
    }
    folders = {"ckpt_dir": str(folder), "output_dir": str(folder / "eval")}
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
    overlay = {**plain, **folders, "batch_size": batch_size // processes, "amp": False}
    (folder / "overlay.json").write_text(json.dumps({**overlay, "+initialize": [watch]}))
    names = ["train", *(f"variants/{name}" for name in variants), *["multi_gpu_train"] * (processes > 1)]
    files = [*(f"configs/{name}.yaml" for name in names), str(folder / "overlay.json")]
    launcher = TORCHRUN if processes > 1 else ()
    command = [
        sys.executable,
        "-m",
        *launcher,
        "monai.bundle",
        "run",
        "training",
        "--config_file",
        str(files),
    ]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]


def assert_same_training(
    one: dict[str, Any], two: Sequence[dict[str, Any]], rtol: float = 1e-5, atol: float = 5e-6
) -> None:
    """The same images in each batch, the same loss curves, the same weights.

    Args:
        one: what the one process kept.
        two: what each of two processes kept.
        rtol: relative tolerance of the loss curves: both sum the same terms in another order.
        atol: absolute tolerance of the weights at the end.
    """
    first, second = two
    assert one["seen"]
    assert len(one["seen"]) == len(first["seen"]) == len(second["seen"])
    for whole, *halves in zip(one["seen"], first["seen"], second["seen"], strict=True):
        assert len(halves[0]) == len(halves[1])
        assert torch.allclose(whole.sort()[0], torch.cat(halves).sort()[0])
        assert len(whole.unique()) > 1  # or one could not tell one image from another
    curves = {name: mean([one], name) for name in one["losses"][-1]}
    for name, curve in curves.items():
        assert torch.allclose(mean(two, name), curve, rtol=rtol, atol=0), (name, curve, mean(two, name))
    for name, end in one["weights"][-1].items():
        start = one["weights"][0][name]
        for key, value in end.items():
            assert torch.equal(start[key], first["weights"][0][name][key]), key
            assert torch.equal(first["weights"][-1][name][key], second["weights"][-1][name][key]), key
            assert torch.allclose(value, first["weights"][-1][name][key], rtol=0, atol=atol), key
        # what hardly learned would be the same whatever the processes did
        assert max((end[key] - start[key]).abs().max() for key in end) > 100 * atol, name


def mean(ranks: Sequence[dict[str, Any]], name: str) -> Tensor:
    """A loss of every iteration that has it, as the mean over the processes, each with as many images."""
    curves = [[step[name] for step in rank["losses"] if name in step] for rank in ranks]
    return torch.tensor(curves).mean(0)


def written_logs(folder: Path) -> int:
    """Logs of TensorBoard that something was written to; one without has 88 bytes."""
    return sum(log.stat().st_size > 100 for log in (folder / "eval").glob("events.out.tfevents.*"))


class Watch:
    """Keeps what a process trains on and what comes of it; takes batch statistics and dropout away.

    At the end of the training `rank<n>.pt` holds

    - `seen`: for every iteration the sum of each of its images, which tells them apart;
    - `losses`: for every iteration each of its losses;
    - `weights`: of every network, at the start and after every epoch.

    Args:
        trainer: to watch.
        networks: by their names; changed in place.
        folder: to write to.
    """

    def __init__(self, trainer: Engine, networks: Mapping[str, nn.Module], folder: str) -> None:
        self.networks = networks
        self.path = Path(folder, f"rank{os.environ.get('RANK', '0')}.pt")
        self.kept: dict[str, list[Any]] = {"seen": [], "losses": [], "weights": []}
        for network in networks.values():
            for module in network.modules():
                without_chance(module)
        trainer.add_event_handler(Events.STARTED, self.keep_weights)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.keep_iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.keep_weights)
        trainer.add_event_handler(Events.COMPLETED, lambda engine: torch.save(self.kept, self.path))

    def keep_iteration(self, engine: Engine) -> None:
        """An iteration's images and losses."""
        (output,) = engine.state.output
        self.kept["seen"].append(output["image"].double().flatten(1).sum(1))
        losses = {f"{key}": value.item() for key, value in output.items() if key.endswith("loss")}
        self.kept["losses"].append(losses)

    def keep_weights(self, engine: Engine) -> None:
        """What is learned, as it is now."""
        self.kept["weights"].append(
            {
                name: {key: value.detach().clone() for key, value in network.named_parameters()}
                for name, network in self.networks.items()
            }
        )


def without_chance(module: nn.Module) -> None:
    """No dropout, and batch normalisation by mean 0 and variance 1."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        module.p = 0.0
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        mean, variance = torch.zeros(module.num_features), torch.ones(module.num_features)
        module.forward = lambda x: F.batch_norm(x, mean, variance, module.weight, module.bias, eps=module.eps)
