"""VideoPose3D's conventions: its cameras and projection in float32 metres, and its npz files.

SemGCN and most later lifters take their inputs from here, so the arithmetic is kept step by step. Differences to
`cameras.Camera`: float32, metres, screen units (pixels * 2 / width, centred), slopes clamped to [-1, 1], and the
tangential pair in reverse order. Facts: facebookresearch/VideoPose3D, common/camera.py and common/h36m_dataset.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, Recording, recording_of_stem
from h36m_toolbox.skeletons import H36M_16, H36M_17, H36M_32, SH_16, Skeleton
from h36m_toolbox.storage.safe_pickle import read_object_npz


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ScreenCamera:
    """A camera as VideoPose3D holds it, all float32."""

    orientation: np.ndarray  # (4,), unit quaternion w x y z, camera to world
    translation: np.ndarray  # (3,), camera centre in the world, m
    focal: np.ndarray  # (2,), screen units
    principal: np.ndarray  # (2,), screen units
    radial: np.ndarray  # (3,)
    tangential: np.ndarray  # (2,), p2 p1
    size: tuple[int, int]  # width, height, px

    def world_to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera frame, m, by the conjugate quaternion."""
        axis, w = -self.orientation[1:], self.orientation[0]
        shifted = points - self.translation
        once = np.cross(axis, shifted)
        return shifted + 2 * (w * once + np.cross(axis, once))

    def camera_to_world(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) in the world frame, m."""
        axis, w = self.orientation[1:], self.orientation[0]
        once = np.cross(axis, points)
        return points + 2 * (w * once + np.cross(axis, once)) + self.translation

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) on the screen (..., 2), distortion included, in screen units."""
        slopes = np.clip(points[..., :2] / points[..., 2:], -1, 1)
        r2 = np.sum(slopes**2, axis=-1, keepdims=True)
        powers = np.concatenate([r2, r2**2, r2**3], axis=-1)
        radial = 1 + np.sum(self.radial * powers, axis=-1, keepdims=True)
        tangential = np.sum(self.tangential * slopes, axis=-1, keepdims=True)
        return self.focal * (slopes * (radial + tangential) + self.tangential * r2) + self.principal

    def project_linear(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) on the screen (..., 2) of an ideal lens, in screen units."""
        return self.focal * np.clip(points[..., :2] / points[..., 2:], -1, 1) + self.principal


def screen_normalised(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels (..., 2) in screen units: x from -1 to 1, y with the same scale; float64, as the constants are."""
    return pixels / width * 2 - np.array([1, height / width])


def screen_to_pixels(screen: np.ndarray, width: int, height: int) -> np.ndarray:
    """The inverse of `screen_normalised`; float64."""
    return (screen + np.array([1, height / width])) * width / 2


