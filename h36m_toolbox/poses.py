"""The record of one sequence: its poses in every coordinate frame, from one reader whatever the layout on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.cdf import read_pose_cdf
from h36m_toolbox.sequences import Sequence


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class SequencePoses:
    """All poses of one sequence, 32 joints in the order of `skeletons.H36M_32`, float32, one row per frame at 50 Hz.

    The four arrays come from four files and may differ in length; nothing is cut before an output decides how.
    """

    sequence: Sequence
    world: np.ndarray  # (frames, 32, 3), mm, z up
    camera: np.ndarray  # (frames, 32, 3), mm, x right, y down, z forward
    universal: np.ndarray  # (frames, 32, 3), mm, camera frame, bone lengths of a common skeleton
    image: np.ndarray  # (frames, 32, 2), px, lens distortion included

    @property
    def lengths(self) -> dict[str, int]:
        """Frames of each array."""
        return {name: len(getattr(self, name)) for name in ("world", "camera", "universal", "image")}

    @property
    def frames(self) -> int:
        """Frames that all four arrays have."""
        return min(self.lengths.values())


@dataclass(frozen=True)
class PoseFiles:
    """Where the four arrays of one sequence lie: small enough to send to another process, which reads them."""

    sequence: Sequence
    world: Path
    camera: Path
    universal: Path
    image: Path

    def read(self) -> SequencePoses:
        """The poses; an H36MError names a damaged file."""
        return SequencePoses(
            self.sequence,
            world=read_pose_cdf(self.world, 3),
            camera=read_pose_cdf(self.camera, 3),
            universal=read_pose_cdf(self.universal, 3),
            image=read_pose_cdf(self.image, 2),
        )
