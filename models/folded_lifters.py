"""Lifters that no longer learn, as fewer and larger products: what `lifting.predict` runs on the CPU.

The algebra is exact: batch norms are folded into the products before them, and a graph's joints come first in memory.
ReLU and sums work in place, and all batches of a thread use the same memory. float32 outputs agree with the networks'
to about 1e-6 of the largest.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F


class FoldedLifter(Protocol):
    """A network in eval mode on the CPU, for any number of threads; fastest with `batch` poses a call."""

    batch: int

    def __call__(self, poses: torch.Tensor) -> torch.Tensor: ...


@runtime_checkable
class Foldable(Protocol):
    """A network that has a folded form in its present options."""

    def folded(self) -> FoldedLifter | None:
        """The network as it would be in eval mode now; None where it runs as it is."""
        ...


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class Product:
    """x -> x `weight` + `bias`, shapes (in, out) and (out,)."""

    weight: torch.Tensor
    bias: torch.Tensor

    def into(self, features: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """The map of rows of features, written to `out`."""
        return torch.addmm(self.bias, features, self.weight, out=out)


@dataclass(frozen=True, eq=False)
class GraphProduct:
    """out_i = a_ii x_i `own` + sum over j != i of a_ij x_j `others` + bias; a is `adjacency` (joints, joints)."""

    own: torch.Tensor
    others: torch.Tensor
    bias: torch.Tensor
    adjacency: torch.Tensor


def folded_product(weight: torch.Tensor, bias: torch.Tensor, norm: nn.Module) -> Product:
    """A linear map (in, out) and the batch norm in eval mode after it, or no norm, as one map."""
    factor, shift = _affine(norm, bias)
    return Product(_float32(weight.double() * factor), _float32(bias.double() * factor + shift))


def folded_graph_product(product: GraphProduct, norm: nn.Module) -> GraphProduct:
    """A graph convolution and the batch norm in eval mode after it as one."""
    factor, shift = _affine(norm, product.bias)
    return GraphProduct(
        _float32(product.own.double() * factor),
        _float32(product.others.double() * factor),
        _float32(product.bias.double() * factor + shift),
        product.adjacency,
    )


def _affine(norm: nn.Module, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and shift of each channel, float64."""
    if not isinstance(norm, nn.BatchNorm1d):
        return torch.ones_like(like, dtype=torch.float64), torch.zeros_like(like, dtype=torch.float64)
    mean, variance = (norm.get_buffer(name).double() for name in ("running_mean", "running_var"))
    factor = norm.weight.double() / torch.sqrt(variance + norm.eps)
    return factor, norm.bias.double() - mean * factor


def _float32(values: torch.Tensor) -> torch.Tensor:
    return values.detach().float().contiguous()


class _Memory(threading.local):
    """What a thread computes in, kept from batch to batch: new memory costs more than adding in it."""

    def __init__(self) -> None:
        self._held = torch.empty(0)

    def shaped(self, *shape: int) -> torch.Tensor:
        numbers = math.prod(shape)
        if numbers > len(self._held):
            self._held = torch.empty(numbers)
        return self._held[:numbers].view(shape)


class FoldedStages:
    """Martinez' network: a first map, stages of two maps with ReLU around which features are added, a last map."""

    batch = 2048  # poses a product of 1024 x 1024 takes to come near the processor's peak

    def __init__(
        self, first: Product, stages: Sequence[tuple[Product, Product]], last: Product, residual: bool
    ) -> None:
        self._first, self._stages, self._last, self._residual = first, tuple(stages), last, residual
        self._memory = _Memory()

    @torch.inference_mode()
    def __call__(self, poses: torch.Tensor) -> torch.Tensor:
        """As the network's forward."""
        features, inner, outer = self._memory.shaped(3, len(poses), len(self._first.bias))
        self._first.into(poses.flatten(1), features).relu_()
        for first, second in self._stages:
            first.into(features, inner).relu_()
            second.into(inner, outer).relu_()
            if self._residual:
                features.add_(outer)
            else:
                features, outer = outer, features
        outputs = torch.addmm(self._last.bias, features, self._last.weight)
        return outputs if poses.ndim == 2 else F.pad(outputs.unflatten(1, (-1, 3)), (0, 0, 1, 0))


