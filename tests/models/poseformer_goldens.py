"""Stored outputs of the official Context-Aware PoseFormer (tests/data/poseformer), and weights filled by name."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fill_weights import filled
from torch import nn

DATA = Path(__file__).parents[1] / "data" / "poseformer"


@dataclass(frozen=True)
class Golden:
    """One case: what its json says, and its arrays by name. Of large outputs a sample is stored."""

    case: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def official_entries(self) -> list[str]:
        """Names and shapes of the official state dict, in its order."""
        return self.arrays["state_dict"].tolist()

    def given(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.from_numpy(self.arrays[f"input.{name}"]).to(dtype)

    def maps(self, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
        return [self.given(f"features{level}", dtype) for level in range(4)]

    def filled(self, model: nn.Module, tamed: bool = False) -> nn.Module:
        """The model in eval mode with the case's weights; its names, shapes and order are the official ones."""
        assert entries_of(model) == self.official_entries
        patterns = self.facts["tamed_patterns"] if tamed else []
        state = {}
        for name, entry in model.state_dict().items():
            values = filled(name, tuple(entry.shape))
            for pattern, factor in patterns:
                if re.search(pattern, name):
                    values = values * np.float32(factor)
            state[name] = torch.from_numpy(values)
        model.load_state_dict(state, assign=True)
        return model.eval()

    def output(self, name: str) -> np.ndarray:
        return self.arrays[f"output.{name}"]

    def assert_matches(self, name: str, found: torch.Tensor, atol: float = 0.0, of_largest: float = 0.0) -> None:
        """`found` equals output `name`, or what was sampled of it, within `atol` or a part of its largest value."""
        values = found.detach().numpy()
        if f"output.{name}.sample" in self.arrays:
            assert values.shape == tuple(self.output(f"{name}.shape")), name
            expected = self.output(f"{name}.sample")
            values = values.ravel()[self.arrays[f"index.{values.size}.{expected.size}"]]
        else:
            expected = self.output(name)
        bound = max(atol, of_largest * np.abs(expected).max())
        np.testing.assert_allclose(values, expected, rtol=0, atol=bound, err_msg=f"{self.case}: {name}")


def entries_of(model: nn.Module) -> list[str]:
    return [f"{name} {'x'.join(map(str, values.shape))}" for name, values in model.state_dict().items()]


def golden(case: str) -> Golden:
    facts = DATA / f"{case}.json"
    with np.load(DATA / f"{case}.npz") as arrays:
        return Golden(case, json.loads(facts.read_text()) if facts.exists() else {}, dict(arrays))
