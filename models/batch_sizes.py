"""How many samples a device takes at once: by default as its free memory says, and fewer where that was too many."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch

from h36m_toolbox.errors import H36MError

log = logging.getLogger(__name__)


def batch_size_for(device: torch.device | str, on_cpu: int, bytes_a_sample: int, most: int) -> int:
    """As many samples as the free memory of a GPU takes, from 1 to `most`; `on_cpu` on the CPU."""
    if torch.device(device).type != "cuda":
        return on_cpu
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(most, free // bytes_a_sample))


class Pieces:
    """Computes batches whole, and in smaller pieces from the first on that the device's memory does not take."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self._most: int | None = None  # samples at once; None: a whole batch

    def computed(self, count: int, compute: Callable[[slice], np.ndarray]) -> np.ndarray:
        """What `compute` gives for the samples of a batch of so many, (count, ...), put together from its parts.

        A part that ends CUDA's memory is halved, and all later ones are as small. H36MError where not even one sample
        fits. An empty batch is computed too, which has the shape.
        """
        found: list[np.ndarray] = []
        start = 0
        while not found or start < count:
            stop = min(start + (self._most or max(count, 1)), count)
            try:
                found.append(compute(slice(start, stop)))
            except torch.OutOfMemoryError as error:
                self._most = self._halved(stop - start, error)
            else:
                start = stop
                continue
            torch.cuda.empty_cache()  # only now: the error held the tensors of the call that failed
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _halved(self, samples: int, error: torch.OutOfMemoryError) -> int:
        if samples <= 1:
            raise H36MError(
                f"device {self._device} has not enough free memory for one sample ({str(error).splitlines()[0]}); stop "
                "what else runs on it, or run with --device cpu"
            ) from error
        log.warning(
            "device %s has not enough memory for %d samples at once: going on with %d",
            self._device,
            samples,
            samples // 2,
        )
        return samples // 2
