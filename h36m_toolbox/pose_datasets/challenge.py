"""CHALL_H80K, the ECCV 2018 challenge: `{Train,Val,Test}/IMG/00001.jpg` and, but for Test, `POSE/00001.csv`.

A csv has 17 rows x,y,z, mm, camera axes, relative to the root; no camera comes with it. Boxes and the places of joints
in the image come from somebody's 2D joints, the authors' own were not published. Facts from
github.com/JimmySuen/integral-human-pose.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.people import People, summed_bone_lengths, with_shoulder_centre
from h36m_toolbox.pose_datasets.person_boxes import DETECTION_MARGIN, corner_boxes, tight_boxes
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18
from h36m_toolbox.storage.safe_pickle import read_plain_pickle

SETS = ("Train", "Val", "Test")
# Means of `summed_bone_lengths` over the poses of a set, mm; the last scales every prediction.
BONE_LENGTHS_MM = {"Train": 4522.828, "Val": 4465.869, "TrainVal": 4502.881}
_WHOLE_IMAGE = (500.0, 500.0, 1000.0)  # centre and height of the fixed box


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Keypoints:
    """2D joints that some network saw: (n, 18, 2), px, INTEGRAL_18, and which of them it saw (n, 18), 0 or 1."""

    points: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True, eq=False)
class Similarity:
    """Takes the x and y of a pose, mm, into its image: scale * xy @ rotation + shift."""

    scale: np.ndarray  # (n,), px a mm
    rotation: np.ndarray  # (n, 2, 2), no reflection
    shift: np.ndarray  # (n, 2), px

    def placed(self, poses: np.ndarray) -> np.ndarray:
        """Poses (n, joints, 3), mm, as pixels: x and y moved, z scaled."""
        flat = self.scale[:, None, None] * (poses[..., :2] @ self.rotation) + self.shift[:, None]
        return np.concatenate([flat, self.scale[:, None, None] * poses[..., 2:]], axis=2)


def challenge_images(root: Path, part: str) -> tuple[Path, ...]:
    """The images of a set in the order of their numbers.

    Raises H36MError where there are none or a number from 1 on is missing: the official program counts the files and
    makes their names up.
    """
    return _numbered(root, part, "IMG", "jpg")


def read_challenge_poses(root: Path, part: str) -> np.ndarray:
    """The poses (n, 18, 3) of Train or Val, mm, as they are written, the shoulders' centre appended.

    Raises H36MError as `challenge_images`, and for a file without 17 rows of 3 finite numbers.
    """
    paths = _numbered(root, part, "POSE", "csv")
    poses = np.empty((len(paths), len(H36M_17), 3))
    for place, path in enumerate(paths):
        poses[place] = _pose(path)
    return with_shoulder_centre(poses)


def posed_images(root: Path, part: str) -> tuple[tuple[Path, ...], np.ndarray]:
    """The images of Train or Val and their poses (n, 18, 3), mm; H36MError also where there are not as many of both."""
    images, poses = challenge_images(root, part), read_challenge_poses(root, part)
    if len(images) != len(poses):
        raise H36MError(f"{root / part}: {len(images)} images and {len(poses)} poses; unpack the archive again")
    return images, poses


def read_keypoints(path: Path, people: int) -> Keypoints:
    """The official `*_img_res.pkl`: a list of {kpts (18, 3), vis (18, 1 or more)}; read without running anything.

    Raises H36MError for another file, or one of another number of people.
    """
    entries = read_plain_pickle(path)
    try:
        found = np.stack([np.asarray(entry["kpts"], np.float64)[:, :2] for entry in entries])
        visible = np.stack([np.asarray(entry["vis"], np.float64)[:, 0] for entry in entries])
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise H36MError(
            f"{path}: no list of 2D joints ({type(error).__name__}: {error}); expected a dict with kpts (18, 3) and "
            "vis (18, 1 or more) for each image"
        ) from error
    if found.shape != (people, len(INTEGRAL_18), 2) or visible.shape != found.shape[:2]:
        raise H36MError(
            f"{path}: 2D joints {found.shape} and visibilities {visible.shape}; expected {people} people of "
            f"{len(INTEGRAL_18)} joints"
        )
    return Keypoints(found, (visible > 0).astype(np.float64))


def fitted_similarity(poses: np.ndarray, keypoints: Keypoints) -> Similarity:
    """Scale, rotation and shift that take the x and y of poses (n, 18, 3) closest to the joints that were seen."""
    fits = [
        _fit(pose[seen > 0, :2], points[seen > 0])
        for pose, points, seen in zip(poses, keypoints.points, keypoints.visible, strict=True)
    ]
    return Similarity(*(np.stack(values) for values in zip(*fits, strict=True)))


def posed_people(images: tuple[Path, ...], poses: np.ndarray, similarity: Similarity, aspect: float) -> People:
    """People of Train or Val with boxes around the *true* pose where it was placed; depths are pixels."""
    joints = similarity.placed(poses)
    boxes = tight_boxes(joints[..., :2], np.ones(joints.shape[:2]), aspect)
    return People(images, boxes, joints, np.ones_like(joints))


def seen_people(images: tuple[Path, ...], keypoints: Keypoints, aspect: float) -> People:
    """People of Test: boxes around the joints that were seen, and nothing to learn."""
    boxes = tight_boxes(keypoints.points, keypoints.visible, aspect)
    return _without_joints(images, boxes)


def detected_people(images: tuple[Path, ...], corners: np.ndarray, aspect: float) -> People:
    """People of any set with a detector's boxes left, top, right, bottom (n, 4), px, shaped, times 1.1."""
    return _without_joints(images, corner_boxes(corners, aspect, DETECTION_MARGIN))


