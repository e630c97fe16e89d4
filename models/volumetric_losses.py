"""What learnable triangulation and ContextPose minimise and watch while they train.

Poses are (batch, joints, 3); the official programs give them times 0.1, in centimetres. `validity` (batch, joints, 1)
is 1 for a joint that counts. Facts from github.com/karfly/learnable-triangulation-pytorch and
github.com/ShirleyMaxx/ContextPose-PyTorch-release.
"""

from __future__ import annotations

import torch

from h36m_toolbox.models.context_attention import LIMBS

CENTIMETRES = 0.1  # per mm: the scale of poses in every loss


def mean_squared_error(predicted: torch.Tensor, target: torch.Tensor, validity: torch.Tensor) -> torch.Tensor:
    """Mean over the coordinates of valid joints."""
    return _mean((predicted - target).square() * validity, validity)


def smooth_squared_error(
    predicted: torch.Tensor, target: torch.Tensor, validity: torch.Tensor, threshold: float = 400.0
) -> torch.Tensor:
    """As `mean_squared_error`, but a square above `threshold` counts square^0.1 threshold^0.9."""
    squares = (predicted - target).square() * validity
    large = squares > threshold
    bent = torch.where(large, squares, squares.new_tensor(threshold)).pow(0.1) * threshold**0.9
    return _mean(torch.where(large, bent, squares), validity)


def mean_absolute_error(predicted: torch.Tensor, target: torch.Tensor, validity: torch.Tensor) -> torch.Tensor:
    """Mean over the coordinates of valid joints."""
    return _mean((predicted - target).abs() * validity, validity)


def _mean(errors: torch.Tensor, validity: torch.Tensor) -> torch.Tensor:
    return errors.sum() / (errors.shape[-1] * validity.sum().clamp(min=1))


def mean_distance(predicted: torch.Tensor, target: torch.Tensor, validity: torch.Tensor) -> torch.Tensor:
    """Mean distance of valid joints; watched, not minimised."""
    return (torch.linalg.vector_norm((predicted - target) * validity, dim=-1)).sum() / validity.sum().clamp(min=1)


def volumetric_cross_entropy(
    coordinates: torch.Tensor, volumes: torch.Tensor, target_mm: torch.Tensor, validity: torch.Tensor
) -> torch.Tensor:
    """-log of the weight of the voxel nearest to the truth, mean over all joints, valid or not.

    `coordinates` (batch, x, y, z, 3) and `target_mm` are of one frame, mm; `volumes` (batch, joints, x, y, z) sum to 1.
    """
    nearest = nearest_voxels(coordinates, target_mm)
    weights = volumes.flatten(2).gather(2, nearest[..., None])[..., 0]
    return -(validity[..., 0] * torch.log(weights + 1e-6)).mean()


def nearest_voxels(coordinates: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Flat index of the voxel nearest to each point (batch, joints, 3), the first of equally near ones.

    The volume is an evenly spaced, turned grid, so its axes give the index without looking at every voxel.
    """
    grid = coordinates.double()
    corner = grid[:, 0, 0, 0]
    axes = torch.stack([grid[:, -1, 0, 0], grid[:, 0, -1, 0], grid[:, 0, 0, -1]], dim=1) - corner[:, None]
    last = torch.tensor(coordinates.shape[1:4], device=points.device) - 1
    along = torch.einsum("bjc,bac->bja", points.double() - corner[:, None], axes) / axes.square().sum(-1)[:, None]
    index = torch.ceil(along * last - 0.5).long().clamp(min=torch.zeros_like(last), max=last)
    return (index[..., 0] * (last[1] + 1) + index[..., 1]) * (last[2] + 1) + index[..., 2]


def attention_target(coarse: torch.Tensor, joints_mm: torch.Tensor) -> torch.Tensor:
    """Where the global attention should be: (batch, joints, coarse voxels), a bell around each joint that sums to 1.

    `coarse` (batch, n, n, n, 3) are every fourth voxel of the volume from its corner, as officially, not the middles of
    the cells. The bell's width is twice the spacing of the first sample.
    """
    spacing = torch.linalg.vector_norm(coarse[0, 0, 0, 1] - coarse[0, 0, 0, 0])
    squares = (coarse.flatten(1, 3)[:, None] - joints_mm[:, :, None]).square().sum(-1)
    return torch.softmax(-squares / (2 * (2 * spacing) ** 2), dim=2)


def limb_length_error(predicted_mm: torch.Tensor, target_mm: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the 16 limbs' lengths, mm; watched, not minimised."""
    ends = torch.tensor(LIMBS, device=predicted_mm.device)

    def lengths(poses: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(poses[:, ends[:, 0]] - poses[:, ends[:, 1]], dim=-1)

    return (lengths(predicted_mm) - lengths(target_mm)).abs().mean()
