"""ContextPose: 3D poses from one view, a pelvis position and limb-length statistics.

Ma, Su, Wang, Ci and Wang, "Context Modeling in 3D Human Pose Estimation: A Unified Perspective", CVPR 2021,
arXiv:2103.15507; names and shapes of the state dict are those of github.com/ShirleyMaxx/ContextPose-PyTorch-release.
Written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.models.cards import ModelCard, PublishedScore, PublishedTestScore
from h36m_toolbox.models.context_attention import JOINT_CHANNELS, TEMPERATURE, ContextBlock, LimbPrior
from h36m_toolbox.models.full_precision import exactly
from h36m_toolbox.models.pose_resnet import FEATURES, VOLUME_CHANNELS, PoseResNet, PoseResNetConfig, backbone_of
from h36m_toolbox.models.v2v import Basic3D, Residual3D, Up3D
from h36m_toolbox.models.view_models import FromViews, view_options
from h36m_toolbox.models.volumes import (
    aggregated,
    coordinate_volumes,
    scaled_projections,
    soft_argmax_3d,
    unprojected,
    voxel_offsets,
)
from h36m_toolbox.views.crops import CROP_SIZE

COARSE = 4  # fine voxels a side of one that the attention sees


@dataclass(frozen=True)
class ContextPoseConfig:
    """Size of the volume and of the backbone. `heatmap_volumes` lifts the raw heat maps instead of features.

    `volume_std` is the standard deviation of the volume network's first weights, so small officially that an untrained
    network puts all joints into one point.
    Without a `prior` there is a network to look at and to load weights into, but none that can be run.
    """

    prior: LimbPrior | None = None
    backbone: PoseResNetConfig = field(default_factory=PoseResNetConfig)
    cuboid_mm: float = 2500.0
    voxels: int = 64
    volume_multiplier: float = 1.0
    temperature: float = TEMPERATURE
    heatmap_volumes: bool = False
    volume_std: float = 0.001


class ContextPoseOutput(NamedTuple):
    """A batch of poses and what they were read from."""

    joints_3d: torch.Tensor  # (batch, joints, 3), world, mm
    volumes: torch.Tensor  # (batch, joints, x, y, z), each sums to 1
    attention: torch.Tensor  # (batch, joints, coarse voxels), each sums to 1
    coordinates: torch.Tensor  # (batch, x, y, z, 3), world, mm


class ContextPose(nn.Module):
    """Images and cameras to joints in the world."""

    def __init__(self, config: ContextPoseConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.backbone.joints if config.heatmap_volumes else VOLUME_CHANNELS
        self.backbone = PoseResNet(config.backbone)
        if not config.heatmap_volumes:
            for parameter in self.backbone.final_layer.parameters():
                parameter.requires_grad_(False)  # the heat maps are looked at by nobody
            self.process_features = nn.Sequential(nn.Conv2d(FEATURES, VOLUME_CHANNELS, 1))
        self.volume_net = ContextV2V(config, channels)
        self.register_buffer("offsets", voxel_offsets(config.cuboid_mm, config.voxels), persistent=False)

    def forward(
        self,
        images: torch.Tensor,
        projections: torch.Tensor,
        base_points: torch.Tensor,
        angles: torch.Tensor | None = None,
    ) -> ContextPoseOutput:
        """One pose for each element of a batch.

        `images` (batch, views, 3, h, w), normalised; `projections` (batch, views, 3, 4) from world mm to their pixels;
        `base_points` (batch, 3), the middle of the volume, world mm; `angles` (batch,) turn the volume about the
        vertical, radians, 0 by default.
        """
        batch, views = images.shape[:2]
        seen = self.backbone(images.flatten(0, 1))
        maps = seen.heatmaps if self.config.heatmap_volumes else self.process_features(seen.features)
        scale = (maps.shape[-1] / images.shape[-1], maps.shape[-2] / images.shape[-2])
        turned = base_points.new_zeros(batch) if angles is None else angles
        coordinates = coordinate_volumes(base_points, self.get_buffer("offsets"), turned)
        lifted = unprojected(
            maps.unflatten(0, (batch, views)), scaled_projections(projections, scale), coordinates, False
        )
        volumes, attention = self.volume_net(aggregated(lifted, "softmax"))
        joints, weights = soft_argmax_3d(volumes * self.config.volume_multiplier, coordinates)
        return ContextPoseOutput(joints, weights, attention, coordinates)


class ContextV2V(nn.Module):
    """Feature volumes (batch, channels, n, n, n), n a multiple of 4, to joints' volumes and the global attention."""

    def __init__(self, config: ContextPoseConfig, channels: int) -> None:
        super().__init__()
        joints = config.backbone.joints
        self.front_layers = nn.Sequential(Basic3D(channels, joints, 3), Residual3D(joints, 2 * joints))
        self.encoder_decoder = ContextEncoderDecoder(config)
        self.output_layer = nn.Conv3d(2 * joints, joints, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.normal_(layer.weight, std=config.volume_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        decoded, attention = self.encoder_decoder(self.front_layers(volumes))
        return exactly(self.output_layer, decoded), attention


class ContextEncoderDecoder(nn.Module):
    """Twice down, the attention, twice up."""

    def __init__(self, config: ContextPoseConfig) -> None:
        super().__init__()
        joints = config.backbone.joints
        fine, coarse = 2 * joints, JOINT_CHANNELS * joints
        self.encoder_res1 = Residual3D(fine, coarse)
        self.encoder_res2 = Residual3D(coarse, coarse)
        self.mid_res = ContextBlock(config.prior, joints, config.cuboid_mm, config.temperature)
        self.decoder_res2 = Residual3D(coarse, coarse)
        self.decoder_upsample2 = Up3D(coarse, coarse)
        self.decoder_res1 = Residual3D(coarse, coarse)
        self.decoder_upsample1 = Up3D(coarse, fine)
        self.skip_res1 = Residual3D(fine, fine)
        self.skip_res2 = Residual3D(coarse, coarse)

    def forward(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first_skip = self.skip_res1(volumes)
        half = self.encoder_res1(F.max_pool3d(volumes, 2))
        second_skip = self.skip_res2(half)
        quarter, attention = self.mid_res(self.encoder_res2(F.max_pool3d(half, 2)))
        half = self.decoder_upsample2(self.decoder_res2(quarter)) + second_skip
        return self.decoder_upsample1(self.decoder_res1(half)) + first_skip, attention


def _build(**options: Any) -> ContextPose:
    given = view_options("contextpose", options, ContextPoseConfig, "limbs")
    limbs = given.pop("limbs", None)
    prior = LimbPrior.of(np.asarray(limbs["mean"]), np.asarray(limbs["std"])) if limbs else None
    return ContextPose(ContextPoseConfig(prior, backbone_of(options), **given))


_REPOSITORY = "https://github.com/ShirleyMaxx/ContextPose-PyTorch-release"

CONTEXTPOSE_CARD = ModelCard(
    name="contextpose",
    build=_build,
    contract=lambda image_px=CROP_SIZE, **_: FromViews(
        "one", True, True, "contextpose", image_px, untrained={"volume_std": 0.05}
    ),
    paper="Ma et al., Context Modeling in 3D Human Pose Estimation, CVPR 2021, arXiv:2103.15507",
    repository=_REPOSITORY,
    weights=f"{_REPOSITORY}#quick-start",
    licence="network written anew, MIT; the authors' repository has no licence and their weights are not shipped",
    inputs="images, one view, with its camera, a pelvis estimate and limb-length statistics",
    parameters=69_559_861,
    published=(PublishedScore("images", "contextpose", 43.4, None, f"{_REPOSITORY}#human36m"),),
    published_3dhp=(PublishedTestScore("", "mpi-inf-3dhp", None, 81.5, 43.6, f"{_REPOSITORY}#results--model-zoo"),),
)
