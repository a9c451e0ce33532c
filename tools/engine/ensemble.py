"""Several trained networks as one: mean of their probabilities, and how far they disagree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from tools.core.errors import InputError
from tools.core.tensors import plain, with_metadata_of
from tools.engine.checkpoint import load_weights, matching_files, require_weights
from tools.engine.precision import with_precision


class EnsembleInferer(Inferer):
    """Mean probabilities of several networks and, as last channel, how far they disagree.

    That is the standard deviation over the networks (of the population: 0 where all agree, at most 0.5) of
    one minus the background's probability, of the maps which each network alone would have written.

    Args:
        inferer: from an image and one network to probabilities (batch, classes, spatial...), background
            first, such as `tools.engine.slices.SliceProbabilityInferer`.
    """

    def __init__(self, inferer: Callable[..., Tensor]) -> None:
        super().__init__()
        self.inferer = inferer

    @torch.no_grad()
    def __call__(  # type: ignore[override] # several networks in the place of one
        self, inputs: Tensor, network: Sequence[nn.Module], *args: Any, **kwargs: Any
    ) -> Tensor:
        """
        Args:
            inputs: in shape (batch, channels, spatial_1, spatial_2[, spatial_3]).
            network: the members, such as `load_members` gives them.
            args, kwargs: passed on to the inferer.

        Returns:
            float32 in shape (batch, classes + 1, spatial_1, ...), on the device of the last member's; a
            MetaTensor if the input is one.
        """
        # Welford's running mean and sum of squares: one map at a time, without loss of small deviations
        mean = squares = None
        for count, member in enumerate(network, start=1):
            probability = plain(self.inferer(inputs, member, *args, **kwargs))
            if mean is None or squares is None:
                mean, squares = probability, torch.zeros_like(probability[:, :1])
                continue
            mean, squares = (part.to(probability.device) for part in (mean, squares))  # where memory lasted
            difference = probability - mean
            mean = mean + difference / count
            squares += difference[:, :1] * (probability - mean)[:, :1]
        if mean is None or squares is None:
            raise InputError("ensemble: expected one network or more, found none")
        result = torch.cat([mean, (squares / len(network)).sqrt()], 1)
        return with_metadata_of(inputs, result)


def find_checkpoints(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The weights files that are meant: a file, a pattern such as `folds/*/model.pt`, or a list of either.

    Raises:
        InputError: a name or pattern for which there is no file, or one file twice.
    """
    entries = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[Path] = []
    for entry in entries:
        files = matching_files(entry)
        if not files:
            raise InputError(f"{entry}: expected weights of the ensemble's members, found no such file")
        found += files
    if not found:
        raise InputError("ensemble: expected files with weights, found an empty list")
    twice = {str(file) for file in found if found.count(file) > 1}
    if twice:
        raise InputError(f"{min(twice)}: expected each of the ensemble's members once, found it again")
    return found


def load_members(
    network: nn.Module,
    paths: str | Path | Sequence[str | Path],
    device: torch.device | str = "cpu",
    amp: bool | str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> nn.ModuleList:
    """One copy of a network for each file of weights, ready to infer.

    Args:
        network: as the members were before training; not changed. Not one that `with_precision` has wrapped.
        paths: see `find_checkpoints`.
        device: where the members go.
        amp: see `tools.engine.precision.autocast_dtype`.
        settings: what all members will be shown, see `tools.engine.checkpoint.require_weights`.

    Raises:
        InputError: see `find_checkpoints`; also for weights of another network or other settings.
    """
    members = nn.ModuleList()
    for path in find_checkpoints(paths):
        require_weights(path, settings, network)
        member = copy.deepcopy(network)
        load_weights(member, path)
        members.append(with_precision(member.eval(), device, amp))
    return members
