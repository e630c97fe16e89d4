"""The fully connected network of Martinez et al. in its three published forms.

Martinez, Hossain, Romero and Little, "A simple yet effective baseline for 3d human pose estimation", ICCV 2017,
arXiv:1705.03098. The original is TensorFlow (github.com/una-dinosauria/3d-pose-baseline); names and shapes of the state
dict are those of both PyTorch ports (github.com/weigq/3d_pose_baseline_pytorch and the copy in
github.com/garyzhao/SemGCN). Written anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.models.batch_norm import BatchNorm
from h36m_toolbox.models.cards import ANY_DETECTIONS, ModelCard, PublishedScore
from h36m_toolbox.models.folded_lifters import FoldedStages, Product, folded_product
from h36m_toolbox.models.full_precision import exactly
from h36m_toolbox.models.lifting import screen_lifting
from h36m_toolbox.models.recipes import Recipe
from h36m_toolbox.models.registry import checked_options
from h36m_toolbox.models.standardisation import standard_lifting


@dataclass(frozen=True)
class MartinezConfig:
    """Size and variant of the network; the defaults are SemGCN's copy.

    `max_norm` scales each weight matrix down to a Frobenius norm of at most 1 in the forward pass (not gradient
    clipping, to which both ports gave the same name). `biased_variance` averages the biased batch variance into the
    running one, as TensorFlow does. `batch_norm_momentum` is PyTorch's: the weight of the new batch. `init` "kaiming"
    draws weights from a normal distribution and biases as torch.nn.Linear does, "truncated" both from a truncated
    normal one. `batch_norm_init` "uniform" draws batch-norm weights from U(0, 1), as PyTorch 1.1 did.
    """

    input_size: int = 32
    output_size: int = 45
    linear_size: int = 1024
    num_stages: int = 2
    p_dropout: float = 0.5
    residual: bool = True
    batch_norm: bool = True
    batch_norm_eps: float = 1e-5
    batch_norm_momentum: float = 0.1
    biased_variance: bool = False
    max_norm: bool = False
    init: Literal["kaiming", "truncated"] = "kaiming"
    batch_norm_init: Literal["ones", "uniform"] = "ones"


# 15 joints of H36M-16 without the root, metres; screen-normalised input.
MARTINEZ_SEMGCN = MartinezConfig()
# 16 joints of H36M-17 without the root; input and output in units of the training set's standard deviations.
MARTINEZ_WEIGQ = MartinezConfig(output_size=48)
MARTINEZ_TF = MartinezConfig(
    output_size=48,
    batch_norm_eps=1e-3,
    batch_norm_momentum=0.01,
    biased_variance=True,
    max_norm=True,
    init="truncated",
)


class Martinez(nn.Module):
    """2D poses to 3D poses of all joints but the root, in the unit of the training targets.

    Poses (batch, joints, 2) become (batch, joints, 3) with a zero root row in front; flat input (batch, input_size), x
    and y interleaved, becomes (batch, output_size) without it.
    """

    def __init__(self, config: MartinezConfig = MARTINEZ_SEMGCN) -> None:
        super().__init__()
        self.config = config
        self.w1 = _linear(config.input_size, config.linear_size, config)
        self.batch_norm1 = _batch_norm(config)
        self.linear_stages = nn.ModuleList(LinearStage(config) for _ in range(config.num_stages))
        self.w2 = _linear(config.linear_size, config.output_size, config)
        self.p_dropout = config.p_dropout

    def forward(self, poses: torch.Tensor) -> torch.Tensor:
        """(batch, joints, 2) -> (batch, joints, 3), or (batch, input_size) -> (batch, output_size)."""
        features = _activated(self.batch_norm1(exactly(self.w1, poses.flatten(1))), self)
        for stage in self.linear_stages:
            features = stage(features)
        outputs = exactly(self.w2, features)
        return outputs if poses.ndim == 2 else F.pad(outputs.unflatten(1, (-1, 3)), (0, 0, 1, 0))

    def folded(self) -> FoldedStages:
        """See `folded_lifters`."""
        stages = [stage.folded() for stage in self.linear_stages if isinstance(stage, LinearStage)]
        first, last = _folded(self.w1, self.batch_norm1), _folded(self.w2, nn.Identity())
        return FoldedStages(first, stages, last, self.config.residual)


class LinearStage(nn.Module):
    """x + two rounds of linear map, batch norm, ReLU and dropout."""

    def __init__(self, config: MartinezConfig) -> None:
        super().__init__()
        self.w1 = _linear(config.linear_size, config.linear_size, config)
        self.batch_norm1 = _batch_norm(config)
        self.w2 = _linear(config.linear_size, config.linear_size, config)
        self.batch_norm2 = _batch_norm(config)
        self.p_dropout = config.p_dropout
        self.residual = config.residual

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = _activated(self.batch_norm1(self.w1(features)), self)
        inner = _activated(self.batch_norm2(self.w2(inner)), self)
        return features + inner if self.residual else inner

    def folded(self) -> tuple[Product, Product]:
        """Both rounds without batch norm and dropout."""
        return _folded(self.w1, self.batch_norm1), _folded(self.w2, self.batch_norm2)


class MaxNormLinear(nn.Linear):
    """A linear map whose weight matrix is scaled down to a Frobenius norm of at most 1 whenever it is used."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.linear(features, self.bounded_weight, self.bias)

    @property
    def bounded_weight(self) -> torch.Tensor:
        return self.weight / torch.linalg.vector_norm(self.weight).clamp(min=1)


