"""What happens during a turn of the tube: the head moves, the table moves.

Waves along a direction are seen by the views from that direction only. A head that moves is therefore a slice
whose waves are shifted by where the head was at that view, and a helical scan one whose waves come from a
little above or below, in turn.
"""

from __future__ import annotations

import torch


def shifted(
    waves: torch.Tensor, fx: torch.Tensor, fy: torch.Tensor, shift: tuple[float, float]
) -> torch.Tensor:
    """Half-complex waves (Z, X, Y // 2 + 1) of a head that moves evenly by `shift` mm over half a turn.

    Half of it comes before the middle of the turn and half after, so that on average the head stays in place.
    """
    angle = torch.atan2(fy.expand(fx.shape[0], -1), fx.expand(-1, fy.shape[1]))
    when = angle / torch.pi - 0.5
    return waves * torch.exp(-2j * torch.pi * when * (fx * shift[0] + fy * shift[1]))


def helical(waves: torch.Tensor, fx: torch.Tensor, fy: torch.Tensor, share: float, start: float):
    """Waves of a helical scan: towards one side they come from `share` of a slice above, across from below.

    The direction turns by `start` radians from slice to slice, as the tube stands elsewhere when the table
    arrives.
    """
    angle = torch.atan2(fy.expand(fx.shape[0], -1), fx.expand(-1, fy.shape[1]))
    turn = start * torch.arange(waves.shape[0], device=waves.device)[:, None, None]
    above, below = torch.cat([waves[1:], waves[-1:]]), torch.cat([waves[:1], waves[:-1]])
    return waves + (share * torch.cos(2 * (angle - turn))) * (above - below) / 2
