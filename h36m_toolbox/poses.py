"""The record of one sequence: its poses in every coordinate frame, from one reader whatever the layout on disk.

What a partial data set lacks is derived where the calibration tells it: world and camera-frame poses from each other,
pixels from camera-frame poses (within 4e-4 px of the data set's own D2 files). Universal poses cannot be derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import Sequence

SOURCES = ("world", "camera", "universal", "image")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class SequencePoses:
    """All poses of one sequence, 32 joints in the order of `skeletons.H36M_32`, float32, one row per frame at 50 Hz.

    The arrays come from several files and may differ in length; nothing is cut before an output decides how.
    `universal` is None where RAW lacks it.
    """

    sequence: Sequence
    world: np.ndarray  # (frames, 32, 3), mm, z up
    camera: np.ndarray  # (frames, 32, 3), mm, x right, y down, z forward
    universal: np.ndarray | None  # (frames, 32, 3), mm, camera frame, bone lengths of a common skeleton
    image: np.ndarray  # (frames, 32, 2), px, lens distortion included

    @property
    def lengths(self) -> dict[str, int]:
        """Frames of each array that is there."""
        arrays = {name: getattr(self, name) for name in SOURCES}
        return {name: len(array) for name, array in arrays.items() if array is not None}

    @property
    def frames(self) -> int:
        """Frames that all arrays have."""
        return min(self.lengths.values())

    def universal_poses(self) -> np.ndarray:
        """The universal poses; an H36MError where RAW lacks them."""
        if self.universal is None:
            raise H36MError(_no_universal(self.sequence))
        return self.universal


@dataclass(frozen=True)
class PoseFiles:
    """Where the arrays of one sequence lie: small enough to send to another process, which reads them.

    None: not there. `world` or `camera` always is, which is enough to derive all but `universal`.
    """

    sequence: Sequence
    world: Path | None
    camera: Path | None
    universal: Path | None
    image: Path | None

    @property
    def derived(self) -> tuple[str, ...]:
        """Names of the arrays that are derived from others."""
        return tuple(name for name in ("world", "camera", "image") if getattr(self, name) is None)

    def read(self) -> SequencePoses:
        """The poses; an H36MError names a damaged file."""
        camera = self.read_camera()
        return SequencePoses(
            self.sequence,
            world=read_pose_file(self.world, 3) if self.world else self._world_of(camera),
            camera=camera,
            universal=read_pose_file(self.universal, 3) if self.universal else None,
            image=read_pose_file(self.image, 2) if self.image else self._image_of(camera),
        )

    def read_camera(self) -> np.ndarray:
        """Camera-frame poses (frames, 32, 3), mm float32, from their file or the world poses."""
        if self.camera:
            return read_pose_file(self.camera, 3)
        if not self.world:
            raise H36MError(f"{self.sequence}: neither world nor camera-frame poses; nothing can be derived")
        world = read_pose_file(self.world, 3).astype(np.float64)
        return self._lens.world_to_camera(world).astype(np.float32)

    def read_image(self) -> np.ndarray:
        """Pixels (frames, 32, 2), float32, lens distortion included, from their file or projected."""
        return read_pose_file(self.image, 2) if self.image else self._image_of(self.read_camera())

    def read_universal(self) -> np.ndarray:
        """Universal poses (frames, 32, 3), mm float32; an H36MError where RAW lacks them."""
        if not self.universal:
            raise H36MError(_no_universal(self.sequence))
        return read_pose_file(self.universal, 3)

    @property
    def _lens(self) -> Camera:
        return h36m_camera(self.sequence.subject, self.sequence.camera)

    def _world_of(self, camera: np.ndarray) -> np.ndarray:
        return self._lens.camera_to_world(camera.astype(np.float64)).astype(np.float32)

    def _image_of(self, camera: np.ndarray) -> np.ndarray:
        return self._lens.project(camera.astype(np.float64)).astype(np.float32)


def _no_universal(sequence: Sequence) -> str:
    return (
        f"{sequence} has no universal poses, which cannot be derived; get "
        f"Poses_D3_Positions_mono_universal_{sequence.subject}.tgz from the official site"
    )


def read_pose_file(path: Path, dims: int) -> np.ndarray:
    """The poses of one raw file, float32 (frames, 32, dims), mm or px: a CDF, or an .h5 of Martinez et al.'s h36m.zip.

    Raises H36MError for a damaged file.
    """
    if path.suffix == ".h5":
        from h36m_toolbox.raw.world_h5 import read_world_h5  # each library starts slowly, and few commands need both

        return read_world_h5(path)
    from h36m_toolbox.raw.cdf import read_pose_cdf

    return read_pose_cdf(path, dims)


def pose_file_frames(path: Path, dims: int) -> int:
    """How many poses a raw file holds, from its headers alone; H36MError where they say that it is damaged."""
    if path.suffix == ".h5":
        from h36m_toolbox.raw.world_h5 import world_h5_frames

        return world_h5_frames(path)
    from h36m_toolbox.raw.cdf import pose_cdf_frames

    return pose_cdf_frames(path, dims)
