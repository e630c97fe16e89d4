"""Stored outputs of the official integral-human-pose programs (tests/data/integral) and the texts they were made of."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.pose_datasets.patches import PLAIN, Augmentation, Patch

DATA = Path(__file__).parent / "data" / "integral"


@dataclass(frozen=True)
class Golden:
    """One case: what its json says, and its arrays by name."""

    facts: dict
    arrays: dict[str, np.ndarray]

    def given(self, name: str) -> np.ndarray:
        return self.arrays[f"input.{name}"]

    def expected(self, name: str) -> np.ndarray:
        return self.arrays[f"output.{name}"]

    def sampled(self, name: str, values: np.ndarray) -> np.ndarray:
        """The values of an output that were stored, where not all were."""
        index = f"index.{name}"
        return values.ravel()[self.arrays[index]] if index in self.arrays else values

    def boxes(self, entry: str) -> np.ndarray:
        """Centre x, centre y, width, height of a stored list of people, an input or an output."""
        return np.stack([self.arrays[f"{entry}.{key}"] for key in ("center_x", "center_y", "width", "height")], axis=1)

    def write_files(self, folder: Path) -> Path:
        for name, text in self.facts["files"].items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    def variants(self) -> list[tuple[Patch, Augmentation]]:
        """The patches and disturbances that the case was made with."""
        config = self.facts["config"]
        listed = config.get("variants") or config["label_variants"]
        return [(_patch(config | facts), _augmentation(facts)) for facts in listed]


def golden(case: str) -> Golden:
    facts = json.loads((DATA / f"{case}.json").read_text())
    path = DATA / f"{case}.npz"
    return Golden(facts, dict(np.load(path)) if path.is_file() else {})


def _patch(facts: dict) -> Patch:
    depth = None if facts["depth_in_image"] else float(facts["rect_3d_width"])
    return Patch(facts["patch_width"], facts["patch_height"], depth)


def _augmentation(facts: dict) -> Augmentation:
    given = facts.get("augment", facts)
    if given is None:
        return PLAIN
    colors = tuple(given.get("color_scale_rgb", PLAIN.color_rgb))
    return Augmentation(given["scale"], given["rot_degrees"], given["do_flip"], colors)