class FoldedGraphs:
    """SemGCN without non-local blocks: a first convolution, pairs of them around which features are added, a last one.

    A skeleton is a tree, so its joints have two colours and neighbours always differ in theirs. What the many joints
    of one colour pass to the `few` of the other is mixed before it is multiplied, what these pass back is multiplied
    before it is mixed: 6 rows each way instead of 16. Features are (joints, batch, channels), the few first.
    """

    batch = 128  # poses whose features stay in a core's cache

    def __init__(self, layers: Sequence[GraphProduct], few: Sequence[int]) -> None:
        """`layers` from first to last; `few` are the joints of the rarer colour."""
        joints = len(layers[0].adjacency)
        self._order = [*few, *(joint for joint in range(joints) if joint not in few)]
        self._place = [self._order.index(joint) for joint in range(joints)]
        first, *middle, last = (self._reordered(layer) for layer in layers)
        self._first = _dense(first), first.bias
        self._pairs = [
            tuple(_Mixed.of(layer, len(few)) for layer in middle[i : i + 2]) for i in range(0, len(middle), 2)
        ]
        self._last = last
        self._memory = _Memory()

    def _reordered(self, layer: GraphProduct) -> GraphProduct:
        adjacency = layer.adjacency[self._order][:, self._order]
        return GraphProduct(layer.own, layer.others, layer.bias, adjacency)

    @torch.inference_mode()
    def __call__(self, poses: torch.Tensor) -> torch.Tensor:
        """(batch, joints, 2) -> (batch, joints, 3)."""
        weight, bias = self._first
        joints, rows, channels = len(weight), len(poses), len(bias)
        features, inner, outer, passed = self._memory.shaped(4, joints, rows, channels)
        flat = poses[:, self._order].flatten(1)
        torch.baddbmm(bias, flat.expand(joints, -1, -1), weight, out=features).relu_()
        for first, second in self._pairs:
            first.into(features, inner, passed).relu_()
            second.into(inner, outer, passed).relu_()
            features.add_(outer)
        return _convolved(self._last, features)[self._place].transpose(0, 1)


@dataclass(frozen=True, eq=False)
class _Mixed:
    """A graph convolution on features (joints, batch, channels), the few joints of one colour first."""

    own: torch.Tensor  # (joints, in, out), a_ii included
    others: torch.Tensor
    bias: torch.Tensor
    to_few: torch.Tensor  # (few, many)
    to_many: torch.Tensor  # (many, few)

    @classmethod
    def of(cls, layer: GraphProduct, few: int) -> _Mixed:
        own = (layer.adjacency.diagonal()[:, None, None] * layer.own).contiguous()
        to_few, to_many = layer.adjacency[:few, few:].contiguous(), layer.adjacency[few:, :few].contiguous()
        return cls(own, layer.others, layer.bias, to_few, to_many)

    def into(self, features: torch.Tensor, out: torch.Tensor, passed: torch.Tensor) -> torch.Tensor:
        """Written to `out`; `passed` is memory of the same shape."""
        few = len(self.to_few)
        between = passed[:few]
        torch.baddbmm(self.bias, features, self.own, out=out)
        torch.mm(self.to_few, features[few:].flatten(1), out=between.flatten(1))
        out[:few].flatten(0, 1).addmm_(between.flatten(0, 1), self.others)
        torch.mm(features[:few].flatten(0, 1), self.others, out=between.flatten(0, 1))
        out[few:].flatten(1).addmm_(self.to_many, between.flatten(1))
        return out


def _dense(layer: GraphProduct) -> torch.Tensor:
    """A convolution of few channels as one map from all joints to each: (joints, joints x in, out)."""
    joints = len(layer.adjacency)
    own = layer.adjacency.diagonal().diag_embed()
    maps = torch.einsum("ij,co->ijco", own, layer.own) + torch.einsum(
        "ij,co->ijco", layer.adjacency - own, layer.others
    )
    return maps.reshape(joints, -1, len(layer.bias)).contiguous()


def _convolved(layer: GraphProduct, features: torch.Tensor) -> torch.Tensor:
    """A convolution to few channels: multiplied once, then mixed."""
    both = torch.mm(features.flatten(0, 1), torch.cat([layer.own, layer.others], dim=1))
    own, others = both.unflatten(0, features.shape[:2]).chunk(2, dim=2)
    diagonal = layer.adjacency.diagonal()
    mixed = torch.mm(layer.adjacency - diagonal.diag_embed(), others.flatten(1))
    return diagonal[:, None, None] * own + mixed.view_as(own) + layer.bias


def rarer_colour(bones: Sequence[tuple[int, int]], joints: int) -> list[int]:
    """The joints of the rarer of two colours that differ along every bone of a tree."""
    colours = {0: 0}
    while len(colours) < joints:
        for parent, child in bones:
            for known, new in ((parent, child), (child, parent)):
                if known in colours:
                    colours[new] = 1 - colours[known]
    by_colour = [[joint for joint in range(joints) if colours[joint] == colour] for colour in (0, 1)]
    return min(by_colour, key=len)
