"""The arithmetic of the metrics on blocks of poses laid out (3, joints, n): coordinate, joint, pose.

One coordinate of one joint is contiguous over the poses, so every step is a pass over long rows, and a block stays in
the processor's cache. All arrays are float64; nothing is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h36m_toolbox.benchmarks.rotations import best_rotations

BLOCK = 4096  # poses


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Centred:
    """Poses about their means."""

    block: np.ndarray  # (3, joints, n), the mean of the joints at the origin
    mean: np.ndarray  # (3, n)
    extent: np.ndarray  # (n,), sum of squares of the block

    @property
    def alignable(self) -> np.ndarray:
        """Which poses (n,) are finite throughout and have joints that are not all in one point."""
        squared = self.extent + self.block.shape[1] * np.einsum("an,an->n", self.mean, self.mean)
        # Centring joints that coincide leaves rounding errors of this size, not an exact zero.
        return np.isfinite(squared) & (self.extent > (8 * np.finfo(np.float64).eps) ** 2 * squared)


@dataclass(frozen=True, eq=False)
class Fit:
    """The best similarity of centred predictions onto centred targets."""

    rotation: np.ndarray  # (3, 3, n), aligned = scale * predicted @ rotation; NaN where there is no fit
    scale: np.ndarray  # (n,)


def as_block(poses: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Poses (n, joints, 3) of any dtype as a float64 block (3, joints, n), in the first n columns of `out` if given."""
    if out is None:
        return np.ascontiguousarray(poses.transpose(2, 1, 0), np.float64)
    block = out[..., : len(poses)]
    np.copyto(block, poses.transpose(2, 1, 0))
    return block


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths (joints, n) of (3, joints, n)."""
    squared = np.einsum("ajn,ajn->jn", vectors, vectors)
    return np.sqrt(squared, out=squared)


def centred(block: np.ndarray, in_place: bool = False) -> Centred:
    """Poses (3, joints, n) about the mean of their joints; `in_place` takes the block itself, which saves memory."""
    mean = block.mean(axis=1)
    offsets = np.subtract(block, mean[:, None], out=block if in_place else None)
    return Centred(offsets, mean, np.einsum("ajn,ajn->n", offsets, offsets))


def fitted(predicted: Centred, target: Centred) -> Fit:
    """The best fit of each pose; NaN where one of the two cannot be aligned."""
    correlation = np.einsum("ajn,bjn->abn", predicted.block, target.block)
    correlation[..., ~(predicted.alignable & target.alignable)] = np.nan
    rotation = best_rotations(correlation)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Fit(rotation, np.einsum("abn,abn->n", rotation, correlation) / predicted.extent)


def aligned_errors(predicted: Centred, target: Centred, fit: Fit, with_scale: bool) -> np.ndarray:
    """Distances (joints, n) that are left after a fit."""
    left = moved(predicted.block, fit.rotation * fit.scale if with_scale else fit.rotation)
    left -= target.block
    return lengths(left)


def moved(block: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """A block (3, joints, n) times matrices (3, 3, n), pose by pose: pose @ matrix."""
    return np.einsum("ajn,abn->bjn", block, rotation)


def best_scale(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """<predicted, target> / <predicted, predicted>: (n,); nothing is centred (Rhodin et al. 2018)."""
    return np.einsum("ajn,ajn->n", predicted, target) / np.einsum("ajn,ajn->n", predicted, predicted)
