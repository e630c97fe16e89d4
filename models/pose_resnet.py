"""The pose ResNet of Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018.

As learnable triangulation and ContextPose use it: heat maps, the features below them, confidences of whole views.

Names and shapes of the state dict are those of github.com/karfly/learnable-triangulation-pytorch and
github.com/ShirleyMaxx/ContextPose-PyTorch-release. Written anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from h36m_toolbox.models.full_precision import exactly
from h36m_toolbox.models.resnet import ResNetTrunk

FEATURES = 256  # channels below the heat maps
VOLUME_CHANNELS = 32  # channels that are unprojected, each with a confidence of its own


@dataclass(frozen=True)
class PoseResNetConfig:
    """Depth and heads. `stride_in_first` puts a bottleneck's stride into its 1x1 convolution ("caffe" style)."""

    layers: int = 152
    joints: int = 17
    joint_confidences: bool = False
    channel_confidences: bool = False
    stride_in_first: bool = False


def backbone_of(options: Mapping[str, Any], **heads: bool) -> PoseResNetConfig:
    """The backbone that a model's options ask for by `layers`; 152 of them if they say nothing."""
    return PoseResNetConfig(options.get("layers", PoseResNetConfig.layers), **heads)


class ViewFeatures(NamedTuple):
    """What the backbone sees in images (n, 3, h, w); the heat maps are h/4 x w/4 and raw."""

    heatmaps: torch.Tensor  # (n, joints, h/4, w/4)
    features: torch.Tensor  # (n, 256, h/4, w/4)
    joint_confidences: torch.Tensor | None  # (n, joints), 0 to 1
    channel_confidences: torch.Tensor | None  # (n, 32), 0 to 1


class PoseResNet(ResNetTrunk):
    """A ResNet, three up-convolutions and a 1x1 convolution to one heat map a joint."""

    def __init__(self, config: PoseResNetConfig = PoseResNetConfig()) -> None:
        super().__init__(config)
        self.config = config
        width = self.channels
        self.alg_confidences = ConfidenceHead(width, config.joints) if config.joint_confidences else None
        self.vol_confidences = ConfidenceHead(width, VOLUME_CHANNELS) if config.channel_confidences else None
        self.deconv_layers = nn.Sequential(*_up(width), *_up(FEATURES), *_up(FEATURES))
        self.final_layer = nn.Conv2d(FEATURES, config.joints, 1)

    def forward(self, images: torch.Tensor) -> ViewFeatures:
        """(n, 3, h, w) -> heat maps, features and confidences."""
        deep = self.deep_features(images)
        features = self.deconv_layers(deep)
        return ViewFeatures(
            exactly(self.final_layer, features),
            features,
            self.alg_confidences(deep) if self.alg_confidences is not None else None,
            self.vol_confidences(deep) if self.vol_confidences is not None else None,
        )


class ConfidenceHead(nn.Module):
    """Deep features (n, channels, h, w), at least 4x4, to `outputs` numbers between 0 and 1."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_pooled(channels, 512), *_pooled(512, 256))
        self.head = nn.Sequential(
            *(nn.Linear(256, 512), nn.ReLU(inplace=True), nn.Linear(512, 256), nn.ReLU(inplace=True)),
            *(nn.Linear(256, outputs), nn.Sigmoid()),
        )

    def forward(self, deep: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(deep).mean(dim=(2, 3)))


def _pooled(channels: int, width: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, width, 3, padding=1)
    return convolution, nn.BatchNorm2d(width), nn.MaxPool2d(2), nn.ReLU(inplace=True)


def _up(channels: int) -> tuple[nn.Module, ...]:
    convolution = nn.ConvTranspose2d(channels, FEATURES, 4, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(FEATURES), nn.ReLU(inplace=True)
