"""The matrix products that a computation runs, recorded by their shapes, to be run alone: the floor of its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_FACTORS_AT = {  # of each product, where its two factors stand among its arguments
    _ATEN.mm: 0,
    _ATEN.bmm: 0,
    _ATEN.addmm: 1,
    _ATEN.addmm_: 1,
    _ATEN.baddbmm: 1,
    _ATEN.baddbmm_: 1,
}


@dataclass(frozen=True)
class Factor:
    """A factor's shape and strides, which say whether it is read transposed or repeated."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, values: torch.Tensor) -> Factor:
        return cls(tuple(values.shape), values.stride())

    def filled(self) -> torch.Tensor:
        """A factor of this layout with random numbers."""
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return torch.randn(last + 1).as_strided(self.shape, self.strides)


@dataclass(frozen=True)
class Product:
    """One product of two matrices, or of two batches of them."""

    first: Factor
    second: Factor

    @property
    def flop(self) -> int:
        """Multiplications and additions."""
        return 2 * prod(self.first.shape) * self.second.shape[-1]

    def ready(self, held: dict[Any, torch.Tensor]) -> Callable[[], object]:
        """The product alone, on random numbers and memory that products of these shapes share by `held`.

        What a computation keeps in the cache between its products stays there, so that this is a floor.
        """
        result = (*self.first.shape[:-1], self.second.shape[-1])
        first, second = (
            held.setdefault((place, factor), factor.filled())
            for place, factor in (("first", self.first), ("second", self.second))
        )
        out = held.setdefault(result, torch.empty(result))
        multiply = torch.mm if first.ndim == 2 else torch.bmm
        return lambda: multiply(first, second, out=out)


def products_of(work: Callable[[], Any]) -> list[Product]:
    """The float32 products of a computation in this thread, backward passes included, in order."""
    recorder = _Recorder()
    with recorder:
        work()
    return recorder.products


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        at = _FACTORS_AT.get(func.overloadpacket)
        if at is not None:
            self.products.append(Product(Factor.of(args[at]), Factor.of(args[at + 1])))
        return func(*args, **(kwargs or {}))
