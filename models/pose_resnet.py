"""The pose ResNet of Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018.

As learnable triangulation and ContextPose use it: heat maps, the features below them, confidences of whole views.

Names and shapes of the state dict are those of github.com/karfly/learnable-triangulation-pytorch and
github.com/ShirleyMaxx/ContextPose-PyTorch-release. Written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from h36m_toolbox.errors import H36MError

FEATURES = 256  # channels below the heat maps
VOLUME_CHANNELS = 32  # channels that are unprojected, each with a confidence of its own
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@dataclass(frozen=True)
class PoseResNetConfig:
    """Depth and heads. `stride_in_first` puts a bottleneck's stride into its 1x1 convolution ("caffe" style)."""

    layers: int = 152
    joints: int = 17
    joint_confidences: bool = False
    channel_confidences: bool = False
    stride_in_first: bool = False


class ViewFeatures(NamedTuple):
    """What the backbone sees in images (n, 3, h, w); the heat maps are h/4 x w/4 and raw."""

    heatmaps: torch.Tensor  # (n, joints, h/4, w/4)
    features: torch.Tensor  # (n, 256, h/4, w/4)
    joint_confidences: torch.Tensor | None  # (n, joints), 0 to 1
    channel_confidences: torch.Tensor | None  # (n, 32), 0 to 1


class PoseResNet(nn.Module):
    """A ResNet, three up-convolutions and a 1x1 convolution to one heat map a joint."""

    def __init__(self, config: PoseResNetConfig = PoseResNetConfig()) -> None:
        super().__init__()
        if config.layers not in _BLOCKS:
            raise H36MError(f"there are pose ResNets of {', '.join(map(str, _BLOCKS))} layers, not of {config.layers}")
        self.config = config
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = 64
        for number, blocks in enumerate(_BLOCKS[config.layers], start=1):
            stage, width = _stage(width, 32 * 2**number, blocks, 1 if number == 1 else 2, config)
            setattr(self, f"layer{number}", stage)
        self.alg_confidences = ConfidenceHead(width, config.joints) if config.joint_confidences else None
        self.vol_confidences = ConfidenceHead(width, VOLUME_CHANNELS) if config.channel_confidences else None
        self.deconv_layers = nn.Sequential(*_up(width), *_up(FEATURES), *_up(FEATURES))
        self.final_layer = nn.Conv2d(FEATURES, config.joints, 1)

    def forward(self, images: torch.Tensor) -> ViewFeatures:
        """(n, 3, h, w) -> heat maps, features and confidences."""
        deep = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for number in range(1, 5):
            deep = getattr(self, f"layer{number}")(deep)
        features = self.deconv_layers(deep)
        return ViewFeatures(
            self.final_layer(features),
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


def _stage(channels: int, width: int, blocks: int, stride: int, config: PoseResNetConfig) -> tuple[nn.Sequential, int]:
    """A stage of residual blocks and the channels it gives."""
    deep = config.layers >= 50
    outputs = 4 * width if deep else width
    layers: list[nn.Module] = []
    for number in range(blocks):
        given, step = (channels, stride) if number == 0 else (outputs, 1)
        layers.append(
            Bottleneck(given, width, step, config.stride_in_first) if deep else BasicBlock(given, width, step)
        )
    return nn.Sequential(*layers), outputs


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(channels, width, stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        return self.relu(inner + (features if self.downsample is None else self.downsample(features)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a skip; the last has four times the channels."""

    def __init__(self, channels: int, width: int, stride: int, stride_in_first: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_in_first else (1, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(channels, 4 * width, stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = self.relu(self.bn1(self.conv1(features)))
        inner = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(inner)))))
        return self.relu(inner + (features if self.downsample is None else self.downsample(features)))


def _downsample(channels: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == outputs:
        return None
    return nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
