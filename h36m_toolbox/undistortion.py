"""Frames without lens distortion, as learnable triangulation's undistort-h36m makes them: the same camera matrix,
Human3.6M's lens model (not OpenCV's), bicubic, black outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import folder_written_whole
from h36m_toolbox.frames import image_name
from h36m_toolbox.sequences import Sequence

JPEG_QUALITY = 95  # OpenCV's default, with which the official script writes


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
    if image.shape[:2] != maps.fraction.shape:
        raise H36MError(
            f"an image of {image.shape[1]}x{image.shape[0]} px, but its camera's map is for "
            f"{maps.fraction.shape[1]}x{maps.fraction.shape[0]}; is it a whole frame of that camera?"
        )
    return cv2.remap(image, maps.whole, maps.fraction, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def undistorted_folder(data: Path, sequence: Sequence) -> Path:
    """Where learnable triangulation and ContextPose look for the undistorted frames of a sequence."""
    take = f"{sequence.action}-{sequence.subaction}"
    return data / "processed" / sequence.subject / take / "imageSequence-undistorted" / sequence.camera


def write_undistorted(data: Path, sequence: Sequence, frames: Iterable[int]) -> Path:
    """Undistort frames (from 0) of `DATA/images` to `undistorted_folder`, as img_000001.jpg for frame 0; the folder.

    What the folder held before is replaced. Raises H36MError where a frame has not been extracted, cannot be read or
    has not the size of its camera; the folder is then as it was.
    """
    maps = undistort_map(h36m_camera(sequence.subject, sequence.camera))
    target = undistorted_folder(data, sequence)
    with folder_written_whole(target) as folder:
        for frame in frames:
            source = data / "images" / sequence.folder / image_name(sequence, frame)
            image = undistorted(_read_image(source), maps)
            jpeg = simplejpeg.encode_jpeg(image, JPEG_QUALITY, "BGR", "420")
            (folder / f"img_{frame + 1:06d}.jpg").write_bytes(jpeg)
    return target


def _read_image(path: Path) -> np.ndarray:
    if not path.is_file():
        raise H36MError(f"{path}: no such frame; run `h36m extract RAW --out {path.parents[2]}` first")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise H36MError(f"{path}: cannot be read as an image; remove its folder and run `h36m extract` again")
    return image
