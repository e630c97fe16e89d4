"""Devices by name."""

from __future__ import annotations

import numpy as np
import torch

from h36m_toolbox.errors import H36MError


def device_named(name: str) -> str:
    """A torch device; "auto" is CUDA where there is one. H36MError for one that is not there."""
    if name == "auto":
        return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise H36MError(f"device {name!r} cannot be used ({reason}); try --device auto") from error
    return name


def moved(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """An array on a device; to CUDA through pinned memory, beside what the device does."""
    values = torch.from_numpy(np.ascontiguousarray(array))
    if torch.device(device).type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def device_label(device: str) -> str:
    """A device as tables show it: "cpu" or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
