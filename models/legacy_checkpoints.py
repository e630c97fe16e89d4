"""Reads PyTorch's old, non-zip checkpoint format without trusting it.

torch.load(weights_only=True) refuses some official files of this format: Python 2 wrote the ids that key their
optimiser state with the pickle opcode INT. This reader takes that opcode, but admits four harmless names and no others.

The format is five pickles (magic number, protocol, system information, content, storage keys), then for each key a
64-bit count of numbers and the numbers.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": torch.float32, "LongStorage": torch.int64}


class ForbiddenNameError(pickle.UnpicklingError):
    """The checkpoint asks for a class or function that no weights need; the message is its name."""


def read_legacy(path: Path) -> object:
    """The content of a checkpoint in the old format, tensors on the CPU.

    Raises ForbiddenNameError for any other class than those of tensors, and what unpickling raises for a damaged file.
    """
    with path.open("rb") as file:
        magic, protocol, system = (_Reader(file).load() for _ in range(3))
        if (magic, protocol) != (_MAGIC, _PROTOCOL):
            raise pickle.UnpicklingError("it does not start with PyTorch's magic number")
        if not system["little_endian"]:
            raise pickle.UnpicklingError("it was written on a big-endian machine")
        reader = _Reader(file, room=path.stat().st_size)
        content = reader.load()
        for key in _Reader(file).load():
            _fill(reader.storages[key], file)
    return content


class _Reader(pickle.Unpickler):
    """Admits OrderedDict, two storage types and tensors, each tensor a view of a storage that is filled later."""

    def __init__(self, file: BinaryIO, room: int = 0) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, torch.Tensor] = {}
        self.room = room  # bytes that the storages may take: no more than the file holds

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return partial(_view)
        raise ForbiddenNameError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or view not in ([], [None]):
            raise pickle.UnpicklingError(f"it holds {kind} data of an unknown layout")
        if key not in self.storages:
            self.room -= count * dtype.itemsize
            if count < 0 or self.room < 0:
                raise pickle.UnpicklingError("its tensors are larger than the file")
            self.storages[key] = torch.empty(count, dtype=dtype)
        return self.storages[key]


def _view(storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> torch.Tensor:
    return storage.as_strided(size, stride, offset)


def _fill(storage: torch.Tensor, file: BinaryIO) -> None:
    (count,) = np.frombuffer(file.read(8), "<i8", 1)
    if count != len(storage):
        raise pickle.UnpicklingError(f"a tensor of {len(storage)} numbers has {count} in the file")
    values = storage.numpy()
    values[:] = np.frombuffer(file.read(values.nbytes), values.dtype.newbyteorder("<"), count)
