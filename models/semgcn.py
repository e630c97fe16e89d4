"""SemGCN: semantic graph convolutions that lift one 2D pose to 3D, with and without non-local blocks.

Zhao, Peng, Tian, Kapadia and Metaxas, "Semantic Graph Convolutional Networks for 3D Human Pose Regression", CVPR 2019,
arXiv:1904.03345; names and shapes of the state dict are those of github.com/garyzhao/SemGCN. Written anew.

Features are (batch, joints, channels) throughout.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.batch_norm import BatchNorm
from h36m_toolbox.models.cards import ANY_DETECTIONS, ModelCard, PublishedScore
from h36m_toolbox.models.folded_lifters import FoldedGraphs, GraphProduct, folded_graph_product, rarer_colour
from h36m_toolbox.models.full_precision import exactly
from h36m_toolbox.models.lifting import screen_lifting
from h36m_toolbox.models.recipes import Recipe
from h36m_toolbox.models.registry import checked_options
from h36m_toolbox.skeletons import H36M_16, H36M_17, Skeleton

# The pairs of joints over which the non-local blocks pool, as published.
POOLED_PAIRS = (
    *(("RKnee", "RFoot"), ("LKnee", "LFoot"), ("RHip", "LHip"), ("Hip", "Spine")),
    *(("Thorax", "Head"), ("RElbow", "RWrist"), ("LElbow", "LWrist"), ("LShoulder", "RShoulder")),
)


@dataclass(frozen=True)
class SemGCNConfig:
    """Size and variant of a SemGCN.

    `batch_norm_init` "uniform" draws batch-norm weights from U(0, 1), as PyTorch 1.1 did when the published models were
    trained; "ones" is today's default.
    """

    hid_dim: int = 128
    num_layers: int = 4
    p_dropout: float | None = None
    non_local: bool = False
    skeleton: Skeleton = H36M_16
    batch_norm_init: Literal["ones", "uniform"] = "ones"


class SemGCN(nn.Module):
    """Screen-normalised 2D poses (batch, joints, 2) to camera-frame poses (batch, joints, 3), metres, root included."""

    def __init__(self, config: SemGCNConfig = SemGCNConfig()) -> None:
        super().__init__()
        self.config = config
        mask, width = mask_of(config.skeleton), config.hid_dim

        def with_non_local(layer: nn.Module) -> list[nn.Module]:
            if not config.non_local:
                return [layer]
            block = NonLocal(width, _pooled_pairs(config.skeleton))
            return [layer, nn.Sequential(OrderedDict({"nonlocal": block}))]  # the official name is a Python keyword

        first = GraphConvBlock(2, width, mask, config)
        self.gconv_input = nn.Sequential(*with_non_local(first))
        residuals = [ResidualBlock(width, mask, config) for _ in range(config.num_layers)]
        self.gconv_layers = nn.Sequential(*(layer for block in residuals for layer in with_non_local(block)))
        self.gconv_output = SemGraphConv(width, 3, mask)

    def forward(self, poses: torch.Tensor) -> torch.Tensor:
        """(batch, joints, 2) -> (batch, joints, 3)."""
        return exactly(self.gconv_output, self.gconv_layers(exactly(self.gconv_input, poses)))

    def folded(self) -> FoldedGraphs | None:
        """See `folded_lifters`; None with non-local blocks."""
        if self.config.non_local:
            return None
        blocks = [module for module in self.modules() if isinstance(module, GraphConvBlock)]
        layers = [folded_graph_product(block.gconv.product(), block.bn) for block in blocks]
        skeleton = self.config.skeleton
        last = folded_graph_product(self.gconv_output.product(), nn.Identity())
        return FoldedGraphs([*layers, last], rarer_colour(skeleton.bones, len(skeleton)))


class ResidualBlock(nn.Module):
    """x + block(block(x)), nothing after the sum."""

    def __init__(self, width: int, mask: torch.Tensor, config: SemGCNConfig) -> None:
        super().__init__()
        self.gconv1 = GraphConvBlock(width, width, mask, config)
        self.gconv2 = GraphConvBlock(width, width, mask, config)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.gconv2(self.gconv1(features))


class GraphConvBlock(nn.Module):
    """Graph convolution, batch norm over batch and joints, ReLU, dropout."""

    def __init__(self, in_features: int, out_features: int, mask: torch.Tensor, config: SemGCNConfig) -> None:
        super().__init__()
        self.gconv = SemGraphConv(in_features, out_features, mask)
        self.bn = BatchNorm(out_features)
        self.p_dropout = config.p_dropout or 0.0
        if config.batch_norm_init == "uniform":
            nn.init.uniform_(self.bn.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.dropout(F.relu(self.bn(self.gconv(features)), inplace=True), self.p_dropout, self.training)


class SemGraphConv(nn.Module):
    """out_i = a_ii x_i W0 + sum over j != i of a_ij x_j W1 + bias; a is the row softmax of `e` on the mask (eq. 2)."""

    W: nn.Parameter  # (2, in, out)
    e: nn.Parameter  # (1, entries of the mask), row-major
    bias: nn.Parameter  # (out,)

    def __init__(self, in_features: int, out_features: int, mask: torch.Tensor) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(2, in_features, out_features))
        self.e = nn.Parameter(torch.ones(1, int(mask.sum())))
        self.bias = nn.Parameter(torch.empty(out_features))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        nn.init.uniform_(self.bias, -(out_features**-0.5), out_features**-0.5)
        self.register_buffer("entries", mask.flatten().nonzero()[:, 0], persistent=False)
        self.joints = len(mask)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        batch, joints, channels = features.shape
        adjacency = _adjacency(self.e, self.get_buffer("entries"), joints)[0]
        own = adjacency.diagonal().diag_embed()
        # Mixing joints before channels makes [own, others] one (2 joints x joints) product whose result is already laid
        # out for the (2 in x out) one.
        mixing = torch.stack([own, adjacency - own], dim=1).reshape(2 * joints, joints)
        mixed = torch.bmm(mixing.expand(batch, -1, -1), features).reshape(batch * joints, 2 * channels)
        return torch.addmm(self.bias, mixed, self.W.flatten(0, 1)).reshape(batch, joints, self.W.shape[2])

    def product(self) -> GraphProduct:
        """The convolution with its adjacency computed."""
        adjacency = _adjacency(self.e.detach(), self.get_buffer("entries"), self.joints)[0]
        own, others = self.W.detach()
        return GraphProduct(own, others, self.bias.detach(), adjacency)


class ChannelSemGraphConv(nn.Module):
    """SemGraphConv with its own adjacency for every output channel: `e` is (out, entries of the mask) (eq. 3)."""

    W: nn.Parameter  # (2, in, out)
    e: nn.Parameter  # (out, entries of the mask), row-major
    bias: nn.Parameter  # (out,)

    def __init__(self, in_features: int, out_features: int, mask: torch.Tensor) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(2, in_features, out_features))
        self.e = nn.Parameter(torch.ones(out_features, int(mask.sum())))
        self.bias = nn.Parameter(torch.empty(out_features))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        nn.init.uniform_(self.bias, -(in_features**-0.5), in_features**-0.5)
        self.register_buffer("entries", mask.flatten().nonzero()[:, 0], persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        adjacency = _adjacency(self.e, self.get_buffer("entries"), features.shape[1])  # (out, joints, joints)
        own = adjacency.diagonal(dim1=1, dim2=2)  # (out, joints)
        others = adjacency - own.diag_embed()
        neighbours = torch.einsum("cij,bjc->bic", others, features @ self.W[1])
        return own.T * (features @ self.W[0]) + neighbours + self.bias


class NonLocal(nn.Module):
    """x + W(y), y_i = mean over pooled nodes j of ReLU(w . [theta(x_i); phi(x)_j]) g(x)_j (eq. 5, concatenation form).

    `pairs` (nodes / 2, 2) are the joints whose g and phi are pooled together. Starts as the identity.
    """

    def __init__(self, channels: int, pairs: torch.Tensor) -> None:
        super().__init__()
        inner = channels // 2
        self.g = nn.Sequential(PointwiseConv(channels, inner), PairMaximum(pairs))
        self.theta = PointwiseConv(channels, inner)
        self.phi = nn.Sequential(PointwiseConv(channels, inner), PairMaximum(pairs))
        self.concat_project = nn.Sequential(PairScore(inner))
        norm = BatchNorm(channels)
        nn.init.zeros_(norm.weight)
        self.W = nn.Sequential(PointwiseConv(inner, channels), norm)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scores = self.concat_project((self.theta(features), self.phi(features)))  # (batch, nodes, nodes / 2)
        return features + self.W(scores / scores.shape[-1] @ self.g(features))


class PointwiseConv(nn.Module):
    """The same linear map at every node, its weight (out, in, 1) as in a convolution of kernel 1."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features, 1))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.linear(features, self.weight[..., 0], self.bias)


