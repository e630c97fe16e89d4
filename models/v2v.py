"""Volume-to-volume networks: learnable triangulation's V2V and the parts that ContextPose's smaller one shares with it.

Moon, Chang and Lee, "V2V-PoseNet", CVPR 2018; names and shapes of the state dict are those of
github.com/karfly/learnable-triangulation-pytorch. Written anew.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.models.full_precision import exactly


class Basic3D(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(channels, width, kernel, padding=kernel // 2), nn.BatchNorm3d(width), nn.ReLU(inplace=True)
        )

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return self.block(volumes)


class Residual3D(nn.Module):
    """Two 3x3x3 convolutions around a skip, which is a 1x1x1 convolution where the widths differ."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.res_branch = nn.Sequential(
            nn.Conv3d(channels, width, 3, padding=1),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, width, 3, padding=1),
            nn.BatchNorm3d(width),
        )
        self.skip_con = (
            nn.Sequential()
            if channels == width
            else nn.Sequential(nn.Conv3d(channels, width, 1), nn.BatchNorm3d(width))
        )

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return F.relu(self.res_branch(volumes) + self.skip_con(volumes), inplace=True)


class Up3D(nn.Module):
    """Twice as many voxels a side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose3d(channels, width, 2, stride=2), nn.BatchNorm3d(width), nn.ReLU(inplace=True)
        )

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return self.block(volumes)


class EncoderDecoder3D(nn.Module):
    """Five times down by pooling and up again, with a residual block on every skip."""

    WIDTHS = (32, 64, 128, 128, 128, 128)

    def __init__(self) -> None:
        super().__init__()
        levels = list(enumerate(zip(self.WIDTHS, self.WIDTHS[1:], strict=False), start=1))
        for level, (upper, lower) in levels:
            setattr(self, f"encoder_res{level}", Residual3D(upper, lower))
        self.mid_res = Residual3D(self.WIDTHS[-1], self.WIDTHS[-1])
        for level, (upper, lower) in reversed(levels):
            setattr(self, f"decoder_res{level}", Residual3D(lower, lower))
            setattr(self, f"decoder_upsample{level}", Up3D(lower, upper))
        for level, (upper, _) in levels:
            setattr(self, f"skip_res{level}", Residual3D(upper, upper))

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        levels = range(1, len(self.WIDTHS))
        skips = []
        for level in levels:
            skips.append(getattr(self, f"skip_res{level}")(volumes))
            volumes = getattr(self, f"encoder_res{level}")(F.max_pool3d(volumes, 2))
        volumes = self.mid_res(volumes)
        for level in reversed(levels):
            volumes = getattr(self, f"decoder_upsample{level}")(getattr(self, f"decoder_res{level}")(volumes))
            volumes = volumes + skips.pop()
        return volumes


class V2V(nn.Module):
    """Feature volumes (batch, channels, n, n, n), n a multiple of 32, to one volume a joint."""

    def __init__(self, channels: int = 32, joints: int = 17) -> None:
        super().__init__()
        self.front_layers = nn.Sequential(
            Basic3D(channels, 16, 7), Residual3D(16, 32), Residual3D(32, 32), Residual3D(32, 32)
        )
        self.encoder_decoder = EncoderDecoder3D()
        self.back_layers = nn.Sequential(Residual3D(32, 32), Basic3D(32, 32, 1), Basic3D(32, 32, 1))
        self.output_layer = nn.Conv3d(32, joints, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return exactly(self.output_layer, self.back_layers(self.encoder_decoder(self.front_layers(volumes))))
