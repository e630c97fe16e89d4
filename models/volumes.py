"""Volumes around a person: voxel coordinates, image features lifted into them, joints read out of them.

Iskakov, Burkov, Lempitsky and Malkov, "Learnable Triangulation of Human Pose", ICCV 2019, arXiv:1905.05754, part 3.2.
Lengths are mm in the world frame, z up; volumes are indexed (x, y, z).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.full_precision import in_full_precision, row_like

Aggregation = Literal["sum", "max", "softmax", "conf", "conf_norm"]
AGGREGATIONS: tuple[Aggregation, ...] = ("sum", "max", "softmax", "conf", "conf_norm")


def voxel_offsets(side_mm: float, voxels: int, device: torch.device | None = None) -> torch.Tensor:
    """Corner-to-corner grid around the origin: (voxels, voxels, voxels, 3), mm, float32."""
    steps = torch.arange(voxels, device=device, dtype=torch.float32)
    axis = steps * (side_mm / (voxels - 1)) - side_mm / 2
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


@in_full_precision
def coordinate_volumes(base_points: torch.Tensor, offsets: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """World coordinates of every voxel, (batch, voxels, voxels, voxels, 3), mm.

    `base_points` (batch, 3) are the middles, `offsets` the grid around them, turned about the vertical by `angles`
    (batch,), radians, counter-clockwise.
    """
    sine, cosine = angles.sin(), angles.cos()
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    turn = torch.stack(
        [
            torch.stack([cosine, -sine, zero], -1),
            torch.stack([sine, cosine, zero], -1),
            torch.stack([zero, zero, one], -1),
        ],
        dim=-2,
    )
    turned = torch.einsum("bij,xyzj->bxyzi", turn.to(offsets.dtype), offsets)
    return turned + base_points[:, None, None, None].to(offsets.dtype)


@in_full_precision
def unprojected(
    features: torch.Tensor, projections: torch.Tensor, coordinates: torch.Tensor, half_pixel_error: bool
) -> torch.Tensor:
    """What every view sees at every voxel: (batch, views, channels, x, y, z).

    `features` (batch, views, channels, h, w) are sampled bilinearly, zero outside, at the projections of `coordinates`
    (batch, x, y, z, 3) by `projections` (batch, views, 3, 4), which are those of the feature maps' resolution; a voxel
    behind a camera gets 0. `half_pixel_error`: sample at x (size - 1) / size instead of x, as learnable triangulation
    does and its released weights expect; ContextPose samples at x.
    """
    batch, views, channels, height, width = features.shape
    grid = coordinates.shape[1:4]
    points = coordinates.reshape(batch, 1, -1, 3)
    seen = points @ projections[..., :3].transpose(2, 3) + projections[:, :, None, :, 3]  # (batch, views, voxels, 3)
    depth = seen[..., 2]
    behind = depth <= 0
    pixels = seen[..., :2] / torch.where(depth == 0, torch.ones_like(depth), depth)[..., None]
    rows_and_columns = row_like([height, width] if half_pixel_error else [height - 1, width - 1], pixels)
    places = 2 * (pixels / rows_and_columns - 0.5)
    sampled = F.grid_sample(
        features.flatten(0, 1), places.flatten(0, 1)[:, :, None], align_corners=True
    )  # (batch views, channels, voxels, 1)
    sampled = sampled.reshape(batch, views, channels, -1) * ~behind[:, :, None]
    return sampled.unflatten(3, grid)


def aggregated(volumes: torch.Tensor, how: Aggregation, confidences: torch.Tensor | None = None) -> torch.Tensor:
    """The views' volumes (batch, views, channels, x, y, z) as one (batch, channels, x, y, z).

    `confidences` (batch, views, channels) weigh "conf" and, divided by their sum over the views, "conf_norm".
    """
    if how == "sum":
        return volumes.sum(1)
    if how == "max":
        return volumes.amax(1)
    if how == "softmax":
        return (volumes * volumes.softmax(1)).sum(1) if volumes.shape[1] > 1 else volumes[:, 0]
    if how not in AGGREGATIONS:
        raise H36MError(f"views cannot be put together by {how!r}; there are {', '.join(AGGREGATIONS)}")
    if confidences is None:
        raise H36MError(f"views can be put together by {how!r} only with confidences; build the backbone with them")
    if how == "conf_norm":
        confidences = confidences / confidences.sum(1, keepdim=True)
    return torch.einsum("bvcxyz,bvc->bcxyz", volumes, confidences)


@in_full_precision
def soft_argmax_2d(heatmaps: torch.Tensor, softmax: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Expected (column, row) of each heat map (..., h, w): (..., 2), and the maps as probabilities.

    Without `softmax`, negative values count 0 and each map is divided by its mass.
    """
    flat = heatmaps.flatten(-2)
    weights = flat.softmax(-1) if softmax else F.relu(flat)
    maps = weights.reshape(heatmaps.shape)
    mass = maps.sum((-2, -1))
    rows = torch.arange(maps.shape[-2], device=maps.device, dtype=maps.dtype)
    columns = torch.arange(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    expected = torch.stack([(maps.sum(-2) * columns).sum(-1), (maps.sum(-1) * rows).sum(-1)], dim=-1)
    return (expected if softmax else expected / mass[..., None]), maps


@in_full_precision
def soft_argmax_3d(
    volumes: torch.Tensor, coordinates: torch.Tensor, softmax: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Expected coordinates (batch, joints, 3) of volumes (batch, joints, x, y, z), and the weights.

    Without `softmax` negative values count 0 and nothing divides by the mass, as in the official code: the result is
    then no point of the volume.
    """
    flat = volumes.flatten(2)
    weights = flat.softmax(2) if softmax else F.relu(flat)
    return weights @ coordinates.flatten(1, 3), weights.reshape(volumes.shape)


def scaled_projections(projections: torch.Tensor, scale: tuple[float, float]) -> torch.Tensor:
    """Projections (..., 3, 4) of an image after it is resized by (x, y) factors."""
    return projections * row_like([*scale, 1.0], projections)[:, None]
