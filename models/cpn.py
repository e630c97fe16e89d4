"""CPN-50, the cascaded pyramid network, as a source of feature maps.

Chen, Wang, Peng, Zhang, Yu and Sun, "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018,
arXiv:1711.07319; names and shapes of the state dict are those of the PyTorch port that
github.com/QitaoZhao/ContextAware-PoseFormer uses. Written anew.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.models.pose_resnet import PoseResNetConfig
from h36m_toolbox.models.resnet import ResNetTrunk

CHANNELS = 256  # of every feature map
_JOINTS = 17
_LEVELS = 4
_INNER = 128


class CPN(nn.Module):
    """Images (n, 3, h, w), h and w multiples of 32, to four feature maps (n, 256, h/4, w/4), coarsest level first.

    Its 2D heads are in the state dict of the published weights; the feature maps do not need them.
    """

    widths = (CHANNELS,) * _LEVELS

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet50()
        self.global_net = GlobalNet()
        self.refine_net = RefineNet()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.refine_net(self.global_net(self.resnet(images)))


class ResNet50(ResNetTrunk):
    """A ResNet that gives the maps of its four stages, coarsest first."""

    def __init__(self) -> None:
        super().__init__(PoseResNetConfig(layers=50))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        deep = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for number in range(1, 5):
            deep = getattr(self, f"layer{number}")(deep)
            maps.append(deep)
        return maps[::-1]


class GlobalNet(nn.Module):
    """The pyramid: from coarse to fine, each level of the ResNet plus the enlarged sum before it."""

    def __init__(self) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(CHANNELS * 2 ** (3 - level), CHANNELS, 1, bias=False),
                nn.BatchNorm2d(CHANNELS),
                nn.ReLU(inplace=True),
            )
            for level in range(_LEVELS)
        )
        self.upsamples = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False),
                nn.BatchNorm2d(CHANNELS),
            )
            for _ in range(_LEVELS - 1)
        )
        self.predict = nn.ModuleList(_unused_prediction() for _ in range(_LEVELS))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        levels = [self.laterals[0](maps[0])]
        for lateral, upsample, each in zip(self.laterals[1:], self.upsamples, maps[1:], strict=True):
            assert isinstance(upsample, nn.Sequential)
            enlarge, convolution, norm = upsample
            # a 1x1 convolution and an interpolation commute, and it is cheaper on the smaller map
            levels.append(lateral(each) + norm(enlarge(convolution(levels[-1]))))
        return levels


class RefineNet(nn.Module):
    """The cascade: three, two, one and no bottlenecks, then every level in the size of the finest."""

    def __init__(self) -> None:
        super().__init__()
        self.cascade = nn.ModuleList(
            nn.Sequential(*(RefineBottleneck(CHANNELS) for _ in range(_LEVELS - 1 - level))) for level in range(_LEVELS)
        )
        self.final_predict = nn.Sequential(
            RefineBottleneck(_LEVELS * CHANNELS),
            nn.Conv2d(CHANNELS, _JOINTS, 3, padding=1, bias=False),
            nn.BatchNorm2d(_JOINTS),
        )

    def forward(self, levels: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        size = levels[-1].shape[-2:]
        return tuple(
            F.interpolate(blocks(each), size, mode="bilinear", align_corners=True) if each.shape[-2:] != size else each
            for blocks, each in zip(self.cascade, levels, strict=True)
        )


class RefineBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a 1x1 convolution; 256 channels come out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _INNER, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_INNER)
        self.conv2 = nn.Conv2d(_INNER, _INNER, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_INNER)
        self.conv3 = nn.Conv2d(_INNER, CHANNELS, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(CHANNELS)
        self.downsample = nn.Sequential(nn.Conv2d(channels, CHANNELS, 1, bias=False), nn.BatchNorm2d(CHANNELS))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = F.relu(self.bn1(self.conv1(features)), inplace=True)
        inner = F.relu(self.bn2(self.conv2(inner)), inplace=True)
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(features), inplace=True)


def _unused_prediction() -> nn.Sequential:
    """Heat maps of one level, which the feature maps do not need: there for the names of the published weights."""
    return nn.Sequential(
        *(nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)),
        *(nn.Conv2d(CHANNELS, _JOINTS, 3, padding=1, bias=False), nn.Identity(), nn.BatchNorm2d(_JOINTS)),
    )
