"""Weights that depend only on an entry's name and shape, so that two implementations of a network can be compared.

The same numbers fill the networks behind the stored outputs in tests/data/lifting.
"""

import zlib

import numpy as np
import torch
from torch import nn


def filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of state-dict entry `name`: float32, or int64 zeros for a batch-norm counter."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith("running_var"):
        values = 0.5 + random.rand(*shape)
    elif name.endswith("running_mean"):
        values = 0.1 * random.randn(*shape)
    elif len(shape) > 1:
        values = random.randn(*shape) * np.sqrt(2.0 / max(1, int(np.prod(shape[1:]))))
    else:
        values = 0.1 * random.randn(*shape) + float(name.endswith("weight"))
    return np.asarray(values, np.float32)


def fill(model: nn.Module) -> nn.Module:
    """The model with every entry of its state dict filled by name."""
    state = {name: torch.from_numpy(filled(name, tuple(entry.shape))) for name, entry in model.state_dict().items()}
    model.load_state_dict(state)
    return model
