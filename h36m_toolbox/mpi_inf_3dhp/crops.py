"""Context-Aware PoseFormer's crops of MPI-INF-3DHP: 192 x 256 px around a box of 2 m by 2 m at the pelvis' depth.

The box is projected with one table of intrinsics for all subjects, not with the calibration of the sequence. The
published npz script takes its rows by the place of the camera in the list of eight (`by_place`), so for cameras 4 to 8
key points lie 4 to 20 px beside the pictures, which are cut by camera number.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.mpi_inf_3dhp.sequences import CAMERA_SETS, image_size
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

_WINDOW_MM = np.array([[-1000.0, -900.0, 0.0], [1000.0, 1100.0, 0.0]])
_TEST_STUDIO_ROW, _TEST_OUTDOORS_ROW = "8", "TS56"
_PELVIS = MPI_INF_3DHP_17.joints.index(MPI_INF_3DHP_17.root)


@cache
def _table() -> dict[str, Camera]:
    text = files("h36m_toolbox").joinpath("metadata/mpi_inf_3dhp_crop_intrinsics.csv").read_text()
    return {
        row["row"]: Camera(
            rotation=np.eye(3),
            center=np.zeros(3),
            focal=np.array([float(row["focal_x_px"]), float(row["focal_y_px"])]),
            principal=np.array([float(row["principal_x_px"]), float(row["principal_y_px"])]),
            radial=np.zeros(3),
            tangential=np.zeros(2),
            size=(int(row["width_px"]), int(row["height_px"])),
        )
        for row in csv.DictReader(text.splitlines())
    }


def crop_camera(camera: int, by_place: bool = False) -> Camera:
    """The table's camera for a training camera's number; `by_place`: for its place among the eight, as published."""
    return _table()[str(CAMERA_SETS["vnect"].index(camera) if by_place else camera)]


def crop_camera_of_test_set(sequence: str) -> Camera:
    """The table's camera for a test sequence."""
    outdoors = image_size(sequence) != (2048, 2048)
    return _table()[_TEST_OUTDOORS_ROW if outdoors else _TEST_STUDIO_ROW]


def crop_affines(camera: Camera, poses: np.ndarray) -> np.ndarray:
    """Image to crop, (frames, 2, 3), of absolute camera-frame poses (frames, 17, 3), mm.

    The box's first to last pixel fill the 192 columns, its centre goes to the crop's; no rotation, one scale. Fitted to
    three float32 points, as published: up to 3e-5 px beside the exact one.
    """
    corners = camera.project_linear(poses[:, _PELVIS, None] + _WINDOW_MM)  # (frames, 2, 2)
    goal = _three_points((np.array([POSEFORMER_SIZE]) - 1) / 2, np.array([POSEFORMER_SIZE[0] - 1.0]))[0]
    sources = _three_points(corners.mean(axis=1), corners[:, 1, 0] - corners[:, 0, 0] - 1)
    return np.array([cv2.getAffineTransform(source, goal) for source in sources]).reshape(-1, 2, 3)


def _three_points(centers: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """A centre, the point half a width above it, and the corner to their left: (n, 3, 2) float32."""
    points = np.empty((len(centers), 3, 2), np.float32)
    points[:, 0] = points[:, 1] = centers
    points[:, 1, 1] = centers[:, 1] - (widths / 2).astype(np.float32)
    down = points[:, 0] - points[:, 1]
    points[:, 2] = points[:, 1] + np.stack([-down[:, 1], down[:, 0]], axis=-1)
    return points


def crop_coordinates(affines: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Pixels (frames, joints, 2) of the image as pixels of the crop."""
    return np.asarray(np.einsum("fab,fjb->fja", affines[..., :2], pixels) + affines[:, None, :, 2])


def crop_image(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The crop (256, 192, 3) of an image by its affine (2, 3): bilinear, black outside."""
    return np.asarray(cv2.warpAffine(image, affine, POSEFORMER_SIZE, flags=cv2.INTER_LINEAR))
