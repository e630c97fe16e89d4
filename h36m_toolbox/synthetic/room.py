"""The empty room behind the synthetic subjects, seen through the real lenses: world-fixed floor tiles, tape and walls.

The floor carries a 0.5 m grid, a tape around the capture area and the world's axes at the origin (x red, y green), so a
wrong calibration is visible to the eye.
"""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np

from h36m_toolbox.cameras import Camera, h36m_camera

# The room's inner walls, floor and ceiling, world, mm; all cameras stand inside.
_ROOM_MM = ((-4200.0, 4400.0), (-6600.0, 6600.0), (0.0, 3200.0))
_LAMP_MM = np.array([100.0, 300.0, 3100.0], np.float32)
_TAPE_MM = ((-1900.0, 2100.0), (-1050.0, 1950.0))  # 4 x 3 m around the stage
_RAY_GRID_PX = 8

_FLOOR_BGR = (126, 142, 152)
_JOINT_BGR = (98, 110, 118)
_TAPE_BGR = (60, 190, 235)
_X_AXIS_BGR = (70, 70, 215)
_Y_AXIS_BGR = (90, 170, 80)
_CEILING_BGR = (205, 208, 210)
_WALLS_BGR = {(0, 0): (176, 170, 158), (0, 1): (170, 172, 166), (1, 0): (186, 182, 172), (1, 1): (178, 180, 174)}
_WAINSCOT = 0.78  # the walls' lower metre is this much darker


