"""The piece of a frame around a person as learnable triangulation and ContextPose see it, and the camera of that piece.

Facts from karfly/learnable-triangulation-pytorch, mvn/utils/{img,multiview}.py, and ShirleyMaxx/ContextPose-PyTorch-
release. Boxes are left, top, right, bottom, px, right and bottom outside; cameras are float32 matrices, as there.
"""

from __future__ import annotations

import cv2
import numpy as np

CROP_SIZE = 384  # px, width and height of what the networks see
ERASED_SIZE = 70  # px of a square that ContextPose's occlusion test erases

# ImageNet's statistics of red, green, blue; the official programs apply them to blue, green, red, as OpenCV loads.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def scaled_boxes(boxes: np.ndarray, scale: float) -> np.ndarray:
    """Boxes (n, 4), whole px, grown about their centre, which is rounded down; at 1.0 they stay as they are."""
    middle = (boxes[:, :2] + boxes[:, 2:]) // 2
    sizes = (scale * (boxes[:, 2:] - boxes[:, :2])).astype(boxes.dtype)
    starts = middle - sizes // 2
    return np.concatenate([starts, starts + sizes], axis=1)


def cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What a box (4,) shows of an image (height, width, 3); black outside the image."""
    left, top, right, bottom = map(int, box)
    height, width = image.shape[:2]
    piece = np.zeros((bottom - top, right - left, *image.shape[2:]), image.dtype)
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    row, column = max(-top, 0), max(-left, 0)
    if inside.size and top < height and left < width:
        piece[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return piece


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image in another size by areas, also where it grows."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def normalised(bgr: np.ndarray) -> np.ndarray:
    """An image (..., 3) uint8 blue, green, red as the networks take it, float64.

    The statistics of red, green, blue meet blue, green, red: the official quirk, which released weights expect.
    """
    return (bgr / 255.0 - np.array(_MEAN)) / np.array(_STD)


def normalisation() -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift (3,), float32, by which `normalised` is one product and one sum on a device."""
    deviation = np.array(_STD)
    return (1 / (255.0 * deviation)).astype(np.float32), (-np.array(_MEAN) / deviation).astype(np.float32)


def intrinsics_of_cut(intrinsics: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Calibration matrix (3, 3), float32, of what a box (4,) shows."""
    changed = intrinsics.copy()
    changed[:2, 2] -= box[:2].astype(intrinsics.dtype)
    return changed


def intrinsics_of_resized(intrinsics: np.ndarray, size: tuple[int, int], to: tuple[int, int]) -> np.ndarray:
    """Calibration matrix (3, 3), float32, after an image of `size` (width, height) is brought `to` another.

    Focal lengths and principal point are multiplied; no half pixel is added, as officially.
    """
    changed = intrinsics.copy()
    for axis in (0, 1):
        factor = to[axis] / size[axis]
        changed[axis, axis] *= intrinsics.dtype.type(factor)
        changed[axis, 2] *= intrinsics.dtype.type(factor)
    return changed


def projection(intrinsics: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """K [R | t] (3, 4) of (3, 3), (3, 3) and (3, 1), in their dtype: world mm to px."""
    return intrinsics @ np.hstack([rotation, translation])


def erased(image: np.ndarray, centres: np.ndarray, size: int = ERASED_SIZE) -> np.ndarray:
    """An image (height, width, channels) with a square around each centre (n, 2), x y px, at its mean colour.

    ContextPose's test of occlusion. Means are those of the image as given; a later square covers an earlier one; a
    centre outside the image erases nothing.
    """
    changed, half = image.copy(), size // 2
    height, width = image.shape[:2]
    for x, y in centres:
        if 0 <= x < width and 0 <= y < height:
            place = (
                slice(max(0, int(y - half)), int(y + half) + 1),
                slice(max(0, int(x - half)), int(x + half) + 1),
            )
            changed[place] = image[place].mean(axis=(0, 1))
    return changed
