"""Skeletons drawn over frames and in 3D with OpenCV, some hundred panels a second.

A panel is an RGB image, uint8 (height, width, 3), drawn into in place. A view of the 3D scene is a `Camera` without
lens distortion that looks at the pelvis from wherever one likes (`spectator`). Left limbs are blue, right ones orange,
a pair that colour-blind readers tell apart (after Okabe and Ito, https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from h36m_toolbox.cameras import Camera
from h36m_toolbox.skeletons import Skeleton

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Paint:
    """Colours of a skeleton's bones and joints by side, and of the thin edge that lifts them off a photograph."""

    left: Colour
    right: Colour
    middle: Colour
    edge: Colour

    def joints(self, skeleton: Skeleton) -> list[Colour]:
        """The colour of each joint, and of the bone that leads to it."""
        left, right = set(skeleton.left), set(skeleton.right)
        return [
            self.left if joint in left else self.right if joint in right else self.middle
            for joint in range(len(skeleton))
        ]


VIVID = Paint(left=(0, 114, 178), right=(230, 120, 0), middle=(60, 60, 66), edge=(255, 255, 255))
FAINT = Paint(left=(196, 198, 204), right=(196, 198, 204), middle=(196, 198, 204), edge=(250, 250, 250))
PAPER = 250  # grey level of an empty panel
INK: Colour = (40, 42, 48)
_SHADOW: Colour = (218, 220, 226)
_GRID: Colour = (212, 216, 224)
_GRID_STEP_MM = 400
_FLOOR_MM = 800  # from the pelvis to the edge of the floor
_DISTANCE_MM = 5500
_ELEVATION = np.radians(14)
_SHIFT = 4  # OpenCV draws in sixteenths of a pixel
_FAR = 1 << 14  # px; beyond it OpenCV's fixed-point coordinates overflow


def spectator(camera: Camera, turn_degrees: float, extent_mm: float, size: int) -> Camera:
    """The camera of a 3D panel of size x size px: it looks down a little at a scene `extent_mm` wide and high.

    It stands on `camera`'s side of the subject, turned about the vertical by `turn_degrees` (from above, counter-
    clockwise): errors in depth, which `camera` itself cannot see, show from the side. The world has the subject's
    pelvis above its origin, z up, the floor at z = 0, mm.
    """
    look = camera.rotation[2]
    azimuth = np.arctan2(look[1], look[0]) + np.radians(turn_degrees)
    forward = np.array(
        [np.cos(azimuth) * np.cos(_ELEVATION), np.sin(azimuth) * np.cos(_ELEVATION), -np.sin(_ELEVATION)]
    )
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    target = np.array([0, 0, 0.45 * extent_mm])
    focal = 0.8 * size * _DISTANCE_MM / extent_mm
    return Camera(
        rotation=np.stack([right, np.cross(forward, right), forward]),
        center=target - _DISTANCE_MM * forward,
        focal=np.array([focal, focal]),
        principal=np.array([size / 2, size / 2]),
        radial=np.zeros(3),
        tangential=np.zeros(2),
        size=(size, size),
    )


def draw_pose_2d(image: np.ndarray, pixels: np.ndarray, skeleton: Skeleton, paint: Paint = VIVID) -> None:
    """Draw a pose (joints, 2), px of this image, into it; joints that are not finite are left out with their bones."""
    _draw_bones(image, pixels, skeleton, paint, range(len(skeleton.bones)))


def draw_pose_3d(
    image: np.ndarray, pose: np.ndarray, skeleton: Skeleton, view: Camera, paint: Paint = VIVID, shadow: bool = True
) -> None:
    """Draw a pose (joints, 3), mm, in the world of `spectator`, as `view` sees it, far bones first.

    `shadow` draws what a light straight above would cast on the floor.
    """
    seen = view.world_to_camera(pose)
    if shadow:
        flat = view.project_linear(view.world_to_camera(pose * (1, 1, 0)))
        _draw_bones(image, flat, skeleton, Paint(_SHADOW, _SHADOW, _SHADOW, _SHADOW), range(len(skeleton.bones)))
    depths = [seen[parent, 2] + seen[child, 2] for parent, child in skeleton.bones]
    far_first = [int(bone) for bone in np.argsort(depths)[::-1]]
    _draw_bones(image, view.project_linear(seen), skeleton, paint, far_first)


def draw_floor(image: np.ndarray, view: Camera, passing: np.ndarray) -> None:
    """Draw a square of floor around the origin, its lines fixed in the world, where the pelvis is at `passing` (2,)."""
    lines = []
    for axis in (0, 1):
        first = np.ceil((passing[axis] - _FLOOR_MM) / _GRID_STEP_MM) * _GRID_STEP_MM - passing[axis]
        for place in (-_FLOOR_MM, *np.arange(first, _FLOOR_MM, _GRID_STEP_MM), _FLOOR_MM):
            ends = np.zeros((2, 3))
            ends[:, axis], ends[:, 1 - axis] = place, (-_FLOOR_MM, _FLOOR_MM)
            lines.append(ends)
    pixels = _fixed_point(view.project_linear(view.world_to_camera(np.array(lines))))
    cv2.polylines(image, list(pixels), False, _GRID, 1, cv2.LINE_AA, _SHIFT)


def draw_text(image: np.ndarray, text: str, at: tuple[int, int], height: int, colour: Colour = INK) -> None:
    """Write `text` with its left top corner at `at` (x, y), px, in letters of `height` px, on a pale band."""
    font = _font(height)
    right, bottom = (int(side) for side in font.getbbox(text)[2:])
    x, y = at
    band = image[max(y - 3, 0) : y + bottom + 4, max(x - 5, 0) : x + right + 5]
    canvas = Image.fromarray(band // 4 + np.uint8(PAPER // 4 * 3))
    ImageDraw.Draw(canvas).text((x - max(x - 5, 0), y - max(y - 3, 0)), text, fill=colour, font=font)
    band[:] = np.asarray(canvas)


@cache
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)


def _draw_bones(
    image: np.ndarray, pixels: np.ndarray, skeleton: Skeleton, paint: Paint, order: range | list[int]
) -> None:
    thick = max(2, round(min(image.shape[:2]) / 85))
    places = _fixed_point(pixels)
    there = np.isfinite(pixels).all(axis=-1)
    colours = paint.joints(skeleton)
    radius = round(thick * 0.7 * (1 << _SHIFT))
    edge = max(1, thick // 3)
    for bone in order:
        parent, child = skeleton.bones[bone]
        if not (there[parent] and there[child]):
            continue
        ends = places[parent].tolist(), places[child].tolist()
        cv2.line(image, *ends, paint.edge, thick + 2 * edge, cv2.LINE_AA, _SHIFT)
        cv2.line(image, *ends, colours[child], thick, cv2.LINE_AA, _SHIFT)
        for joint in (parent, child):
            cv2.circle(image, places[joint].tolist(), radius, colours[joint], -1, cv2.LINE_AA, _SHIFT)


def _fixed_point(pixels: np.ndarray) -> np.ndarray:
    finite = np.clip(np.nan_to_num(pixels), -_FAR, _FAR)
    return np.rint(finite * (1 << _SHIFT)).astype(np.int32)
