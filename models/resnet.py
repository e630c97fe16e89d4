"""The residual networks of He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

Without pooling and classifier: the trunk below the pose networks. Names and shapes of the state dict are torchvision's.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from h36m_toolbox.errors import H36MError

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNetLayout(Protocol):
    """What a trunk is built from. `stride_in_first` puts a bottleneck's stride into its 1x1 convolution ("caffe")."""

    @property
    def layers(self) -> int: ...

    @property
    def stride_in_first(self) -> bool: ...


class ResNetTrunk(nn.Module):
    """A stem and four stages; `channels` is the number of those that come out of the last.

    Raises H36MError for a number of layers that no ResNet has.
    """

    def __init__(self, layout: ResNetLayout) -> None:
        super().__init__()
        if layout.layers not in _BLOCKS:
            raise H36MError(f"there are pose ResNets of {', '.join(map(str, _BLOCKS))} layers, not of {layout.layers}")
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = 64
        for number, blocks in enumerate(_BLOCKS[layout.layers], start=1):
            stage, width = _stage(width, 32 * 2**number, blocks, 1 if number == 1 else 2, layout)
            setattr(self, f"layer{number}", stage)
        self.channels = width

    def deep_features(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> (n, channels, h/32, w/32)."""
        deep = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for number in range(1, 5):
            deep = getattr(self, f"layer{number}")(deep)
        return deep


def _stage(channels: int, width: int, blocks: int, stride: int, layout: ResNetLayout) -> tuple[nn.Sequential, int]:
    """A stage of residual blocks and the channels it gives."""
    deep = layout.layers >= 50
    outputs = 4 * width if deep else width
    layers: list[nn.Module] = []
    for number in range(blocks):
        given, step = (channels, stride) if number == 0 else (outputs, 1)
        layers.append(
            Bottleneck(given, width, step, layout.stride_in_first) if deep else BasicBlock(given, width, step)
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
