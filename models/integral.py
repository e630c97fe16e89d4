"""Integral regression: a volume of heat maps a joint, read out by its expectation; and the direct regression beside it.

Sun, Xiao, Wei, Liang and Wei, "Integral Human Pose Regression", ECCV 2018, arXiv:1711.08229; names and shapes of the
state dict are those of github.com/JimmySuen/integral-human-pose. Written anew.

Coordinates are (batch, joints, 3): x and y are fractions of the patch's width and height from its middle, z is a
fraction of its width, of what the patch is deep in (`h36m_toolbox.pose_datasets.patches`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.cards import ModelCard, PublishedScore
from h36m_toolbox.models.full_precision import exactly
from h36m_toolbox.models.patch_models import FromPatches, patch_named
from h36m_toolbox.models.registry import checked_options
from h36m_toolbox.models.resnet import ResNetTrunk
from h36m_toolbox.skeletons import INTEGRAL_18

STRIDE = 32  # patch pixels a cell of the trunk's last stage
_KERNELS = {4: (1, 0), 3: (1, 1), 2: (0, 0)}  # of the up-convolutions: padding, output padding


@dataclass(frozen=True)
class IntegralConfig:
    """Trunk, up-convolutions and the number of cells in depth, officially a quarter of the patch's width.

    `initial_std` is the standard deviation of every convolution's first weights, None for He's: officially so small
    that ImageNet's weights must take the trunk's place.
    """

    layers: int = 50
    joints: int = 18
    depth: int = 64
    deconv_layers: int = 3
    deconv_channels: int = 256
    deconv_kernel: int = 4
    final_kernel: int = 1
    stride_in_first: bool = False
    initial_std: float | None = 0.001


@dataclass(frozen=True)
class DirectConfig:
    """Trunk and the side of its last map, which is pooled to one cell: 8 for patches of 256 x 256.

    `initial_std` as of `IntegralConfig`.
    """

    layers: int = 50
    joints: int = 18
    pooled: int = 8
    stride_in_first: bool = False
    initial_std: float | None = 0.001


class IntegralPose(nn.Module):
    """Patches (batch, 3, height, width), normalised, to coordinates (batch, joints, 3)."""

    def __init__(self, config: IntegralConfig = IntegralConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNetTrunk(config)
        self.head = UpHead(self.backbone.channels, config)
        _initialise(self, config.initial_std)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) -> (batch, joints, 3)."""
        return soft_argmax(self.volumes(patches), self.config.joints)

    def volumes(self, patches: torch.Tensor) -> torch.Tensor:
        """Raw heat maps (batch, joints * depth, rows, columns), the depths of a joint next to each other."""
        return self.head(self.backbone.deep_features(patches))


class DirectPose(nn.Module):
    """Patches (batch, 3, 256, 256), normalised, to coordinates (batch, joints, 3), without heat maps."""

    def __init__(self, config: DirectConfig = DirectConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNetTrunk(config)
        self.head = PooledHead(self.backbone.channels, config)
        _initialise(self, config.initial_std)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) -> (batch, joints, 3); H36MError for patches of another size than the head's."""
        side = STRIDE * self.config.pooled
        if patches.shape[-2:] != (side, side):
            raise H36MError(
                f"direct regression takes patches of {side}x{side}, found {patches.shape[-1]}x{patches.shape[-2]}"
            )
        return self.head(self.backbone.deep_features(patches)).unflatten(1, (self.config.joints, 3))


