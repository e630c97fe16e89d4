"""The patch that integral regression sees of a person, the label that belongs to it, and the way back to millimetres.

Facts from github.com/JimmySuen/integral-human-pose. Boxes are centre x, centre y, width, height, px. A label is x and y
as fractions of the patch's width and height from its middle, z as a fraction of its *width*, of the patch's depth.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np

from h36m_toolbox.skeletons import INTEGRAL_18, Skeleton

MEAN_RGB = np.array([123.675, 116.28, 103.53], np.float32)
STD_RGB = np.array([58.395, 57.12, 57.375], np.float32)


@dataclass(frozen=True)
class Patch:
    """Size of a patch, px, and what a depth of one patch width stands for.

    `depth_mm` None: a depth is in image pixels, and one patch width is a box width (the challenge's convention);
    otherwise depths are mm, and one patch width is `depth_mm` (the 2 m of Human3.6M's own). Weights know one of both.
    """

    width: int = 256
    height: int = 256
    depth_mm: float | None = 2000.0

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


@dataclass(frozen=True)
class Augmentation:
    """A disturbance: more of the image by `scale`, turned by degrees, mirrored first, its colours multiplied."""

    scale: float = 1.0
    rotation_deg: float = 0.0
    mirrored: bool = False
    color_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)


PLAIN = Augmentation()


@dataclass(frozen=True)
class AugmentationRanges:
    """How strongly patches are disturbed in training, and how often; the official values."""

    scale: float = 0.25
    rotation_deg: float = 30.0
    color: float = 0.2
    rotation_rate: float = 0.6
    mirror_rate: float = 0.5


def drawn_augmentation(
    normal: np.random.Generator | np.random.RandomState,
    uniform: random.Random,
    ranges: AugmentationRanges = AugmentationRanges(),
) -> Augmentation:
    """A disturbance drawn as the official program draws it from numpy's and Python's generators, in its order."""
    scale = float(np.clip(normal.standard_normal(), -1, 1)) * ranges.scale + 1
    rotation = 0.0
    if uniform.random() <= ranges.rotation_rate:
        rotation = float(np.clip(normal.standard_normal(), -2, 2)) * ranges.rotation_deg
    mirrored = uniform.random() <= ranges.mirror_rate
    low, high = 1 - ranges.color, 1 + ranges.color
    red, green, blue = (uniform.uniform(low, high) for _ in range(3))
    return Augmentation(scale, rotation, mirrored, (red, green, blue))


def mirrored_boxes(boxes: np.ndarray, image_width: int) -> np.ndarray:
    """Boxes (n, 4) in the image whose columns are reversed."""
    return np.concatenate([image_width - 1 - boxes[:, :1], boxes[:, 1:]], axis=1)


def patch_to_image(boxes: np.ndarray, patch: Patch, scale: float = 1.0, rotation_deg: float = 0.0) -> np.ndarray:
    """Maps (n, 2, 3) from patch pixels to image pixels.

    Three points fix each map, rounded to float32 as officially, which moves it by up to 3e-5 px.
    """
    angle = np.deg2rad(rotation_deg)
    sine, cosine = np.sin(angle), np.cos(angle)
    half = boxes[:, 2:] * scale / 2
    zero = np.zeros(len(boxes))
    center = boxes[:, :2].astype(np.float32)
    down = _turned(zero, half[:, 1], sine, cosine).astype(np.float32) + center
    right = _turned(half[:, 0], zero, sine, cosine).astype(np.float32) + center
    middle = center.astype(np.float64)
    linear = np.stack([(right - middle) / (patch.width / 2), (down - middle) / (patch.height / 2)], axis=2)
    shift = middle - linear @ (patch.width / 2, patch.height / 2)
    return np.concatenate([linear, shift[..., None]], axis=2)


def _turned(x: np.ndarray, y: np.ndarray, sine: float, cosine: float) -> np.ndarray:
    return np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)


def inverted(maps: np.ndarray) -> np.ndarray:
    """Affine maps (n, 2, 3) the other way."""
    linear = np.linalg.inv(maps[..., :2])
    return np.concatenate([linear, -linear @ maps[..., 2:]], axis=2)


def moved(points: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Points (n, joints, 2) under affine maps (n, 2, 3)."""
    return points @ maps[..., :2].swapaxes(1, 2) + maps[:, None, :, 2]


def cut_patch(image: np.ndarray, box: np.ndarray, patch: Patch, augmentation: Augmentation = PLAIN) -> np.ndarray:
    """What a box (4,) shows of an image (height, width, 3) uint8, disturbed: (patch height, patch width, 3) uint8.

    Bilinear, black outside the image. Colours stay as they are: `normalised_patch` disturbs them.
    """
    boxes = box[None]
    if augmentation.mirrored:
        image, boxes = cv2.flip(image, 1), mirrored_boxes(boxes, image.shape[1])
    maps = inverted(patch_to_image(boxes, patch, augmentation.scale, augmentation.rotation_deg))
    size = (patch.width, patch.height)
    return cv2.warpAffine(image, maps[0], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def normalised_patch(patch_rgb: np.ndarray, color_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """A patch (height, width, 3) uint8, red green blue, as a network takes it: float32 (3, height, width)."""
    planes = np.ascontiguousarray(patch_rgb.transpose(2, 0, 1))
    factor, mean, deviation = (np.asarray(each, np.float32)[:, None, None] for each in (color_rgb, MEAN_RGB, STD_RGB))
    return (np.clip(planes * factor, 0, 255) - mean) / deviation


def patch_labels(
    joints: np.ndarray,
    weights: np.ndarray,
    boxes: np.ndarray,
    image_width: int,
    patch: Patch,
    augmentation: Augmentation = PLAIN,
    skeleton: Skeleton = INTEGRAL_18,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and weights, float32 (n, joints, 3), of joints and weights (n, joints, 3) in boxes (n, 4).

    Depth is left alone by rotation and mirroring; joints outside the patch keep their weight, as officially.
    """
    if augmentation.mirrored:
        order = mirrored_order(skeleton)
        joints = np.concatenate([image_width - 1 - joints[:, order, :1], joints[:, order, 1:]], axis=2)
        weights, boxes = weights[:, order], mirrored_boxes(boxes, image_width)
    maps = inverted(patch_to_image(boxes, patch, augmentation.scale, augmentation.rotation_deg))
    places = moved(joints[..., :2], maps) / (patch.width, patch.height) - 0.5
    deep = boxes[:, 2] if patch.depth_mm is None else np.full(len(boxes), patch.depth_mm)
    depths = joints[..., 2:] / (deep * augmentation.scale)[:, None, None]
    return np.concatenate([places, depths], axis=2).astype(np.float32), weights.astype(np.float32)


def mirrored_order(skeleton: Skeleton) -> list[int]:
    """Which joint each joint is in a mirror."""
    order = list(range(len(skeleton)))
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        order[left], order[right] = right, left
    return order


def in_image(poses: np.ndarray, boxes: np.ndarray, patch: Patch) -> np.ndarray:
    """Poses (n, joints, 3) in patch pixels as image pixels and depth (n, joints, 3): mm, or px of a patch in pixels."""
    deep = boxes[:, 2] if patch.depth_mm is None else np.full(len(boxes), patch.depth_mm)
    depths = poses[..., 2:] / patch.width * deep[:, None, None]
    return np.concatenate([moved(poses[..., :2], patch_to_image(boxes, patch)), depths], axis=2)


def in_camera(poses: np.ndarray, focal: np.ndarray, principal: np.ndarray, root_depths: np.ndarray) -> np.ndarray:
    """Poses (n, joints, 3) of pixels and depth behind the root, mm, as camera-frame points (n, joints, 3), mm.

    `focal` and `principal` (n, 2), px, of an ideal lens; `root_depths` (n,), mm: the true ones, so what is scored is
    the pose relative to its root, of known size.
    """
    depths = poses[..., 2:] + root_depths[:, None, None]
    return np.concatenate([(poses[..., :2] - principal[:, None]) / focal[:, None] * depths, depths], axis=2)
