"""Poses of many sequences between the world and the cameras that saw them.

Errors relative to the root, and aligned ones, are the same in every frame, as a rotation changes no distance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.pose_tables import sequence_of_code


def world_to_views(keys: np.ndarray, poses: np.ndarray, relative: bool) -> np.ndarray:
    """World poses (n, joints, 3) in the camera frame of their row keys; `relative` ones are only turned. float64."""
    turned = np.empty(poses.shape, np.float64)
    for camera, rows in _cameras(keys):
        turned[rows] = poses[rows] @ camera.rotation.T if relative else camera.world_to_camera(poses[rows])
    return turned


def turned_to_world(keys: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Camera-frame poses (n, joints, 3) turned to the world's axes, about the camera's centre. float64."""
    turned = np.empty(poses.shape, np.float64)
    for camera, rows in _cameras(keys):
        turned[rows] = poses[rows] @ camera.rotation
    return turned


def _cameras(keys: np.ndarray) -> Iterator[tuple[Camera, np.ndarray]]:
    """Each calibrated camera with the rows that it saw."""
    codes, code_of_row = np.unique(keys >> 32, return_inverse=True)
    views = [(view.subject, view.camera) for view in (sequence_of_code(int(code)) for code in codes)]
    for subject, camera in dict.fromkeys(views):
        of_view = np.array([view == (subject, camera) for view in views])
        yield h36m_camera(subject, camera), np.flatnonzero(of_view[code_of_row])