def whole_images(images: tuple[Path, ...], aspect: float) -> People:
    """People of any set with the same fixed box: the whole image, 1000 px high."""
    x, y, height = _WHOLE_IMAGE
    return _without_joints(images, np.tile([x, y, height * aspect, height], (len(images), 1)))


def scaled_to_bones(poses: np.ndarray, bones_mm: float = BONE_LENGTHS_MM["TrainVal"]) -> np.ndarray:
    """Poses (n, 18, 3) of any unit relative to their root, scaled so that their bones sum up to `bones_mm`: in mm.

    What the challenge scores of a patch, without camera, rotation or perspective.
    """
    relative = poses - poses[:, :1]
    return relative * (bones_mm / summed_bone_lengths(relative))[:, None, None]


def _without_joints(images: tuple[Path, ...], boxes: np.ndarray) -> People:
    nothing = np.zeros((len(images), len(INTEGRAL_18), 3))
    return People(images, boxes, nothing, nothing)


def _fit(source: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Procrustes in the plane (Umeyama 1991): source * scale @ rotation + shift is closest to goal."""
    source_mean, goal_mean = source.mean(axis=0), goal.mean(axis=0)
    centered, wanted = source - source_mean, goal - goal_mean
    u, strengths, vt = np.linalg.svd(centered.T @ wanted)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])  # a rotation, never a reflection
    rotation = (u * signs) @ vt
    scale = (strengths * signs).sum() / np.square(centered).sum()
    return np.asarray(scale), rotation, goal_mean - scale * source_mean @ rotation


def _pose(path: Path) -> np.ndarray:
    try:
        rows = [[float(number) for number in line.split(",")] for line in path.read_text().splitlines() if line.strip()]
        pose = np.array(rows, np.float64)
    except (OSError, ValueError) as error:  # ValueError: no numbers, no text, rows of different lengths
        raise H36MError(f"{path}: no csv of numbers ({error}); unpack the challenge's archive again") from error
    if pose.shape != (len(H36M_17), 3) or not np.isfinite(pose).all():
        raise H36MError(f"{path}: numbers of shape {pose.shape}; expected 17 rows of 3; unpack the archive again")
    return pose


def _numbered(root: Path, part: str, folder: str, ending: str) -> tuple[Path, ...]:
    if part not in SETS:
        raise H36MError(f"no set {part} in CHALL_H80K; there are {', '.join(SETS)}")
    place = root / part / folder
    names = {entry.name for entry in os.scandir(place)} if place.is_dir() else set()
    count = sum(name.endswith(f".{ending}") for name in names)
    wanted = [f"{number:05d}.{ending}" for number in range(1, count + 1)]
    missing = [name for name in wanted if name not in names]
    if not count or missing:
        what = f"{count} files, but no {missing[0]}" if missing else "no files"
        raise H36MError(
            f"{place}: {what}; expected 00001.{ending} and so on without a gap: unpack CHALL_H80K there again"
        )
    return tuple(place / name for name in wanted)