class PairMaximum(nn.Module):
    """Channel-wise maximum over pairs of nodes: (batch, nodes, channels) -> (batch, nodes / 2, channels)."""

    def __init__(self, pairs: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("pairs", pairs, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        paired = features.index_select(1, self.get_buffer("pairs").flatten())
        return paired.unflatten(1, (-1, 2)).max(dim=2).values


class PairScore(nn.Module):
    """ReLU(w . [theta_i; phi_j]) for every i and j, w being (1, 2 channels, 1, 1) as in a bias-free 2D convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, 2 * channels, 1, 1))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, theta_phi: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        theta, phi = theta_phi
        of_theta, of_phi = self.weight.flatten().chunk(2)
        return F.relu((theta @ of_theta)[:, :, None] + (phi @ of_phi)[:, None, :])


def mask_of(skeleton: Skeleton) -> torch.Tensor:
    """Which joints each joint sees: (joints, joints), true for itself, its parent and its children."""
    mask = torch.eye(len(skeleton), dtype=torch.bool)
    for parent, child in skeleton.bones:
        mask[parent, child] = mask[child, parent] = True
    return mask


def _adjacency(e: torch.Tensor, entries: torch.Tensor, joints: int) -> torch.Tensor:
    """Row softmax of e (matrices, entries) on the mask: (matrices, joints, joints), zero outside it."""
    logits = e.new_full((len(e), joints * joints), -torch.inf)
    return logits.index_copy(1, entries, e).reshape(-1, joints, joints).softmax(dim=2)


def _pooled_pairs(skeleton: Skeleton) -> torch.Tensor:
    pooled = tuple(joint for pair in POOLED_PAIRS for joint in pair)
    if sorted(pooled) != sorted(skeleton.joints):
        raise H36MError(
            f"non-local blocks pool the {len(pooled)} joints of {H36M_16.name} in pairs; skeleton {skeleton.name} has "
            f"{len(skeleton)} joints: use {H36M_16.name} or non_local=False"
        )
    return torch.tensor([skeleton.indices(pair) for pair in POOLED_PAIRS])


def _build(name: str, base: SemGCNConfig, options: dict[str, Any]) -> SemGCN:
    given = checked_options(name, options, SemGCNConfig, "joints")
    if given.pop("joints", 16) == 17:
        base = replace(base, skeleton=H36M_17)
    return SemGCN(replace(base, **given))


_PAPER = "Zhao et al., Semantic Graph Convolutional Networks, CVPR 2019, arXiv:1904.03345"
_REPOSITORY = "https://github.com/garyzhao/SemGCN"
_RESULTS = f"{_REPOSITORY}#results-on-human36m"

SEMGCN_CARD = ModelCard(
    name="semgcn",
    build=lambda **options: _build("semgcn", SemGCNConfig(), options),
    contract=lambda joints=16, **_: screen_lifting(joints),
    paper=_PAPER,
    repository=_REPOSITORY,
    weights="https://drive.google.com/drive/folders/1c7Iz6Tt7qbaw0c1snKgcGOD-JGSzuZ4X",
    licence="network written anew, MIT; the authors' weights are not shipped, their terms are on the authors' page",
    inputs="2D, h36m-16, one frame",
    parameters=267_343,
    published=(PublishedScore("gt", "semgcn", 42.14, 33.53, _RESULTS),),
    # Not published on other detections than ground truth: there it takes the program's default of 100 epochs.
    recipes={"gt": Recipe(epochs=50), ANY_DETECTIONS: Recipe(epochs=100)},
)

SEMGCN_NONLOCAL_CARD = replace(
    SEMGCN_CARD,
    name="semgcn-nonlocal",
    build=lambda **options: _build("semgcn-nonlocal", SemGCNConfig(non_local=True), options),
    parameters=434_703,
    published=(
        PublishedScore("gt", "semgcn", 40.78, 31.46, _RESULTS),
        PublishedScore("sh", "semgcn", 61.24, 47.71, _RESULTS),
    ),
    recipes={"gt": Recipe(epochs=30), ANY_DETECTIONS: Recipe(epochs=100)},
)
