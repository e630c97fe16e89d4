"""Stored outputs of the official programs (tests/data/lifting): arrays, tolerances, state-dict lists."""

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from torch import nn

DATA = Path(__file__).parents[1] / "data" / "lifting"


@dataclass(frozen=True)
class Golden:
    """One case: what its json says, and its arrays by name."""

    case: str
    facts: dict
    arrays: dict[str, np.ndarray]

    def given(self, name: str) -> np.ndarray:
        return self.arrays[f"input.{name}"]

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.given(name))

    @property
    def outputs(self) -> list[str]:
        return [name.removeprefix("output.") for name in self.arrays if name.startswith("output.")]

    def assert_matches(self, name: str, found: object) -> None:
        """`found` (tensor, array or number) equals output `name` within the case's tolerance."""
        if isinstance(found, torch.Tensor):
            found = found.detach().numpy()
        expected = self.arrays[f"output.{name}"]
        assert np.shape(found) == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=self.tolerance(name), err_msg=f"{self.case}: {name}")

    def tolerance(self, name: str) -> float:
        """The one number, or that of the longest pattern that fits."""
        tolerance = self.facts["tolerance"]
        if not isinstance(tolerance, dict):
            return tolerance
        fitting = [pattern for pattern in tolerance if fnmatchcase(name, pattern)]
        return tolerance[max(fitting, key=len, default="default")]

    def assert_same_entries(self, model: nn.Module) -> None:
        """The model's state dict has the official names, shapes and types, in the official order."""
        found = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in model.state_dict().items()]
        assert found == self.facts["state_dict"]


def golden(case: str) -> Golden:
    with np.load(DATA / f"{case}.npz") as arrays:
        return Golden(case, json.loads((DATA / f"{case}.json").read_text()), dict(arrays))


def pose_batches(seed: int, steps: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """The made-up batches of the training cases: x (steps, 64, 16, 2), target (steps, 64, 16, 3) with a zero root."""
    random = np.random.RandomState(seed)
    inputs = random.uniform(-0.6, 0.6, (steps, 64, 16, 2)).astype(np.float32)
    targets = 0.3 * random.randn(steps, 64, 16, 3)
    targets[:, :, 0] = 0
    return torch.from_numpy(inputs), torch.from_numpy(targets.astype(np.float32))


def normal_batches(seed: int, steps: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """The flat batches of the training cases in normalised units: x (steps, 64, 32), target (steps, 64, 48)."""
    random = np.random.RandomState(seed)
    inputs = random.randn(steps, 64, 32).astype(np.float32)
    return torch.from_numpy(inputs), torch.from_numpy(random.randn(steps, 64, 48).astype(np.float32))
