"""Stored outputs of the official volumetric programs (tests/data/volumetric), their drawn inputs and filled weights."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fill_weights import filled
from torch import nn

DATA = Path(__file__).parents[1] / "data" / "volumetric"


@dataclass(frozen=True)
class Golden:
    """One case: what its json says, and its arrays by name."""

    case: str
    facts: dict
    arrays: dict[str, np.ndarray]

    def given(self, name: str) -> torch.Tensor:
        """An input: stored, or drawn as the json says."""
        facts = self.facts["inputs"][name]
        if not facts.get("drawn"):
            return torch.from_numpy(self.arrays[f"input.{name}"])
        shape, repeat = list(facts["shape"]), facts["repeat"]
        if repeat > 1:
            shape[-2:] = [size // repeat for size in shape[-2:]]
        random = np.random.RandomState(facts["seed"])
        drawn = random.randn(*shape) if facts["dist"] == "randn" else random.rand(*shape)
        values = (drawn * facts["scale"] + facts["shift"]).astype(np.float32)
        if repeat > 1:
            values = values.repeat(repeat, -1).repeat(repeat, -2)
        if "view_gain" in facts:
            values = values * np.float32(facts["view_gain"])[..., None, None, None]
        np.testing.assert_allclose(values.sum(dtype=np.float64), facts["check_sum"], rtol=1e-9)
        return torch.from_numpy(values)

    def filled(self, model: nn.Module) -> nn.Module:
        """The model in eval mode with the case's weights; its names, shapes and order are the official ones."""
        official = {name: tuple(shape) for name, shape, _ in self.facts["state_dict"]}
        assert {name: tuple(values.shape) for name, values in model.state_dict().items()} == official
        assert list(model.state_dict()) == list(official)
        model.load_state_dict({name: torch.from_numpy(self._weights(name, shape)) for name, shape in official.items()})
        return model.eval()

    def _weights(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        values = filled(name, shape)
        for pattern, factor in self.facts["weights"]["weight_scale"]:
            if re.search(pattern, name):
                values = values * np.float32(factor)
        return values

    def assert_matches(self, name: str, found: torch.Tensor) -> None:
        """`found` equals output `name`, or what was sampled of it, within the case's tolerance."""
        values = found.detach().numpy()
        assert list(values.shape) == self.facts["outputs"][name]["shape"], name
        if f"index.{name}" in self.arrays:
            values = values.ravel()[self.arrays[f"index.{name}"]]
        tolerance = self.facts["tolerance"][name]
        expected = self.arrays[f"output.{name}"]
        np.testing.assert_allclose(
            values, expected, rtol=tolerance["rtol"], atol=tolerance["atol"], err_msg=f"{self.case}: {name}"
        )


def golden(case: str) -> Golden:
    with np.load(DATA / f"{case}.npz") as arrays:
        return Golden(case, json.loads((DATA / f"{case}.json").read_text()), dict(arrays))
