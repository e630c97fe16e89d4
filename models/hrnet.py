"""HRNet: a high-resolution network for 2D poses, with its heat maps and the feature maps below them.

Sun, Xiao, Liu and Wang, "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019,
arXiv:1902.09212; names and shapes of the state dict are those of
github.com/leoxiaobin/deep-high-resolution-net.pytorch. Written anew.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.resnet import BasicBlock, Bottleneck

WIDTHS = (32, 48)  # of the published networks
_STEM = 64
_BLOCKS = 4  # residual blocks a branch and in the first stage
_MODULES = {2: 1, 3: 4, 4: 3}  # modules of a stage, which has as many branches as its number


class HRNet(nn.Module):
    """Images (n, 3, h, w), normalised, h and w multiples of 32, to four feature maps, fine to coarse.

    The maps have 1, 2, 4 and 8 times `width` channels and 1/4, 1/8, 1/16 and 1/32 of the images' height and width.
    """

    stage4: nn.Sequential

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise H36MError(f"an HRNet of width {width} is impossible; the published ones have {WIDTHS}")
        self.widths = tuple(width * 2**branch for branch in range(4))
        self.conv1 = nn.Conv2d(3, _STEM, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.conv2 = nn.Conv2d(_STEM, _STEM, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM)
        first = Bottleneck(_STEM, _STEM, 1, stride_in_first=False)
        more = (Bottleneck(4 * _STEM, _STEM, 1, stride_in_first=False) for _ in range(_BLOCKS - 1))
        self.layer1 = nn.Sequential(first, *more)
        given: tuple[int, ...] = (4 * _STEM,)
        for stage, modules in _MODULES.items():
            widths = self.widths[:stage]
            setattr(self, f"transition{stage - 1}", _transition(given, widths))
            last_outputs = 1 if stage == 4 else stage
            outputs = [stage] * (modules - 1) + [last_outputs]
            setattr(self, f"stage{stage}", nn.Sequential(*(HRModule(widths, count) for count in outputs)))
            given = widths

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As Context-Aware PoseFormer takes the maps.

        The finest is the network's last; the others are what the branches of the first module of stage 4 give, before
        they are fused.
        """
        maps = self._before_stage4(images)
        branched = self.first_of_stage4.branched(maps)
        maps = self.stage4[1:](self.first_of_stage4.fused(branched))
        return maps[0], *branched[1:]

    @property
    def first_of_stage4(self) -> HRModule:
        """The module whose branches give three of the maps."""
        first = self.stage4[0]
        assert isinstance(first, HRModule)
        return first

    def finest(self, images: torch.Tensor) -> torch.Tensor:
        """The network's last map (n, width, h/4, w/4) alone."""
        return self.stage4(self._before_stage4(images))[0]

    def _before_stage4(self, images: torch.Tensor) -> list[torch.Tensor]:
        stem = F.relu(self.bn1(self.conv1(images)), inplace=True)
        maps = [self.layer1(F.relu(self.bn2(self.conv2(stem)), inplace=True))]
        for stage in _MODULES:
            transition = getattr(self, f"transition{stage - 1}")
            # a new branch begins at the coarsest one there is
            sources = [maps[min(branch, len(maps) - 1)] for branch in range(stage)]
            maps = [
                transition[str(branch)](source) if str(branch) in transition else source
                for branch, source in enumerate(sources)
            ]
            if stage < 4:
                maps = getattr(self, f"stage{stage}")(maps)
        return maps


class PoseHRNet(HRNet):
    """The pose network: images (n, 3, h, w), normalised, to raw heat maps (n, joints, h/4, w/4)."""

    def __init__(self, width: int = 32, joints: int = 17) -> None:
        super().__init__(width)
        self.final_layer = nn.Conv2d(width, joints, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.final_layer(self.finest(images))


class HRModule(nn.Module):
    """Branches of residual blocks side by side, then every output from all of them.

    `widths` are the branches' channels; `outputs` says how many branches, from the finest, go on.
    """

    def __init__(self, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width, 1) for _ in range(_BLOCKS))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleDict(
                {str(source): _resampling(widths, source, target) for source in range(len(widths)) if source != target}
            )
            for target in range(outputs)
        )

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Maps of the branches, fine to coarse; as many come out as go on."""
        return self.fused(self.branched(maps))

    def branched(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Each map through its branch."""
        return [branch(each) for branch, each in zip(self.branches, maps, strict=True)]

    def fused(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Sums of all maps, each brought to the target's resolution and width."""
        fused = []
        for target, layers in enumerate(self.fuse_layers):
            assert isinstance(layers, nn.ModuleDict)
            brought = [each if source == target else layers[str(source)](each) for source, each in enumerate(maps)]
            fused.append(F.relu(sum(brought[1:], brought[0])))
        return fused


def _resampling(widths: tuple[int, ...], source: int, target: int) -> nn.Sequential:
    """From one branch's resolution and width to another's: nearest neighbours up, strided convolutions down."""
    if source > target:
        convolution = nn.Conv2d(widths[source], widths[target], 1, bias=False)
        larger = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(convolution, nn.BatchNorm2d(widths[target]), larger)
    kept = [_halving(widths[source], widths[source]) for _ in range(target - source - 1)]
    return nn.Sequential(*kept, _halving(widths[source], widths[target])[:2])  # no ReLU before the sum


def _transition(given: tuple[int, ...], widths: tuple[int, ...]) -> nn.ModuleDict:
    """What changes on the way to a stage: branches of another width, and one new branch at half the resolution."""
    layers: dict[str, nn.Module] = {}
    for branch, width in enumerate(widths):
        if branch == len(given):
            layers[str(branch)] = nn.Sequential(_halving(given[-1], width))
        elif given[branch] != width:
            convolution = nn.Conv2d(given[branch], width, 3, 1, 1, bias=False)
            layers[str(branch)] = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    return nn.ModuleDict(layers)


def _halving(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
