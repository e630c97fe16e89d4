"""Pinhole cameras with Human3.6M's lens distortion, and the 28 calibrated cameras of the data set.

Frames: world is z up, millimetres; camera is x right, y down, z forward, millimetres; image has its origin at the top
left, pixels. The distortion is *not* OpenCV's: its mixed tangential terms lack OpenCV's factor 2, which is worth up to
1.3 px in the image corners.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Camera:
    """One camera for one subject: point_camera = rotation @ (point_world - center).

    With x = X/Z, y = Y/Z, r2 = x^2 + y^2 and g = 1 + k1 r2 + k2 r2^2 + k3 r2^3 + p1 y + p2 x a pixel is
    u = fx (g x + p2 r2) + cx, v = fy (g y + p1 r2) + cy.
    """

    rotation: np.ndarray  # (3, 3), world to camera
    center: np.ndarray  # (3,), world, mm
    focal: np.ndarray  # (2,), px
    principal: np.ndarray  # (2,), px
    radial: np.ndarray  # (3,), k1 k2 k3
    tangential: np.ndarray  # (2,), p1 p2 in the metadata's order
    size: tuple[int, int]  # width, height, px

    def world_to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera frame, mm."""
        return (points - self.center) @ self.rotation.T

    def camera_to_world(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) in the world frame, mm."""
        return points @ self.rotation + self.center

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) as pixels (..., 2), lens distortion included."""
        return self.distorted(points[..., :2] / points[..., 2:]) * self.focal + self.principal

    def project_linear(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) as pixels (..., 2) of an ideal lens."""
        return points[..., :2] / points[..., 2:] * self.focal + self.principal

    def distorted(self, rays: np.ndarray) -> np.ndarray:
        """Ideal rays (x/z, y/z) (..., 2) bent by the lens."""
        x, y = rays[..., 0], rays[..., 1]
        k1, k2, k3 = self.radial
        p1, p2 = self.tangential
        r2 = x * x + y * y
        gain = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + p1 * y + p2 * x
        return np.stack([gain * x + p2 * r2, gain * y + p1 * r2], axis=-1)

    def undistorted_rays(self, pixels: np.ndarray, iterations: int = 30) -> np.ndarray:
        """Ideal rays (x/z, y/z) (..., 2) of measured pixels, by fixed-point iteration (1e-10 within the image)."""
        bent = (pixels - self.principal) / self.focal
        rays = bent
        for _ in range(iterations):
            rays = rays + (bent - self.distorted(rays))
        return rays

    def undistort(self, pixels: np.ndarray) -> np.ndarray:
        """Where measured pixels (..., 2) would be with an ideal lens of the same focal length and centre, px."""
        return self.undistorted_rays(pixels) * self.focal + self.principal

    def cropped(self, left: float, top: float, width: int, height: int) -> Camera:
        """The camera of the image cut out at (left, top)."""
        return replace(self, principal=self.principal - (left, top), size=(width, height))

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the image scaled to width x height."""
        scale = np.array([width / self.size[0], height / self.size[1]])
        return replace(self, focal=self.focal * scale, principal=self.principal * scale, size=(width, height))

    @property
    def intrinsics(self) -> np.ndarray:
        """The 3x3 calibration matrix, px."""
        return np.array(
            [[self.focal[0], 0, self.principal[0]], [0, self.focal[1], self.principal[1]], [0, 0, 1]], dtype=np.float64
        )


def rotation_from_angles(x: float, y: float, z: float) -> np.ndarray:
    """Rx(x) Ry(y) Rz(z), each the right-handed rotation about its axis, radians: the metadata's convention."""
    cx, cy, cz = np.cos([x, y, z])
    sx, sy, sz = np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@cache
def h36m_cameras() -> dict[tuple[str, str], Camera]:
    """(subject, camera id) -> Camera, for all 11 subjects of the data set."""
    folder = files("h36m_toolbox").joinpath("metadata")
    intrinsics = {
        row["camera"]: row for row in csv.DictReader(folder.joinpath("intrinsics.csv").read_text().splitlines())
    }
    cameras = {}
    for row in csv.DictReader(folder.joinpath("extrinsics.csv").read_text().splitlines()):
        lens = intrinsics[row["camera"]]
        cameras[row["subject"], row["camera"]] = Camera(
            rotation=rotation_from_angles(*(float(row[f"angle_{axis}_rad"]) for axis in "xyz")),
            center=np.array([float(row[f"center_{axis}_mm"]) for axis in "xyz"]),
            focal=np.array([float(lens["focal_x_px"]), float(lens["focal_y_px"])]),
            principal=np.array([float(lens["principal_x_px"]), float(lens["principal_y_px"])]),
            radial=np.array([float(lens[k]) for k in ("k1", "k2", "k3")]),
            tangential=np.array([float(lens[p]) for p in ("p1", "p2")]),
            size=(int(lens["width_px"]), int(lens["height_px"])),
        )
    return cameras


def h36m_camera(subject: str, camera: str) -> Camera:
    """The calibrated camera that filmed a subject; an H36MError for one that Human3.6M does not have."""
    known = h36m_cameras()
    if (subject, camera) not in known:
        raise H36MError(f"Human3.6M has no camera {camera} for subject {subject}; cameras are {', '.join(CAMERA_IDS)}")
    return known[subject, camera]
