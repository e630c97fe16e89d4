"""People in images: the record that every data set is read into, and the joint conventions of 2D data sets.

Joints are those of `skeletons.INTEGRAL_18`. Joint tables: facts from github.com/JimmySuen/integral-human-pose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import INTEGRAL_18, SH_16, Skeleton

# MPII's own names: its thorax lies between the shoulders, its upper neck is where Human3.6M has the thorax.
MPII_16 = replace(
    SH_16,
    name="mpii-16",
    joints=tuple("ShoulderCentre" if joint == "Spine" else joint for joint in SH_16.joints),
)

_COCO_LIMBS = ("Eye", "Ear", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Foot")
COCO_17 = Skeleton(
    name="coco-17",
    joints=("Neck/Nose", *(f"{side}{limb}" for limb in _COCO_LIMBS for side in "LR")),
    parents=(-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    mirror_pairs=tuple((f"L{limb}", f"R{limb}") for limb in _COCO_LIMBS),
)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class People:
    """People of one data set, each with an image, a box and joints; a joint counts by its weights.

    x and y of a joint are image pixels. z is 0 where only 2D is known; else its depth behind the root, in mm of the
    scene or in image pixels, as the reader of the data set says.
    """

    images: tuple[Path, ...]
    boxes: np.ndarray  # (people, 4), centre x, centre y, width, height, px
    joints: np.ndarray  # (people, 18, 3)
    weights: np.ndarray  # (people, 18, 3), 0 or 1

    def __len__(self) -> int:
        return len(self.images)


def read_image(path: Path) -> np.ndarray:
    """An image (height, width, 3) uint8, red green blue, however its camera was held; H36MError where it is none."""
    return np.ascontiguousarray(read_bgr(path)[..., ::-1])


def read_bgr(path: Path) -> np.ndarray:
    """As `read_image`, blue green red: for who turns the few pixels that are cut out rather than all."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise H36MError(f"{path}: {'cannot be read as' if path.is_file() else 'no such'} image; get it again")
    return image


def converted(joints: np.ndarray, weights: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Joints and weights (..., joints, dims) of a skeleton as those of INTEGRAL_18: by name, 0 where it has none."""
    taken = [joint for joint in INTEGRAL_18.joints if joint in skeleton.joints]
    places, sources = INTEGRAL_18.indices(tuple(taken)), skeleton.indices(tuple(taken))
    found = []
    for values in (joints, weights):
        target = np.zeros((*values.shape[:-2], len(INTEGRAL_18), values.shape[-1]))
        target[..., places, :] = values[..., sources, :]
        found.append(target)
    return found[0], found[1]


def with_shoulder_centre(poses: np.ndarray) -> np.ndarray:
    """Poses (..., 17, dims) of H36M_17 as INTEGRAL_18: the mean of the shoulders is appended."""
    shoulders = INTEGRAL_18.indices(("LShoulder", "RShoulder"))
    return np.concatenate([poses, poses[..., shoulders, :].mean(axis=-2, keepdims=True)], axis=-2)


def summed_bone_lengths(poses: np.ndarray, skeleton: Skeleton = INTEGRAL_18) -> np.ndarray:
    """The sum of all bones of poses (..., joints, 3): (...,), in their unit."""
    parents, children = np.array(skeleton.bones).T
    return np.linalg.norm(poses[..., children, :] - poses[..., parents, :], axis=-1).sum(axis=-1)
