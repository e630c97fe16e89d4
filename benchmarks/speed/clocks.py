"""How long work takes by one clock or another, and works beside each other, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import torch

Work = Callable[[], object]
Clock = Callable[[Work], float]  # seconds of one call


def seconds(work: Work, device: torch.device | str) -> float:
    """Of one call, from an idle device to an idle device."""
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def cpu_seconds(work: Work) -> float:
    """CPU seconds of one call in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turns(works: Mapping[str, Work], repeat: int, clock: Clock) -> dict[str, list[float]]:
    """Seconds of `repeat` calls of each work; in turns, so that a busy machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            times[name].append(clock(work))
    return times


def fastest(times: Mapping[str, list[float]]) -> dict[str, float]:
    """The fastest call of each work."""
    return {name: min(each) for name, each in times.items()}


def fastest_in_turns(works: Mapping[str, Work], device: torch.device | str, repeat: int) -> dict[str, float]:
    """Seconds of each work's fastest call on a device, in turns."""
    return fastest(in_turns(works, repeat, partial(seconds, device=device)))
