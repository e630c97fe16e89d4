"""ContextPose's attention over a volume: what a joint knows from its neighbours at a limb's length.

Ma, Su, Wang, Ci and Wang, "Context Modeling in 3D Human Pose Estimation: A Unified Perspective", CVPR 2021,
arXiv:2103.15507; names and shapes of the state dict, and the order of limbs, are those of
github.com/ShirleyMaxx/ContextPose-PyTorch-release. Written anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.full_precision import in_full_precision

JOINT_CHANNELS = 3
TEMPERATURE = 1500.0
# (joint, joint) of the 16 limbs, in the order of the limb statistics; joints as in multiview-17.
LIMBS = (
    *((0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6), (6, 7), (7, 8)),
    *((8, 16), (9, 16), (8, 12), (11, 12), (10, 11), (8, 13), (13, 14), (14, 15)),
)


@dataclass(frozen=True)
class LimbPrior:
    """Mean and standard deviation of every limb's length, mm, over the training set, in the order of `LIMBS`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, mean: np.ndarray, std: np.ndarray) -> LimbPrior:
        """From arrays; a longer file is cut to the 16 limbs, as officially; H36MError for a shorter one."""
        if len(mean) < len(LIMBS) or len(std) < len(LIMBS):
            raise H36MError(f"limb statistics of {min(len(mean), len(std))} limbs; ContextPose needs {len(LIMBS)}")
        return cls(tuple(map(float, mean[: len(LIMBS)])), tuple(map(float, std[: len(LIMBS)])))


