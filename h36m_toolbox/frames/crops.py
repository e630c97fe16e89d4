"""Boxes around the person by the rules that the field uses, and the cutting of images by them.

Pure functions of arrays. Pixels have their centres at whole numbers; a box maps linearly onto the crop, its left edge
to column 0 and its right edge to the crop's width, so a camera after the crop follows from the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from h36m_toolbox.cameras import Camera

POSEFORMER_SIZE = (192, 256)  # width, height of Context-Aware PoseFormer's crops, px
MMPOSE_MARGIN = 1.2

# A window of 2000 x 2000 mm at the root's depth, 100 mm low: H36M-Toolbox's rule.
Box = tuple[float, float, float, float]  # left, top, right, bottom, px

_WINDOW_MM = np.array([[-1000, -900, 0], [1000, 1100, 0]], np.float32)


def person_boxes(camera: Camera, roots: np.ndarray) -> np.ndarray:
    """Boxes left, top, right, bottom (frames, 4), px float32, around camera-frame roots (frames, 3), mm float32.

    H36M-Toolbox's rule, projected without distortion. The arithmetic is that of float32 arrays times float64 scalars,
    step by step.
    """
    corners = roots[:, None] + _WINDOW_MM
    slopes = corners[..., :2] / corners[..., 2:]
    scaled = (slopes * camera.focal).astype(np.float32)
    return (scaled + camera.principal).astype(np.float32).reshape(-1, 4)


@dataclass(frozen=True)
class BoxGeometry:
    """A frame's box as the Toolbox's pickles hold it: centre in px, width and height in units of 200 px."""

    boxes: np.ndarray  # (frames, 4) float32
    centers: np.ndarray  # (frames, 2) float64
    scales: np.ndarray  # (frames, 2) float64


def box_geometry(camera: Camera, roots: np.ndarray) -> BoxGeometry:
    """Boxes, centres and scales of camera-frame roots (frames, 3), mm; sums in float32, quotients in float64."""
    boxes = person_boxes(camera, roots)
    centers = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2
    scales = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64) / 200
    return BoxGeometry(boxes, centers, scales)


def poseformer_maps(geometry: BoxGeometry, size: tuple[int, int] = POSEFORMER_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Gains and offsets (frames, 2), x and y: pixels of a crop of `size` (width, height) are gain * pixel + offset.

    Context-Aware PoseFormer's rule: a box's first to last pixel fill the crop's columns, its height is unused. The two
    are fitted to three points that were rounded to float32, as officially, so that the gains of x and y differ in
    their last digits.
    """
    reach = (size[0] - 1) / 2
    middle = (np.array(size) - 1) / 2
    first = geometry.centers.astype(np.float32)
    above = (geometry.centers[:, 1] - (geometry.scales[:, 0] * 200 - 1) / 2).astype(np.float32)
    beside = first[:, 0] - (first[:, 1] - above)
    spans = np.stack([first[:, 0].astype(np.float64) - beside, first[:, 1].astype(np.float64) - above], axis=1)
    gains = reach / spans
    return gains, middle - gains * first


def poseformer_coordinates(pixels: np.ndarray, geometry: BoxGeometry) -> np.ndarray:
    """Pixels (frames, joints, 2) in Context-Aware PoseFormer's 192 x 256 crop around each frame's box, float32."""
    gains, offsets = poseformer_maps(geometry)
    return (gains[:, None] * pixels + offsets[:, None]).astype(np.float32)


def poseformer_boxes(geometry: BoxGeometry, size: tuple[int, int] = POSEFORMER_SIZE) -> np.ndarray:
    """What a crop of `size` (width, height) shows by PoseFormer's rule: left, top, right, bottom (frames, 4), px."""
    gains, offsets = poseformer_maps(geometry, size)
    return np.concatenate([-offsets / gains, (np.array(size) - offsets) / gains], axis=1)


def squared_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes top, left, bottom, right (n, 4), px, with the shorter side grown to the longer about the same centre.

    Learnable triangulation's rule for the boxes of masks. The new low edge is rounded half to even, as Python 3 rounds.
    Boxes may leave the image.
    """
    starts, sizes = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    grown = np.rint((boxes[:, :2] + boxes[:, 2:]) / 2 - side / 2).astype(boxes.dtype)
    starts = np.where(sizes < side, grown, starts)
    return np.concatenate([starts, starts + side], axis=1)


def mask_boxes(boxes: np.ndarray) -> np.ndarray:
    """Squared boxes left, top, right, bottom (n, 4), px float64, of the masks' top, left, bottom, right (n, 4)."""
    return squared_boxes(boxes)[:, [1, 0, 3, 2]].astype(np.float64)


def joint_centers_and_sides(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (frames, 2) and longer side (frames,) of the tight box around joints (frames, joints, 2), px float64."""
    low, high = image.min(axis=1).astype(np.float64), image.max(axis=1).astype(np.float64)
    return (low + high) / 2, (high - low).max(axis=1)


def joint_boxes(image: np.ndarray) -> np.ndarray:
    """mmpose's squares left, top, right, bottom (frames, 4), px: tight around joints, the longer side times 1.2."""
    centers, sides = joint_centers_and_sides(image)
    half = sides[:, None] * MMPOSE_MARGIN / 2
    return np.concatenate([centers - half, centers + half], axis=1)


def cropped_image(image: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """What a box (left, top, right, bottom px) shows of an image (height, width[, 3]), in `size` (width, height) px.

    Bilinear, black outside the image; a box of another shape than the size is stretched.
    """
    left, top, right, bottom = box
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    matrix = np.array([[across, 0, -across * left], [0, down, -down * top]])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
