"""What stays float32 where a network is executed in bfloat16, and constants that are made on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")
_HALF = (torch.bfloat16, torch.float16)


def in_full_precision(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function as `exactly` calls it, for what deals in coordinates."""

    @wraps(function)
    def run(*given: Given.args, **named: Given.kwargs) -> Result:
        return cast(Result, exactly(function, *given, **named))

    return run


def exactly(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What a function or layer gives without autocast, tensors in half precision becoming float32 first.

    For what takes or gives coordinates and logits: bfloat16 has 8 bits, so that half a metre is known to 2 mm and the
    column of a pixel to a pixel.
    """
    device_type = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
    if not torch.is_autocast_enabled(device_type):
        return function(*given, **named)
    with torch.autocast(device_type, enabled=False):
        return function(*map(_widened, given), **{name: _widened(each) for name, each in named.items()})


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALF else value


def row_like(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """A vector of numbers in the dtype and on the device of `like`.

    Filled there: a copy from the host would wait for the device, and cannot be part of a CUDA graph.
    """
    return torch.stack([like.new_full((), value) for value in values])
