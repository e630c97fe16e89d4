"""How long work takes on a device, each call waited for; and works beside each other, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]


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


def fastest_in_turns(works: Mapping[str, Work], device: torch.device | str, repeat: int) -> dict[str, float]:
    """Seconds of each work's fastest call; in turns, so that a busy machine slows all of them."""
    times = [{name: seconds(work, device) for name, work in works.items()} for _ in range(repeat)]
    return {name: min(each[name] for each in times) for name in works}
