"""The lifting network of Context-Aware PoseFormer: 2D joints, and feature maps around them, to one 3D pose.

Zhao, Zheng, Liu and Chen, "A Single 2D Pose with Context is Worth Hundreds for 3D Human Pose Estimation", NeurIPS 2023,
arXiv:2311.03312; names and shapes of the state dict are those of github.com/QitaoZhao/ContextAware-PoseFormer.
Written anew.

A joint has five tokens: its coordinates and its features on four levels. Positions on a map are (x, y) from -1 to 1,
from the centre of its first pixel to that of its last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.models.full_precision import exactly, row_like

HEADS = 8  # of the attention between tokens
CONTEXT_HEADS = 4  # of the attention to the maps
SAMPLES = 4  # points on a map a joint and head
DEPTH = 4  # blocks of each kind
DROP_PATH = 0.2  # of the last block; the first has none


@dataclass(frozen=True)
class TransformerConfig:
    """Channels of the four feature maps, a token's width, and the variant.

    `context_blocks` are the deformable blocks; the MPI-INF-3DHP variant has none. `drop_path` is the rate of the last
    block of each kind.
    """

    map_channels: tuple[int, ...] = (32, 64, 128, 256)
    width: int = 128
    joints: int = 17
    context_blocks: bool = True
    drop_path: float = DROP_PATH


class PoseTransformer(nn.Module):
    """2D joints (batch, joints, 2) and feature maps to 3D joints (batch, joints, 3)."""

    Spatial_pos_embed: nn.Parameter  # (1, 1 + levels, joints, width)

    def __init__(self, config: TransformerConfig = TransformerConfig()) -> None:
        super().__init__()
        width, tokens = config.width, 1 + len(config.map_channels)
        rates = [config.drop_path * number / (DEPTH - 1) for number in range(DEPTH)]
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, tokens, config.joints, width))
        self.coord_embed = nn.Linear(2, width)
        self.feat_embed = nn.ModuleList(nn.Linear(channels, width) for channels in config.map_channels)
        self.joint_blocks = nn.ModuleList(Block(tokens * width, rate) for rate in rates)
        self.res_blocks = nn.ModuleList(Block(width, rate) for rate in rates)
        self.context_blocks = nn.ModuleList(
            DeformableBlock(config.map_channels, width, rate) for rate in rates if config.context_blocks
        )
        self.head = nn.Sequential(nn.LayerNorm(tokens * width), nn.Linear(tokens * width, 3))

    def forward(self, joints_2d: torch.Tensor, places: torch.Tensor, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """`joints_2d` and their `places` on the maps, both (batch, joints, 2); `maps` (batch, channels, h, w) each."""
        sampled = [_at(each, places) for each in maps]
        features = [embed(each) for embed, each in zip(self.feat_embed, sampled, strict=True)]
        tokens = torch.stack([exactly(self.coord_embed, joints_2d), *features], dim=1) + self.Spatial_pos_embed
        if len(self.context_blocks):
            for block, atlas in zip(self.context_blocks, projected_atlases(self.context_blocks, maps), strict=True):
                tokens = block(tokens, places, atlas)
        batch, _, joints, _ = tokens.shape
        tokens = tokens.transpose(1, 2).flatten(0, 1)  # (batch * joints, 1 + levels, width)
        for block in self.res_blocks:
            tokens = block(tokens)
        tokens = tokens.flatten(1).unflatten(0, (batch, joints))  # (batch, joints, (1 + levels) * width)
        for block in self.joint_blocks:
            tokens = block(tokens)
        return exactly(self.head, tokens)


class Block(nn.Module):
    """Attention between the tokens of a row (rows, tokens, width), then a perceptron, each around a skip."""

    def __init__(self, width: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self._path(self.attn(self.norm1(tokens)))
        return tokens + self._path(self.mlp(self.norm2(tokens)))

    def _path(self, branch: torch.Tensor) -> torch.Tensor:
        return dropped_path(branch, self.drop_path if self.training else 0.0)


class Attention(nn.Module):
    """Vaswani et al. 2017, eight heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (rows, heads, tokens, width / heads)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Twice as wide inside, GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class DeformableBlock(nn.Module):
    """Each feature token looks at points of its own map near its joint; the coordinate token says with it where."""

    def __init__(self, map_channels: tuple[int, ...], width: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width)
        self.attention_weights = nn.Linear(width, CONTEXT_HEADS * SAMPLES)
        self.sampling_offsets = nn.Linear(width, CONTEXT_HEADS * SAMPLES * 2)
        self.embed_proj = nn.ModuleList(nn.Linear(channels, width // CONTEXT_HEADS) for channels in map_channels)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width)
        for layer in (self.attention_weights, self.sampling_offsets):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        steps = 0.01 * torch.arange(1, SAMPLES + 1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((directions[:, None] * steps[:, None]).flatten())

    def forward(self, tokens: torch.Tensor, places: torch.Tensor, atlas: Atlas) -> torch.Tensor:
        """`tokens` (batch, 1 + levels, joints, width); `atlas` has the maps, projected by `embed_proj`."""
        coordinates, features = tokens[:, :1], tokens[:, 1:]
        asked = self.norm1(features + coordinates)
        weights = self.attention_weights(asked).unflatten(3, (CONTEXT_HEADS, SAMPLES)).softmax(4)
        offsets = self.sampling_offsets(asked).tanh().unflatten(3, (CONTEXT_HEADS * SAMPLES, 2))
        seen = atlas.sampled(places[:, None, :, None] + offsets)  # (batch, channels, levels, joints, heads * samples)
        seen = (seen.unflatten(4, (CONTEXT_HEADS, SAMPLES)) * weights[:, None].to(seen.dtype)).sum(5)
        found = seen.permute(0, 2, 3, 4, 1).flatten(3)  # (batch, levels, joints, heads * channels)
        features = features + self._path(found)
        features = features + self._path(self.mlp(self.norm2(features)))
        return torch.cat([coordinates, features], dim=1)

    def _path(self, branch: torch.Tensor) -> torch.Tensor:
        return dropped_path(branch, self.drop_path if self.training else 0.0)


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class Atlas:
    """Maps of several levels, one below the other in one image, so that all are sampled at once.

    `image` (batch, channels, h, w); each level has its first and last row and its last column repeated around it, so
    that rounding at an edge never reaches another level. `sizes` are the levels' height and width, without that margin.
    """

    image: torch.Tensor
    sizes: tuple[tuple[int, int], ...]

    def sampled(self, places: torch.Tensor) -> torch.Tensor:
        """Values at `places` (batch, levels, joints, points, 2), bilinear; outside a map those of its border.

        (batch, channels, levels, joints, points).
        """
        levels, joints = places.shape[1:3]
        last = torch.stack([row_like([width - 1, height - 1], places) for height, width in self.sizes])[:, None, None]
        tops = [1 + sum(height + 2 for height, _ in self.sizes[:level]) for level in range(levels)]
        corners = torch.stack([row_like([0, top], places) for top in tops])[:, None, None]
        # without a number: anywhere, because torch crashes on NaN; the weights of such a point are NaN too
        pixels = (places.nan_to_num().clamp(-1, 1) + 1) / 2 * last + corners
        whole = row_like([max(1, side - 1) for side in (self.image.shape[-1], self.image.shape[-2])], places)
        grid = (pixels / whole * 2 - 1).flatten(1, 2)  # (batch, levels * joints, points, 2)
        image = self.image.to(grid.dtype)  # under autocast too, half precision could not tell pixels apart
        values = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
        return values.unflatten(2, (levels, joints))


def projected_atlases(blocks: nn.ModuleList, maps: Sequence[torch.Tensor]) -> Iterator[Atlas]:
    """For each deformable block the maps as its `embed_proj` projects them.

    Projecting a map and then sampling gives what sampling and then projecting gives: the weights of a bilinear sample
    sum to 1 where borders are repeated.
    """
    width = max(each.shape[-1] for each in maps)
    levels = []
    for level, each in enumerate(maps):
        names = [f"{block}.embed_proj.{level}" for block in range(len(blocks))]
        weight = torch.cat([blocks.get_parameter(f"{name}.weight") for name in names])[..., None, None]
        bias = torch.cat([blocks.get_parameter(f"{name}.bias") for name in names])
        projected = F.conv2d(each, weight, bias)
        levels.append(F.pad(projected, (0, width - each.shape[-1], 1, 1), mode="replicate"))
    image = torch.cat(levels, dim=2)
    sizes = tuple((each.shape[-2], each.shape[-1]) for each in maps)
    return (Atlas(part, sizes) for part in image.chunk(len(blocks), dim=1))


def dropped_path(branch: torch.Tensor, rate: float) -> torch.Tensor:
    """Stochastic depth (Huang et al. 2016): rows of axis 0 become 0 with this rate, the others are scaled up."""
    if rate == 0:
        return branch
    keep = branch.new_empty(len(branch), *(1,) * (branch.ndim - 1)).bernoulli_(1 - rate)
    return branch * (keep / (1 - rate))


def _at(image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(batch, joints, channels) of a map (batch, channels, h, w) at places (batch, joints, 2), bilinear, 0 outside.

    NaN at a place that is NaN.
    """
    grid = places.nan_to_num()[:, :, None]
    sampled = F.grid_sample(image.to(places.dtype), grid, padding_mode="zeros", align_corners=True)
    return sampled[..., 0].transpose(1, 2).masked_fill(places.isnan().any(-1, keepdim=True), torch.nan)
