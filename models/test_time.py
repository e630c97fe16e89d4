"""Flip test and ensemble, for every model alike: a predictor from others, averaged.

A predictor takes a batch of whatever its model takes and gives poses (batch, joints, dims). What mirroring means is a
model's own business and is said once, by a `Mirror`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import Skeleton

Batch = TypeVar("Batch")
Predictor = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True)
class Mirror(Generic[Batch]):
    """How to show a model the mirrored world: `inputs` mirrors a batch, `poses` mirrors what came of it back."""

    inputs: Callable[[Batch], Batch]
    poses: Callable[[torch.Tensor], torch.Tensor]
    joined: Callable[[Batch, Batch], Batch] | None = None  # two batches as one, where a single pass is faster


def averaged(predictors: Sequence[Predictor[Batch]], mirror: Mirror[Batch], flip: bool = False) -> Predictor[Batch]:
    """The mean of several models' poses, each with the flip test where `flip` says so; H36MError for no models."""
    return ensembled([flip_tested(predict, mirror) if flip else predict for predict in predictors])


def flip_tested(predict: Predictor[Batch], mirror: Mirror[Batch]) -> Predictor[Batch]:
    """The mean of the poses of a batch and, mirrored back, of those of its mirror image."""

    def both(batch: Batch) -> torch.Tensor:
        mirrored = mirror.inputs(batch)
        if mirror.joined:
            poses, of_mirror = predict(mirror.joined(batch, mirrored)).chunk(2)
        else:
            poses, of_mirror = predict(batch), predict(mirrored)
        return (poses + mirror.poses(of_mirror)) / 2

    return both


def ensembled(predictors: Sequence[Predictor[Batch]]) -> Predictor[Batch]:
    """The mean of several models' poses; H36MError for none."""
    if not predictors:
        raise H36MError("an ensemble of no models; give the weights of one or more")

    def mean(batch: Batch) -> torch.Tensor:
        total = predictors[0](batch)
        for predict in predictors[1:]:
            total = total + predict(batch)
        return total / len(predictors)

    return mean


def mirrored_images(images: torch.Tensor) -> torch.Tensor:
    """Images (..., height, width) with their columns reversed."""
    return images.flip(-1)


def mirrored_poses(poses: torch.Tensor, skeleton: Skeleton, width: float | torch.Tensor = 0.0) -> torch.Tensor:
    """Poses (..., joints, dims) with x -> width - x and left and right exchanged.

    `width` is 0 where x = 0 is the mirror, as in the camera frame, the last column of the image for pixels; a tensor
    (rows, 1, 1) has one for each of the poses (rows, joints, dims).
    """
    order = list(range(len(skeleton)))
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        order[left], order[right] = right, left
    swapped = poses[..., order, :]
    return torch.cat([width - swapped[..., :1], swapped[..., 1:]], dim=-1)
