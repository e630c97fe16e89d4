"""What integral and direct regression minimise; facts from github.com/JimmySuen/integral-human-pose.

Predicted and true coordinates and their weights are (batch, joints, 3); a joint that is not annotated has weight 0, a
2D annotation weight 0 in z. Sums over all coordinates are divided by the batch alone, not by joints or weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def absolute_loss(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weighted absolute differences, a mean over the batch."""
    return ((predicted - target).abs() * weights).sum() / len(target)


def squared_loss(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weighted squared differences, a mean over the batch."""
    return ((predicted - target).square() * weights).sum() / len(target)


LOSSES: Mapping[str, Loss] = {"L1": absolute_loss, "L2": squared_loss}
