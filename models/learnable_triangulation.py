"""Learnable triangulation of human pose from several views: algebraic, by RANSAC, and volumetric.

Iskakov, Burkov, Lempitsky and Malkov, "Learnable Triangulation of Human Pose", ICCV 2019, arXiv:1905.05754; names and
shapes of the state dicts are those of github.com/karfly/learnable-triangulation-pytorch. Written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.cards import ModelCard, PublishedScore
from h36m_toolbox.models.full_precision import in_full_precision, row_like
from h36m_toolbox.models.pose_resnet import FEATURES, VOLUME_CHANNELS, PoseResNet, PoseResNetConfig, backbone_of
from h36m_toolbox.models.v2v import V2V
from h36m_toolbox.models.view_models import CONFIDENCE_PX, FromViews, view_options
from h36m_toolbox.models.volumes import (
    AGGREGATIONS,
    Aggregation,
    aggregated,
    coordinate_volumes,
    scaled_projections,
    soft_argmax_2d,
    soft_argmax_3d,
    unprojected,
    voxel_offsets,
)
from h36m_toolbox.triangulation import triangulated_ransac
from h36m_toolbox.views.crops import CROP_SIZE


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

    capturable = ("backbone",)  # singular values are waited for

    def __init__(self, config: AlgebraicConfig = AlgebraicConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = PoseResNet(config.backbone)

    def forward(self, images: torch.Tensor, projections: torch.Tensor) -> AlgebraicOutput:
        """`images` (batch, views, 3, h, w), normalised; `projections` (batch, views, 3, 4), world mm to pixels."""
        batch, views = images.shape[:2]
        seen = self.backbone(images.flatten(0, 1))
        places, maps = soft_argmax_2d(seen.heatmaps * self.config.heatmap_multiplier, self.config.heatmap_softmax)
        stretch = row_like([images.shape[-1] / maps.shape[-1], images.shape[-2] / maps.shape[-2]], places)
        joints_2d = (places * stretch).unflatten(0, (batch, views))
        confidences = seen.joint_confidences
        if confidences is None:
            confidences = places.new_ones(places.shape[:2])
        confidences = confidences.unflatten(0, (batch, views))
        confidences = confidences / confidences.sum(1, keepdim=True) + 1e-5
        joints_3d = triangulated(projections, joints_2d, confidences)
        return AlgebraicOutput(joints_3d, joints_2d, confidences, maps.unflatten(0, (batch, views)))


@in_full_precision
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


@dataclass(frozen=True)
class RansacConfig:
    """Backbone, and whether the linear points are refined by least squares on reprojection errors."""

    backbone: PoseResNetConfig = field(default_factory=PoseResNetConfig)
    refine: bool = False
    seed: int = 0


class RansacOutput(NamedTuple):
    """A batch of poses and what they were triangulated from."""

    joints_3d: torch.Tensor  # (batch, joints, 3), world, mm
    joints_2d: torch.Tensor  # (batch, views, joints, 2), whole px of the images given
    heatmaps: torch.Tensor  # (batch, views, joints, h/4, w/4), raw


class RansacTriangulation(nn.Module):
    """The baseline without learnt triangulation: the highest pixel of each heat map, then RANSAC over pairs of views.

    Every pose is triangulated with the same draws, so a batch's size changes nothing.
    """

    capturable = ("backbone",)  # RANSAC is the CPU's

    def __init__(self, config: RansacConfig = RansacConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = PoseResNet(config.backbone)

    @torch.no_grad()
    def forward(self, images: torch.Tensor, projections: torch.Tensor) -> RansacOutput:
        """As `AlgebraicTriangulation.forward`; not differentiable, and triangulated on the CPU in float64."""
        batch, views = images.shape[:2]
        heatmaps = self.backbone(images.flatten(0, 1)).heatmaps
        highest = heatmaps.flatten(2).argmax(2)
        places = torch.stack([highest % heatmaps.shape[-1], highest // heatmaps.shape[-1]], dim=-1).float()
        stretch = row_like([images.shape[-1] / heatmaps.shape[-1], images.shape[-2] / heatmaps.shape[-2]], places)
        joints_2d = (places * stretch).long().unflatten(0, (batch, views))
        poses = [
            triangulated_ransac(matrices, points, np.random.default_rng(self.config.seed), refine=self.config.refine)
            for matrices, points in zip(
                projections.double().cpu().numpy(),
                joints_2d.transpose(1, 2).double().cpu().numpy(),  # (batch, joints, views, 2)
                strict=True,
            )
        ]
        joints_3d = torch.from_numpy(np.stack([pose.points_3d for pose in poses])).to(images)
        return RansacOutput(joints_3d, joints_2d, heatmaps.unflatten(0, (batch, views)))


def _algebraic(**options: Any) -> AlgebraicTriangulation:
    given = view_options("algebraic", options, AlgebraicConfig, "confidences")
    backbone = backbone_of(options, joint_confidences=given.pop("confidences", True))
    return AlgebraicTriangulation(AlgebraicConfig(backbone, **given))


def _volumetric(**options: Any) -> VolumetricTriangulation:
    given = view_options("volumetric", options, VolumetricConfig)
    aggregation = given.pop("aggregation", VolumetricConfig.aggregation)
    if aggregation not in AGGREGATIONS:
        raise H36MError(f"views cannot be put together by {aggregation!r}; there are {', '.join(AGGREGATIONS)}")
    backbone = backbone_of(options, channel_confidences=aggregation.startswith("conf"))
    return VolumetricTriangulation(VolumetricConfig(backbone, aggregation, **given))


def _ransac(**options: Any) -> RansacTriangulation:
    given = view_options("ransac", options, RansacConfig)
    return RansacTriangulation(RansacConfig(backbone_of(options), **given))


_REPOSITORY = "https://github.com/karfly/learnable-triangulation-pytorch"
_RESULTS = f"{_REPOSITORY}#human36m"
_RELATIVE, _ABSOLUTE = "learnable-triangulation-relative", "learnable-triangulation-absolute"


def _published(relative_mm: float, absolute_mm: float) -> tuple[PublishedScore, ...]:
    return (
        PublishedScore("images", _RELATIVE, relative_mm, None, _RESULTS),
        PublishedScore("images", _ABSOLUTE, absolute_mm, None, _RESULTS),
    )


def _contract(pelvis: bool, confidences: bool, image_px: int = CROP_SIZE, **_: Any) -> FromViews:
    least = CONFIDENCE_PX if confidences else FromViews.least_px
    return FromViews("all", pelvis, False, _RELATIVE, image_px, least)


ALGEBRAIC_CARD = ModelCard(
    name="algebraic",
    build=_algebraic,
    contract=lambda confidences=True, **options: _contract(False, confidences, **options),
    paper="Iskakov et al., Learnable Triangulation of Human Pose, ICCV 2019, arXiv:1905.05754",
    repository=_REPOSITORY,
    weights=f"{_REPOSITORY}#model-zoo",
    licence="network written anew, MIT; the authors' weights are not shipped, their terms are on the authors' page",
    inputs="images, all views of an instant, with their cameras",
    parameters=79_521_890,
    published=_published(22.5, 19.2),
)

VOLUMETRIC_CARD = replace(
    ALGEBRAIC_CARD,
    name="volumetric",
    build=_volumetric,
    contract=lambda aggregation="softmax", **options: _contract(True, aggregation.startswith("conf"), **options),
    inputs="images, all views of an instant, with their cameras and a pelvis estimate",
    parameters=80_588_050,
    published=_published(20.4, 17.7),
)

RANSAC_CARD = replace(
    ALGEBRAIC_CARD,
    name="ransac",
    build=_ransac,
    contract=lambda **options: _contract(False, False, **options),
    parameters=68_635_473,
    published=_published(27.4, 22.8),
)