class UpHead(nn.Module):
    """Up-convolutions, each with batch norm and ReLU, and a convolution to joints * depth maps."""

    def __init__(self, channels: int, config: IntegralConfig) -> None:
        super().__init__()
        if config.deconv_kernel not in _KERNELS:
            kernels = ", ".join(map(str, _KERNELS))
            raise H36MError(f"up-convolutions have kernels of {kernels}, not of {config.deconv_kernel}")
        padding, more = _KERNELS[config.deconv_kernel]
        layers: list[nn.Module] = []
        for _ in range(config.deconv_layers):
            width, kernel = config.deconv_channels, config.deconv_kernel
            layers += [
                nn.ConvTranspose2d(channels, width, kernel, stride=2, padding=padding, output_padding=more, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        final = config.final_kernel
        layers.append(nn.Conv2d(channels, config.joints * config.depth, final, padding=final // 2))
        self.features = nn.ModuleList(layers)

    def forward(self, deep: torch.Tensor) -> torch.Tensor:
        for layer in self.features[:-1]:
            deep = layer(deep)
        volumes: torch.Tensor = exactly(self.features[-1], deep)
        return volumes


class PooledHead(nn.Module):
    """The mean of the last map and a linear layer to 3 numbers a joint."""

    def __init__(self, channels: int, config: DirectConfig) -> None:
        super().__init__()
        self.avgpool = nn.AvgPool2d(config.pooled, stride=1)
        self.fc = nn.Linear(channels, 3 * config.joints)

    def forward(self, deep: torch.Tensor) -> torch.Tensor:
        return exactly(self.fc, self.avgpool(deep).flatten(1))


def soft_argmax(volumes: torch.Tensor, joints: int) -> torch.Tensor:
    """Expected places in volumes (batch, joints * depth, rows, columns) of logits: (batch, joints, 3) x, y, z.

    A place is the expected index over the number of cells, minus 0.5, as officially: a uniform volume of n columns
    gives x = -1 / (2n), not 0. Sums are over marginals, in float32 at least, whatever the logits are in.
    """
    if volumes.shape[1] % joints:
        raise H36MError(f"{volumes.shape[1]} heat maps are no whole number for each of {joints} joints")
    exact = torch.promote_types(volumes.dtype, torch.float32)
    cells = F.softmax(volumes.unflatten(1, (joints, -1)).flatten(2), dim=2, dtype=exact)
    cells = cells.unflatten(2, (-1, *volumes.shape[2:]))  # (batch, joints, depth, rows, columns)
    face = cells.sum(2)
    marginals = (face.sum(2), face.sum(3), cells.sum((3, 4)))
    return torch.stack([_expected(marginal) for marginal in marginals], dim=-1)


def _expected(marginal: torch.Tensor) -> torch.Tensor:
    count = marginal.shape[-1]
    indices = torch.arange(count, dtype=marginal.dtype, device=marginal.device)
    return (marginal * indices).sum(-1) / count - 0.5


def _initialise(model: nn.Module, std: float | None) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            if std is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


_SHARED_OPTIONS = ("patch", "depth_in")
_PATCH = "256x256"
_HEIGHT_MM = 2000.0  # that a patch shows at the pelvis, and its width for a square one


def _contract(patch: str = _PATCH, depth_in: str = "mm", **_: Any) -> FromPatches:
    if depth_in not in ("mm", "image"):
        raise H36MError(f"no depth in {depth_in!r}; there are mm (Human3.6M's program) and image (the challenge's)")
    flat = patch_named(patch)
    return FromPatches(replace(flat, depth_mm=_HEIGHT_MM * flat.aspect if depth_in == "mm" else None))


def _build_integral(**options: Any) -> IntegralPose:
    given = _own_options("integral", options, IntegralConfig)
    patch = _contract(**options).patch
    deconv_layers = given.get("deconv_layers", IntegralConfig.deconv_layers)
    return IntegralPose(IntegralConfig(**{"depth": patch.width * 2**deconv_layers // STRIDE, **given}))


def _build_direct(**options: Any) -> DirectPose:
    given = _own_options("integral-direct", options, DirectConfig)
    patch = _contract(**options).patch
    if patch.width != patch.height:
        raise H36MError(f"direct regression takes square patches, not {patch.width}x{patch.height}")
    return DirectPose(DirectConfig(**{"pooled": patch.width // STRIDE, **given}))


def _own_options(model: str, options: dict[str, Any], config: type) -> dict[str, Any]:
    given = checked_options(model, options, config, *_SHARED_OPTIONS)
    if given.get("joints", len(INTEGRAL_18)) != len(INTEGRAL_18):
        raise H36MError(f"model {model} has {len(INTEGRAL_18)} joints, not {given['joints']}; leave --joints out")
    return {name: value for name, value in given.items() if name not in _SHARED_OPTIONS}


_REPOSITORY = "https://github.com/JimmySuen/integral-human-pose"
_RESULTS = f"{_REPOSITORY}#main-results"
_TRAINED_ON = "Human3.6M and MPII"

INTEGRAL_CARD = ModelCard(
    name="integral",
    build=_build_integral,
    contract=_contract,
    paper="Sun et al., Integral Human Pose Regression, ECCV 2018, arXiv:1711.08229",
    repository=_REPOSITORY,
    weights=f"{_REPOSITORY} (the challenge's, of R152, 288x384)",
    licence="network written anew, MIT; the authors' repository is MIT too, their weights are not shipped",
    inputs="images, one person's patch of 256x256 or 288x384",
    parameters=34_291_392,
    published=tuple(
        PublishedScore("images", "challenge-2018", mpjpe_mm, None, f"{_RESULTS}, {what}")
        for mpjpe_mm, what in (
            (62.2, f"R50, 256x256, {_TRAINED_ON}"),
            (61.2, f"R152, 256x256, {_TRAINED_ON}"),
            (58.5, f"R152, 288x384, {_TRAINED_ON}"),
            (57.5, f"R152, 288x384, {_TRAINED_ON} and COCO"),
            (56.9, f"R152, 288x384, {_TRAINED_ON} and COCO, flip test"),
            (55.3, f"R152, 288x384, {_TRAINED_ON} and COCO, flip test, ensemble"),
        )
    ),
)

DIRECT_CARD = replace(
    INTEGRAL_CARD,
    name="integral-direct",
    build=_build_direct,
    weights="none were published",
    inputs="images, one person's patch of 256x256",
    parameters=23_618_678,
    published=(),
)