class ContextAttention(nn.Module):
    """Volumes (batch, 3 joints, n, n, n) to volumes of that shape and the global attention (batch, joints, n^3).

    A joint's output at a voxel is its own transformed input there plus a linear map of its context: for each joint that
    a limb joins to it, what that joint looks like where the limb's length would put it (the pairwise attention); for
    every other joint, what it looks like where it is likeliest (the global attention).
    """

    def __init__(
        self, prior: LimbPrior | None, joints: int = 17, cuboid_mm: float = 2500.0, temperature: float = TEMPERATURE
    ) -> None:
        super().__init__()
        channels = JOINT_CHANNELS * joints
        self.joints, self.cuboid_mm, self.temperature, self.prior = joints, cuboid_mm, temperature, prior
        self.convlist = nn.ModuleList(nn.Conv3d(channels, JOINT_CHANNELS, 1, bias=False) for _ in range(joints))
        self.W_pi = nn.Conv3d(channels, channels, 1, groups=joints, bias=False)
        self.atten_conv = nn.Conv3d(channels, joints, 1, groups=joints, bias=False)
        ends = torch.tensor(LIMBS)
        self.register_buffer("sources", torch.cat([ends[:, 1], ends[:, 0]]), persistent=False)
        self.register_buffer("targets", torch.cat([ends[:, 0], ends[:, 1]]), persistent=False)
        self._kernels: dict[tuple[int, torch.device], torch.Tensor] = {}

    @in_full_precision
    def forward(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch, side = len(volumes), volumes.shape[-1]
        own = self.W_pi(volumes)
        attention = self.atten_conv(volumes).flatten(2).softmax(2)  # (batch, joints, voxels)
        looks = own.flatten(2).unflatten(1, (self.joints, JOINT_CHANNELS))  # (batch, joints, 3, voxels)
        weighted = looks * attention[:, :, None]
        everywhere = weighted.sum(3)  # (batch, joints, 3)
        nearby = self._pairwise(weighted, attention, side)  # (batch, 2 limbs, 3, voxels)
        nearby = nearby - everywhere[:, self.get_buffer("sources"), :, None]
        maps = torch.stack([layer.weight[..., 0, 0, 0] for layer in self._layers()])  # (joints, 3, channels)
        context = torch.einsum("joc,bc->bjo", maps, everywhere.flatten(1))[..., None]
        by_source = maps.unflatten(2, (self.joints, JOINT_CHANNELS))
        of_limbs = by_source[self.get_buffer("targets"), :, self.get_buffer("sources")]  # (2 limbs, 3, 3)
        moved = torch.einsum("loc,blcv->blov", of_limbs, nearby)
        context = context.expand(-1, -1, -1, attention.shape[2]).contiguous()
        context = context.index_add(1, self.get_buffer("targets"), moved)
        return own + context.flatten(1, 2).reshape(batch, -1, side, side, side), attention

    def _layers(self) -> list[nn.Conv3d]:
        return [layer for layer in self.convlist if isinstance(layer, nn.Conv3d)]

    def _pairwise(self, weighted: torch.Tensor, attention: torch.Tensor, side: int) -> torch.Tensor:
        """The mean look of the source joint of each directed limb around each voxel: (batch, 2 limbs, 3, voxels).

        The weight of a voxel is the limb's likelihood of that distance times the source's attention. It depends on the
        offset alone, so one block of (y, z) by (y, z) for each distance in x serves every pair of slices.
        """
        sources = self.get_buffer("sources")
        given = torch.cat([weighted[:, sources], attention[:, sources, None]], dim=2)  # (batch, 2 limbs, 4, voxels)
        batch, limbs = len(given), len(LIMBS)
        columns = given.unflatten(3, (side, side * side)).reshape(batch, 2, limbs, 4, side, side * side)
        columns = columns.permute(2, 5, 4, 0, 1, 3).flatten(3)  # (limbs, yz, x, batch 2 4)
        kernels = self.kernels(side, given.device).to(given.dtype)
        summed = torch.zeros_like(columns)
        for distance in range(side):
            product = torch.bmm(kernels[:, distance], columns.flatten(2)).reshape(columns.shape)
            summed[:, :, distance:] += product[:, :, : side - distance]
            if distance:
                summed[:, :, : side - distance] += product[:, :, distance:]
        summed = summed.unflatten(3, (batch, 2, 4)).permute(3, 4, 0, 5, 2, 1).flatten(4)  # (batch, 2, limbs, 4, voxels)
        mass = summed[:, :, :, 3:]
        # Officially 0 / 0 where a joint is surely too far away; such a voxel learns nothing from the neighbour.
        found = summed[:, :, :, :3] / torch.where(mass == 0, torch.ones_like(mass), mass)
        return found.flatten(1, 2)

    def kernels(self, side: int, device: torch.device) -> torch.Tensor:
        """Likelihood of an offset for every limb, unnormalised: (limbs, x distance, yz, yz).

        Distances are those of a grid of cuboid / (side - 1), which is not quite the coarse volume's true spacing: the
        official one, and the released weights expect it.
        """
        if self.prior is None:
            raise H36MError(
                "ContextPose was built without limb lengths, which its attention looks at; give their mean and std, as "
                "`h36m stats DATA` writes them"
            )
        if (side, device) not in self._kernels:
            self._kernels[side, device] = limb_kernels(self.prior, self.temperature, self.cuboid_mm, side).to(device)
        return self._kernels[side, device]


def limb_kernels(prior: LimbPrior, temperature: float, cuboid_mm: float, side: int) -> torch.Tensor:
    """exp(-(distance - mean)^2 / (2 temperature std^2 + 0.1)) by offset: (limbs, x distance, yz, yz), float32."""
    steps = torch.arange(side, dtype=torch.float64)
    apart = (steps[:, None] - steps).abs()
    square = steps.square()[:, None, None, None, None] + apart.square()[:, None, :, None] + apart.square()[:, None, :]
    distances = square.sqrt() * (cuboid_mm / (side - 1))  # (x distance, y, z, y, z)
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (prior.mean, prior.std))
    likelihood = torch.exp(-(distances.flatten() - mean).square() / (2 * temperature * std.square() + 0.1))
    return likelihood.float().reshape(len(LIMBS), side, side * side, side * side)


class ContextBlock(nn.Module):
    """The attention, batch norm, ReLU, a 3x3x3 convolution and batch norm around a skip."""

    def __init__(self, prior: LimbPrior | None, joints: int, cuboid_mm: float, temperature: float) -> None:
        super().__init__()
        channels = JOINT_CHANNELS * joints
        self.atten_conv = ContextAttention(prior, joints, cuboid_mm, temperature)
        self.res_branch = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.BatchNorm3d(channels),
        )

    def forward(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        attended, attention = self.atten_conv(volumes)
        return F.relu(self.res_branch(attended) + volumes, inplace=True), attention