@cache
def screen_camera(subject: str, camera: str) -> ScreenCamera:
    """The calibrated camera of a subject in VideoPose3D's conventions; equal to its constants to the last bit."""
    calibrated = h36m_camera(subject, camera)
    width, height = calibrated.size
    return ScreenCamera(
        orientation=_quaternion(calibrated.rotation.T).astype(np.float32),
        translation=calibrated.center.astype(np.float32) / np.float32(1000),
        focal=calibrated.focal.astype(np.float32) / np.float32(width) * np.float32(2),
        principal=screen_normalised(calibrated.principal.astype(np.float32), width, height).astype(np.float32),
        radial=calibrated.radial.astype(np.float32),
        tangential=calibrated.tangential[::-1].astype(np.float32),
        size=calibrated.size,
    )


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion w x y z of a rotation: the dominant eigenvector of Bar-Itzhack's matrix (2000), w positive."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    lower = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [xy + yx, yy - xx - zz, 0, 0],
            [xz + zx, yz + zy, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = np.linalg.eigh(lower / 3)[1][:, -1]
    return np.array([w, x, y, z]) * np.where(w < 0, -1, 1)


def ground_truth_2d(world_mm: np.ndarray, subject: str, camera: str) -> np.ndarray:
    """VideoPose3D's ground-truth 2D input of world poses (frames, 32, 3), mm float32: (frames, 17, 2), px float32.

    Within 4e-4 px of the data set's D2 files.
    """
    lens = screen_camera(subject, camera)
    world_m = H36M_32.select(world_mm, H36M_17.joints).astype(np.float32) / np.float32(1000)
    return screen_to_pixels(lens.project(lens.world_to_camera(world_m)), *lens.size).astype(np.float32)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Positions2D:
    """A `data_2d_h36m_*.npz`: per recording and camera (frames, joints, 2), px float32, in its stated order."""

    skeleton: Skeleton
    by_recording: dict[Recording, dict[str, np.ndarray]]


def read_positions_2d(path: Path) -> Positions2D:
    """Read a `data_2d_h36m_*.npz`; recordings that the data set does not have are left out.

    Raises H36MError for a file without `positions_2d`, with an unknown joint order, or that is not what it claims to
    be; nothing in it is run.
    """
    values = read_object_npz(path)
    positions = values.get("positions_2d")
    if not isinstance(positions, dict):
        raise H36MError(f"{path}: has {', '.join(values) or 'nothing'} but no positions_2d; expected {_EXPECTED}")
    found: dict[Recording, dict[str, np.ndarray]] = {}
    for subject, actions in positions.items():
        if not isinstance(actions, dict):
            raise H36MError(f"{path}: positions_2d[{subject!r}] is no dict of actions; expected {_EXPECTED}")
        for name, views in actions.items():
            recording = recording_of_stem(str(subject), str(name))
            if recording is not None:
                found[recording] = _views(views, path, f"{subject} {name}")
    joints = {array.shape[1] for views in found.values() for array in views.values()}
    return Positions2D(_stated_skeleton(values.get("metadata"), joints, path), found)


_EXPECTED = "a VideoPose3D file: positions_2d[subject][action] = a list of 4 float arrays (frames, joints, 2), px"


def _views(views: Any, path: Path, what: str) -> dict[str, np.ndarray]:
    several = isinstance(views, list | tuple) or (isinstance(views, np.ndarray) and views.ndim > 0)
    if not several or len(views) > len(CAMERA_IDS):
        raise H36MError(f"{path}: {what} is no list of up to {len(CAMERA_IDS)} views; expected {_EXPECTED}")
    arrays = {}
    for camera, view in zip(CAMERA_IDS, views, strict=False):
        if view is None:
            continue
        if not isinstance(view, np.ndarray) or view.ndim != 3 or view.shape[-1] < 2 or view.dtype.kind != "f":
            found = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else f"a {type(view).__name__}"
            raise H36MError(f"{path}: {what} {camera} is {found}; expected {_EXPECTED}")
        arrays[camera] = view[..., :2].astype(np.float32, copy=False)
    return arrays


def _stated_skeleton(metadata: Any, joints: set[int], path: Path) -> Skeleton:
    """Two orders of 16 joints share file names; the mirror pairs in the metadata tell them apart."""
    symmetry = metadata.get("keypoints_symmetry") if isinstance(metadata, dict) else None
    try:
        left = {int(joint) for joint in symmetry[0]} if symmetry is not None else None
    except (TypeError, ValueError, LookupError) as error:
        raise H36MError(f"{path}: keypoints_symmetry of its metadata is not [left joints, right joints]") from error
    fitting = [
        skeleton
        for skeleton in (H36M_17, SH_16, H36M_16)
        if joints == {len(skeleton)} and (left is None or left == set(skeleton.left))
    ]
    if not fitting:
        raise H36MError(
            f"{path}: poses of {sorted(joints)} joints whose left ones are {sorted(left or ())} fit no known order; "
            f"known are {', '.join(f'{s.name} with left {sorted(s.left)}' for s in (H36M_17, SH_16, H36M_16))}"
        )
    return fitting[0]
