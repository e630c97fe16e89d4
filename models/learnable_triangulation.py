"""Learnable triangulation of human pose from several views: algebraic, by RANSAC, and volumetric.

Iskakov, Burkov, Lempitsky and Malkov, "Learnable Triangulation of Human Pose", ICCV 2019, arXiv:1905.05754; names and
shapes of the state dicts are those of github.com/karfly/learnable-triangulation-pytorch. Written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

from h36m_toolbox.models.pose_resnet import FEATURES, VOLUME_CHANNELS, PoseResNet, PoseResNetConfig
from h36m_toolbox.models.v2v import V2V
from h36m_toolbox.models.volumes import (
    Aggregation,
    aggregated,
    coordinate_volumes,
    scaled_projections,
    soft_argmax_2d,
    soft_argmax_3d,
    unprojected,
    voxel_offsets,
)


@dataclass(frozen=True)
class AlgebraicConfig:
    """Backbone and heat maps: multiplied by `heatmap_multiplier` before the softmax, or cut at 0 without it."""

    backbone: PoseResNetConfig = field(default_factory=lambda: PoseResNetConfig(joint_confidences=True))
    heatmap_multiplier: float = 100.0
    heatmap_softmax: bool = True


class AlgebraicOutput(NamedTuple):
    """A batch of poses and what they were triangulated from."""

    joints_3d: torch.Tensor  # (batch, joints, 3), world, mm
    joints_2d: torch.Tensor  # (batch, views, joints, 2), px of the images given
    confidences: torch.Tensor  # (batch, views, joints), about 1 over the views
    heatmaps: torch.Tensor  # (batch, views, joints, h/4, w/4), after the softmax


class AlgebraicTriangulation(nn.Module):
    """2D joints by soft-argmax in every view, then weighted linear triangulation."""

    def __init__(self, config: AlgebraicConfig = AlgebraicConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = PoseResNet(config.backbone)

    def forward(self, images: torch.Tensor, projections: torch.Tensor) -> AlgebraicOutput:
        """`images` (batch, views, 3, h, w), normalised; `projections` (batch, views, 3, 4), world mm to pixels."""
        batch, views = images.shape[:2]
        seen = self.backbone(images.flatten(0, 1))
        places, maps = soft_argmax_2d(seen.heatmaps * self.config.heatmap_multiplier, self.config.heatmap_softmax)
        stretch = places.new_tensor([images.shape[-1] / maps.shape[-1], images.shape[-2] / maps.shape[-2]])
        joints_2d = (places * stretch).unflatten(0, (batch, views))
        confidences = seen.joint_confidences
        if confidences is None:
            confidences = places.new_ones(places.shape[:2])
        confidences = confidences.unflatten(0, (batch, views))
        confidences = confidences / confidences.sum(1, keepdim=True) + 1e-5
        joints_3d = triangulated(projections, joints_2d, confidences)
        return AlgebraicOutput(joints_3d, joints_2d, confidences, maps.unflatten(0, (batch, views)))


def triangulated(projections: torch.Tensor, joints_2d: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
    """World points (batch, joints, 3) of the views' (batch, views, joints, 2) by weighted linear triangulation.

    Hartley and Zisserman, Multiple View Geometry, 12.2: the point is the right singular vector of least singular value
    of the rows x P3 - P1 and y P3 - P2, each times its view's confidence (batch, views, joints).
    """
    depth_row = projections[:, :, None, 2:3]  # (batch, views, 1, 1, 4)
    rows = joints_2d[..., None] * depth_row - projections[:, :, None, :2]  # (batch, views, joints, 2, 4)
    rows = rows * confidences[..., None, None]
    equations = rows.transpose(1, 2).flatten(2, 3)  # (batch, joints, 2 views, 4)
    points = torch.linalg.svd(equations, full_matrices=False).Vh[..., -1, :]
    return points[..., :3] / points[..., 3:]


@dataclass(frozen=True)
class VolumetricConfig:
    """Size of the volume, of the backbone, and how the views are put together (`volumes.AGGREGATIONS`)."""

    backbone: PoseResNetConfig = field(default_factory=PoseResNetConfig)
    aggregation: Aggregation = "softmax"
    cuboid_mm: float = 2500.0
    voxels: int = 64
    volume_multiplier: float = 1.0
    volume_softmax: bool = True


class VolumetricOutput(NamedTuple):
    """A batch of poses and what they were read from."""

    joints_3d: torch.Tensor  # (batch, joints, 3), world, mm
    volumes: torch.Tensor  # (batch, joints, x, y, z), each sums to 1
    coordinates: torch.Tensor  # (batch, x, y, z, 3), world, mm


class VolumetricTriangulation(nn.Module):
    """Features of all views in one volume around the pelvis, and joints read out of it."""

    def __init__(self, config: VolumetricConfig = VolumetricConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = PoseResNet(config.backbone)
        for parameter in self.backbone.final_layer.parameters():
            parameter.requires_grad_(False)  # the heat maps are looked at by nobody
        self.process_features = nn.Sequential(nn.Conv2d(FEATURES, VOLUME_CHANNELS, 1))
        self.volume_net = V2V(VOLUME_CHANNELS, config.backbone.joints)
        self.register_buffer("offsets", voxel_offsets(config.cuboid_mm, config.voxels), persistent=False)

    def forward(
        self,
        images: torch.Tensor,
        projections: torch.Tensor,
        base_points: torch.Tensor,
        angles: torch.Tensor | None = None,
    ) -> VolumetricOutput:
        """As `contextpose.ContextPose.forward`, from any number of views."""
        batch, views = images.shape[:2]
        seen = self.backbone(images.flatten(0, 1))
        maps = self.process_features(seen.features)
        scale = (maps.shape[-1] / images.shape[-1], maps.shape[-2] / images.shape[-2])
        turned = base_points.new_zeros(batch) if angles is None else angles
        coordinates = coordinate_volumes(base_points, self.get_buffer("offsets"), turned)
        lifted = unprojected(
            maps.unflatten(0, (batch, views)), scaled_projections(projections, scale), coordinates, True
        )
        confidences = seen.channel_confidences
        of_views = None if confidences is None else confidences.unflatten(0, (batch, views))
        volumes = self.volume_net(aggregated(lifted, self.config.aggregation, of_views))
        joints, weights = soft_argmax_3d(
            volumes * self.config.volume_multiplier, coordinates, self.config.volume_softmax
        )
        return VolumetricOutput(joints, weights, coordinates)