def _folded(layer: nn.Linear, norm: nn.Module) -> Product:
    weight = layer.bounded_weight if isinstance(layer, MaxNormLinear) else layer.weight
    return folded_product(weight.T, layer.bias, norm)


def _activated(features: torch.Tensor, layer: Martinez | LinearStage) -> torch.Tensor:
    return F.dropout(F.relu(features, inplace=True), layer.p_dropout, layer.training)


def _linear(in_features: int, out_features: int, config: MartinezConfig) -> nn.Linear:
    layer = (MaxNormLinear if config.max_norm else nn.Linear)(in_features, out_features)
    if config.init == "kaiming":
        nn.init.kaiming_normal_(layer.weight)
        return layer
    # TensorFlow stores matrices (in, out): "first dimension" is `in` for a weight and `out` for a bias.
    for values, size in ((layer.weight, in_features), (layer.bias, out_features)):
        std = math.sqrt(2 / size)
        nn.init.trunc_normal_(values, std=std, a=-2 * std, b=2 * std)
    return layer


def _batch_norm(config: MartinezConfig) -> nn.Module:
    if not config.batch_norm:
        return nn.Identity()
    layer = BatchNorm(
        config.linear_size, config.batch_norm_eps, config.batch_norm_momentum, biased=config.biased_variance
    )
    if config.batch_norm_init == "uniform":
        nn.init.uniform_(layer.weight)
    return layer


def _build(name: str, base: MartinezConfig, options: dict[str, Any]) -> Martinez:
    given = checked_options(name, options, MartinezConfig, "joints")
    joints = given.pop("joints", 16)
    if joints != 16:  # SemGCN's data: as many joints out, less the root, as in
        base = replace(base, input_size=2 * joints, output_size=3 * (joints - 1))
    return Martinez(replace(base, **given))


_REPOSITORY = "https://github.com/una-dinosauria/3d-pose-baseline"
_WEIGQ = "https://github.com/weigq/3d_pose_baseline_pytorch"
_SEMGCN = "https://github.com/garyzhao/SemGCN"
_LICENCE = "network written anew, MIT; the authors' weights are not shipped, their terms are on the authors' page"
_PAPER = "Martinez et al., A simple yet effective baseline for 3d pose, ICCV 2017, arXiv:1705.03098"
_RECIPE = Recipe(epochs=200, root_in_loss=False)

MARTINEZ_CARD = ModelCard(
    name="martinez",
    build=lambda **options: _build("martinez", MARTINEZ_SEMGCN, options),
    contract=lambda joints=16, **_: screen_lifting(joints),
    paper=_PAPER,
    repository=_SEMGCN,
    weights="https://drive.google.com/drive/folders/1c7Iz6Tt7qbaw0c1snKgcGOD-JGSzuZ4X",
    licence=_LICENCE,
    inputs="2D, h36m-16, one frame; SemGCN's copy: screen units in, metres out",
    parameters=4_288_557,
    published=(
        PublishedScore("gt", "semgcn", 44.40, 35.25, f"{_SEMGCN}#results-on-human36m"),
        PublishedScore("sh", "semgcn", 63.48, 48.15, f"{_SEMGCN}#results-on-human36m"),
    ),
    recipes={ANY_DETECTIONS: _RECIPE},
)

MARTINEZ_WEIGQ_CARD = ModelCard(
    name="martinez-weigq",
    build=lambda **options: _build("martinez-weigq", MARTINEZ_WEIGQ, options),
    contract=lambda **_: standard_lifting(),
    paper=_PAPER,
    repository=_WEIGQ,
    weights=_WEIGQ,
    licence=_LICENCE,
    inputs="2D, h36m-16, one frame; the PyTorch port: standard deviations of the training set in and out",
    parameters=4_291_632,
    published=(PublishedScore("gt", "martinez-all-frames", 43.0, None, f"{_WEIGQ} (mean of its 15 actions)"),),
    recipes={ANY_DETECTIONS: _RECIPE},
)

MARTINEZ_TF_CARD = ModelCard(
    name="martinez-tf",
    build=lambda **options: _build("martinez-tf", MARTINEZ_TF, options),
    contract=lambda **_: standard_lifting(),
    paper=_PAPER,
    repository=_REPOSITORY,
    weights="none that PyTorch reads: the original is TensorFlow; train it here",
    licence=_LICENCE,
    inputs="2D, h36m-16, one frame; the TensorFlow original: standard deviations of the training set in and out",
    parameters=4_291_632,
    published=(PublishedScore("gt", "martinez", 45.5, None, f"{_WEIGQ} (the original's row; mean of its 15 actions)"),),
    # Its weights are bounded in the forward pass (max_norm) instead of the gradients.
    recipes={
        ANY_DETECTIONS: replace(
            _RECIPE, staircase=False, clip_norm=None, drop_last=True, epsilon_before_correction=True
        )
    },
)
