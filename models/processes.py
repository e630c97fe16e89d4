"""Training and evaluating on several processes that `torchrun` started: which one this is, and what they exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import distributed

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process's place among those of a run; alone it is 0 of 1."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """The rows of `rows` that are this process's: contiguous, none twice, none left out, none added."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def gathered(self, part: np.ndarray) -> np.ndarray:
        """The parts of all processes along the first axis, in the order of `share`; on every process."""
        if self.count == 1:
            return part
        parts: list[np.ndarray | None] = [None] * self.count
        distributed.all_gather_object(parts, part)
        return np.concatenate([each for each in parts if each is not None])

    def from_first(self, value: Value | None) -> Value:
        """The first process's value, on every process."""
        if self.count > 1:
            values = [value]
            distributed.broadcast_object_list(values)
            (value,) = values
        assert value is not None
        return value


ALONE = Processes()


@contextmanager
def joined(environment: Mapping[str, str]) -> Iterator[Processes]:
    """The processes that `torchrun` started, by the variables it sets; ALONE where it did not."""
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        yield ALONE
        return
    rank, count = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    if torch.cuda.is_available():
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", 0)))
    distributed.init_process_group("gloo" if not torch.cuda.is_available() else "cpu:gloo,cuda:nccl")
    try:
        yield Processes(rank, count)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
