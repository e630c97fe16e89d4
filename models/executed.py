"""A network executed as an `Execution` says: autocast, tf32, layout, compiler and CUDA graphs around its forward.

A compiled forward or a graph is of one shape of inputs. It is made when a shape comes for the second time: the first
call warms up what it needs, and the rest of a run, which comes once, is not worth one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as trees

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.execution import Execution

_SHAPES = 4  # of which a compiled forward or a graph is kept; others run op by op
_WARM_UP = 2  # calls before a graph is captured

Forward = Callable[..., Any]


def executed(model: nn.Module, execution: Execution) -> nn.Module:
    """See `Execution.applied`."""
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    execution.check(str(device))
    if device.type == "cpu" and not execution.described():
        return model
    if execution.channels_last:
        _lay_out_channels_last(model)
    if execution.compile or execution.cuda_graphs:
        model = _with_parts(model, lambda part: _Repeated(part, execution))
    return _InPrecision(model, execution, device)


class _InPrecision(nn.Module):
    """A forward under autocast or tf32; what holds for the process or thread is as before after each call."""

    def __init__(self, model: nn.Module, execution: Execution, device: torch.device) -> None:
        super().__init__()
        self.model, self.execution, self.device_type = model, execution, device.type

    def forward(self, *inputs: Any) -> Any:
        with (
            _tf32(self.execution.precision == "tf32"),
            torch.autocast(
                self.device_type, torch.bfloat16, self.execution.precision == "bf16", cache_enabled=False
            ),  # a cached weight must not outlive the graph that it was made in
        ):
            return self.model(*inputs)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA's matrix products and convolutions round their factors to tf32."""
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolutions.allow_tf32
    matmul.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, convolutions.allow_tf32 = before


def _lay_out_channels_last(model: nn.Module) -> None:
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.ndim])


def _with_parts(model: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The model with its `capturable` parts changed, or changed as a whole where it names none.

    A model names them where the rest of its forward leaves the device or waits for it.
    """
    names: tuple[str, ...] = getattr(model, "capturable", ())
    if not names:
        return change(model)
    ready = copy.copy(model)
    ready._modules = {**model._modules, **{name: change(model.get_submodule(name)) for name in names}}
    return ready


class _Repeated(nn.Module):
    """A forward that is compiled, captured or both for every shape that comes again."""

    def __init__(self, model: nn.Module, execution: Execution) -> None:
        super().__init__()
        self.model, self.execution = model, execution
        self._seen: set[tuple[Any, ...]] = set()
        self._ready: dict[tuple[Any, ...], Forward] = {}
        self._compiled = _compiled(model) if execution.compile else model

    def forward(self, *inputs: Any) -> Any:
        shape = tuple(each.shape if isinstance(each, torch.Tensor) else each for each in trees.tree_leaves(inputs))
        if shape in self._ready:
            return self._ready[shape](*inputs)
        if shape not in self._seen or len(self._ready) == _SHAPES:
            self._seen.add(shape)
            return self.model(*inputs)
        ready = _captured(self._compiled, inputs) if self.execution.cuda_graphs else self._compiled
        outputs = ready(*inputs)
        self._ready[shape] = ready
        return outputs


def _compiled(model: nn.Module) -> Forward:
    from torch._dynamo.exc import TorchDynamoException  # the compiler takes seconds to import
    from torch._inductor.exc import CppCompileError, InductorError

    compiled = torch.compile(model, dynamic=False)

    def forward(*inputs: Any) -> Any:
        try:
            return compiled(*inputs)
        except (TorchDynamoException, InductorError, CppCompileError) as error:
            reason = " ".join(str(error).strip().splitlines()[:2]) or type(error).__name__
            raise H36MError(
                f"torch.compile cannot compile {type(model).__name__} here ({reason}); it needs a C++ compiler, on "
                "CUDA Triton too: install them, or leave --compile out"
            ) from error

    return forward


def _captured(forward: Forward, inputs: tuple[Any, ...]) -> Forward:
    """The forward as a CUDA graph of these shapes; what it gives is the caller's to keep."""
    places, structure = trees.tree_flatten(inputs)
    held = [each.clone() if isinstance(each, torch.Tensor) else each for each in places]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            forward(*trees.tree_unflatten(held, structure))
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            outputs = forward(*trees.tree_unflatten(held, structure))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise H36MError(
            f"the forward cannot be captured as a CUDA graph ({str(error).splitlines()[0]}); leave --cuda-graphs out"
        ) from error

    def replay(*given: Any) -> Any:
        for place, each in zip(held, trees.tree_leaves(given), strict=True):
            if isinstance(place, torch.Tensor):
                place.copy_(each)
        graph.replay()
        return trees.tree_map(lambda each: each.clone() if isinstance(each, torch.Tensor) else each, outputs)

    return replay