@lru_cache(maxsize=4)  # one subject's cameras: all of a subject's recordings have the same four rooms
def room_image(subject: str, camera_id: str) -> np.ndarray:
    """The room as one camera of one subject sees it, uint8 BGR (height, width, 3), read-only, with lens distortion."""
    camera = h36m_camera(subject, camera_id)
    rays = _pixel_rays(camera_id) @ camera.rotation.astype(np.float32)  # (height, width, 3), world
    origin = camera.center.astype(np.float32)
    distance, axis, side = _first_wall(rays, origin)
    points = origin + distance[..., None] * rays
    pixel_mm = distance * np.float32(1 / camera.focal[0])  # what one pixel covers, seen face on
    image = np.empty(points.shape, np.float32)
    for surface in range(6):
        mask = (axis == surface // 2) & (side == surface % 2)
        if mask.any():
            paint = _floor if surface == 4 else _wall
            image[mask] = paint(points[mask], pixel_mm[mask], rays[mask], (surface // 2, surface % 2))
    image *= _light(points, axis)[..., None]
    grain = np.random.default_rng(0).normal(0, 1.6, image.shape[:2]).astype(np.float32)
    room = np.clip(image + cv2.GaussianBlur(grain, (3, 3), 0)[..., None] * 1.6, 0, 255).astype(np.uint8)
    room.flags.writeable = False
    return room


@cache
def _pixel_rays(camera_id: str) -> np.ndarray:
    """Ideal rays (height, width, 3) of every pixel, camera frame, z = 1; the lens is the same for all subjects.

    Solved on a coarse grid and interpolated: the lens bends so gently that this is right to a hundredth of a pixel.
    """
    camera: Camera = h36m_camera("S1", camera_id)
    width, height = camera.size
    columns, rows = (np.arange(0, size + _RAY_GRID_PX, _RAY_GRID_PX) for size in (width, height))
    coarse = camera.undistorted_rays(np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64), iterations=12)
    x, y = (np.arange(size, dtype=np.float32) / _RAY_GRID_PX for size in (width, height))
    map_x, map_y = np.meshgrid(x, y)
    rays = cv2.remap(coarse.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR)
    return np.dstack([rays, np.ones((height, width), np.float32)])


def _first_wall(rays: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance along each ray to the room's shell, the axis it is met on, whether on the far (1) or near (0) side."""
    distances = np.empty(rays.shape, np.float32)
    for axis, (low, high) in enumerate(_ROOM_MM):
        ray = rays[..., axis]
        bound = np.where(ray > 0, np.float32(high - origin[axis]), np.float32(low - origin[axis]))
        least = np.where(ray > 0, np.float32(1e-6), np.float32(-1e-6))
        distances[..., axis] = bound / np.where(np.abs(ray) < 1e-6, least, ray)
    axis_met = distances.argmin(axis=-1)
    side = np.take_along_axis(rays, axis_met[..., None], axis=-1)[..., 0] > 0
    return distances.min(axis=-1), axis_met, side


def _floor(points: np.ndarray, pixel_mm: np.ndarray, rays: np.ndarray, _: tuple[int, int]) -> np.ndarray:
    """Colours (n, 3) of floor points (n, 3)."""
    x, y = points[:, 0], points[:, 1]
    # A pixel covers more floor along the line of sight than across it.
    slant = np.linalg.norm(rays, axis=1) / np.abs(rays[:, 2])
    spread_x = pixel_mm * (1 + (slant - 1) * np.abs(rays[:, 0]) / np.hypot(rays[:, 0], rays[:, 1]))
    spread_y = pixel_mm * (1 + (slant - 1) * np.abs(rays[:, 1]) / np.hypot(rays[:, 0], rays[:, 1]))
    tile = np.floor(x / 500).astype(np.int64) * 7919 + np.floor(y / 500).astype(np.int64) * 104729
    shade = 0.95 + 0.09 * ((tile * 2654435761 >> 7) & 255).astype(np.float32) / 255
    colours = np.array(_FLOOR_BGR, np.float32) * shade[:, None]
    for period, width in ((500, 8), (1000, 14)):
        joints = np.maximum(_stripes(x, period, width, spread_x), _stripes(y, period, width, spread_y))
        colours = _over(colours, _JOINT_BGR, joints)
    (left, right), (near, far) = _TAPE_MM
    outer = _inside(x, left - 25, right + 25, spread_x) * _inside(y, near - 25, far + 25, spread_y)
    inner = _inside(x, left + 25, right - 25, spread_x) * _inside(y, near + 25, far - 25, spread_y)
    colours = _over(colours, _TAPE_BGR, 0.85 * (outer - inner))
    colours = _over(colours, _X_AXIS_BGR, _inside(x, 0, 600, spread_x) * _inside(y, -18, 18, spread_y))
    return _over(colours, _Y_AXIS_BGR, _inside(y, 0, 600, spread_y) * _inside(x, -18, 18, spread_x))


def _wall(points: np.ndarray, pixel_mm: np.ndarray, rays: np.ndarray, surface: tuple[int, int]) -> np.ndarray:
    """Colours (n, 3) of points (n, 3) on a wall or the ceiling: panels above a darker wainscot and a skirting board."""
    if surface[0] == 2:
        return np.broadcast_to(np.array(_CEILING_BGR, np.float32), points.shape)
    along, height = points[:, 1 - surface[0]], points[:, 2]
    low = _inside(height, -100, 1000, pixel_mm)
    colours = np.array(_WALLS_BGR[surface], np.float32) * (1 - (1 - _WAINSCOT) * low)[:, None]
    seams = _stripes(along, 1200, 10, pixel_mm)
    colours = _over(colours, (120, 120, 116), 0.55 * seams)
    colours = _over(colours, (214, 214, 208), 0.8 * _inside(height, 985, 1035, pixel_mm))
    return _over(colours, (78, 80, 84), _inside(height, -100, 110, pixel_mm))


def _light(points: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Brightness (height, width) of the room's surfaces under one soft lamp."""
    squared = ((points - _LAMP_MM) ** 2).sum(axis=-1) / 1e6  # m^2
    return (0.55 + 0.75 / (1 + squared / np.where(axis == 2, np.float32(16), np.float32(40)))).astype(np.float32)


def _stripes(position: np.ndarray, period: float, width: float, pixel: np.ndarray) -> np.ndarray:
    """How much of each pixel is covered by lines of `width` mm at the multiples of `period` mm."""
    distance = np.abs((position + period / 2) % period - period / 2)
    return np.clip((width / 2 - distance) / pixel + 0.5, 0, 1) * np.minimum(1, width / pixel)


def _inside(position: np.ndarray, low: float, high: float, pixel: np.ndarray) -> np.ndarray:
    """How much of each pixel lies between `low` and `high` mm."""
    return np.clip((position - low) / pixel + 0.5, 0, 1) * np.clip((high - position) / pixel + 0.5, 0, 1)


def _over(colours: np.ndarray, paint: tuple[int, int, int], cover: np.ndarray) -> np.ndarray:
    return colours + cover[:, None] * (np.array(paint, np.float32) - colours)
