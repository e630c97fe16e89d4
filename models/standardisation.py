"""Martinez et al.'s units: every coordinate minus its mean, divided by its standard deviation, over the training set.

Facts from github.com/una-dinosauria/3d-pose-baseline and its port weigq/3d_pose_baseline_pytorch: 2D poses are the 16
joints of H36M-17 without Neck/Nose, pixels; 3D poses are in the camera frame, mm, relative to the hip, which is not
predicted; means and population standard deviations are over all poses of all four cameras.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.lifting import Lifting, TrainingSet, rows_of_views
from h36m_toolbox.pose_tables import pose_array, pose_field
from h36m_toolbox.skeletons import H36M_16, H36M_17

_IMAGE_PX = 1000.0  # width and height of Human3.6M's images, to a thousandth
_STATE = ("mean_2d", "std_2d", "mean_3d", "std_3d")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class StandardNormaliser:
    """Means and standard deviations, float64: of 2D poses (16, 2), px, and of 3D poses (17, 3), mm; the hip's are 0."""

    mean_2d: np.ndarray
    std_2d: np.ndarray
    mean_3d: np.ndarray
    std_3d: np.ndarray

    def inputs(self, labels: pa.Table, pixels: np.ndarray) -> np.ndarray:
        return ((pixels - self.mean_2d) / self.std_2d).astype(np.float32)

    def inputs_of_images(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """As pixels of a Human3.6M image of the same middle, in which the image's width is 1000 px."""
        same_width = (pixels - np.array(size) / 2) * (_IMAGE_PX / size[0]) + _IMAGE_PX / 2
        return ((same_width - self.mean_2d) / self.std_2d).astype(np.float32)

    def targets(self, labels: pa.Table) -> np.ndarray:
        return self.standardised(hip_centred(labels)).astype(np.float32)

    def standardised(self, poses: np.ndarray) -> np.ndarray:
        """Poses (rows, 17, 3), camera frame, mm, hip at 0, in standard deviations; the hip's row stays 0."""
        scaled = np.zeros_like(poses)
        scaled[:, 1:] = (poses[:, 1:] - self.mean_3d[1:]) / self.std_3d[1:]
        return scaled

    def poses_mm(self, outputs: np.ndarray) -> np.ndarray:
        return (outputs * self.std_3d + self.mean_3d).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _STATE}


def measured(poses: np.ndarray, pixels: np.ndarray) -> StandardNormaliser:
    """The normaliser of a training set: poses (rows, 17, 3), camera frame, mm, hip at 0, and 2D (rows, 16, 2), px."""
    moments = (pixels.mean(0, np.float64), pixels.std(0, np.float64), poses.mean(0), poses.std(0))
    if not all((std > 0).all() for std in (moments[1], moments[3][1:])):
        raise H36MError(
            f"the {len(poses)} training poses have a coordinate that never changes, so they cannot be standardised; "
            "train on more of them"
        )
    return StandardNormaliser(*moments)


def hip_centred(labels: pa.Table) -> np.ndarray:
    """Column `joints_3d_world` in the camera frame relative to the hip, float64 (rows, 17, 3), mm."""
    field = pose_field(labels.schema, "joints_3d_world")
    world = field.skeleton.select(pose_array(labels, field.name), H36M_17.joints)
    poses = np.empty(world.shape)
    for (subject, camera), rows in rows_of_views(labels):
        poses[rows] = h36m_camera(subject, camera).world_to_camera(world[rows].astype(np.float64))
    return poses - poses[:, :1]


def standard_lifting() -> Lifting:
    """The contract of both Martinez programs: 16 joints in, 17 out, in standard deviations of the training set."""
    return Lifting(H36M_16, H36M_17, _normaliser)


def _normaliser(training: TrainingSet, state: Mapping[str, np.ndarray]) -> StandardNormaliser:
    if set(_STATE) <= set(state):
        return StandardNormaliser(*(np.asarray(state[name], np.float64) for name in _STATE))
    labels, pixels = training()
    return measured(hip_centred(labels), pixels)
