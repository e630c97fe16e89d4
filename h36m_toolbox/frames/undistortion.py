"""Frames without lens distortion, as learnable triangulation's undistort-h36m makes them: the same camera matrix,
Human3.6M's lens model (not OpenCV's), bicubic, black outside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError

UNDISTORTED_QUALITY = 95  # JPEG; OpenCV's default, with which the official script writes


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class UndistortMap:
    """Where each pixel of an undistorted image comes from, in OpenCV's fixed point: whole pixels and 1/32."""

    whole: np.ndarray  # (height, width, 2) int16, x y
    fraction: np.ndarray  # (height, width) uint16, index into OpenCV's table of 32 x 32 interpolations

    @property
    def pixels(self) -> np.ndarray:
        """The places (height, width, 2), x y, in the distorted image, px float32."""
        fractions = np.stack([self.fraction % 32, self.fraction // 32], axis=-1)
        return self.whole + fractions.astype(np.float32) / 32


def undistort_map(camera: Camera) -> UndistortMap:
    """The map for the frames of a camera, of its `size`; in float32, as the official labels hold the lens."""
    lens = replace(
        camera,
        focal=camera.focal.astype(np.float32),
        principal=camera.principal.astype(np.float32),
        radial=camera.radial.astype(np.float32),
        tangential=camera.tangential.astype(np.float32),
    )
    columns, rows = (np.arange(size, dtype=np.float32) for size in camera.size)
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1)
    sources = lens.distorted((pixels - lens.principal) / lens.focal) * lens.focal + lens.principal
    return UndistortMap(*cv2.convertMaps(sources[..., 0], sources[..., 1], cv2.CV_16SC2))


def undistorted(image: np.ndarray, maps: UndistortMap) -> np.ndarray:
    """An image (height, width[, 3]) as an ideal lens with the same camera matrix had taken it; black where it saw
    nothing.

    Raises H36MError where the image has another size than the map's camera.
    """
    return undistorted_part(image, maps, slice(None), slice(None))


def undistorted_part(image: np.ndarray, maps: UndistortMap, rows: slice, columns: slice) -> np.ndarray:
    """These rows and columns of `undistorted`, without the others."""
    if image.shape[:2] != maps.fraction.shape:
        raise H36MError(
            f"an image of {image.shape[1]}x{image.shape[0]} px, but its camera's map is for "
            f"{maps.fraction.shape[1]}x{maps.fraction.shape[0]}; is it a whole frame of that camera?"
        )
    part = maps.whole[rows, columns], maps.fraction[rows, columns]
    return cv2.remap(image, *part, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
