"""What a run of a network took: how long it waited for its data, how many images it saw, what memory it held."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from h36m_toolbox.models.processes import Processes


@dataclass(frozen=True)
class Spent:
    """Of one prediction loop, or of those of several processes: `waiting_share` of the time there was no data.

    `peak_memory_mb` is the most that a loop's tensors held of a GPU, None on the CPU.
    """

    seconds: float
    images_per_s: float
    waiting_share: float
    peak_memory_mb: float | None

    def by_all(self, processes: Processes) -> Spent:
        """Of all processes: the longest time, the rates' sum, the mean share, the highest peak."""
        peak = np.nan if self.peak_memory_mb is None else self.peak_memory_mb
        each = processes.gathered(np.array([[self.seconds, self.images_per_s, self.waiting_share, peak]]))
        highest = float(each[:, 3].max())
        return Spent(
            float(each[:, 0].max()),
            float(each[:, 1].sum()),
            float(each[:, 2].mean()),
            None if np.isnan(highest) else highest,
        )


class Watch:
    """Watches one prediction loop, from its making to `spent`."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._images, self._waited, self._start = 0, 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what the network cannot go on without: reading, and putting a batch together."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._waited += time.perf_counter() - start

    def saw(self, images: int) -> None:
        """Count images, or poses of a model that sees none, that are finished."""
        self._images += images

    def spent(self) -> Spent:
        """What it took until now."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        on_gpu = self._device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) / 1e6 if on_gpu else None
        return Spent(seconds, self._images / seconds, min(1.0, self._waited / seconds), peak)
