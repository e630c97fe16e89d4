"""Human3.6M as integral regression sees it: ideal lenses, the joint between the shoulders, a box from the true pelvis.

From DATA's label table, or from the `matlab_meta.txt` trees of github.com/JimmySuen/integral-human-pose, whose facts
these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.integral import META_NAME, read_integral_meta
from h36m_toolbox.pose_datasets.people import People, with_shoulder_centre
from h36m_toolbox.pose_datasets.person_boxes import tight_boxes, window_boxes
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, TEST_SUBJECTS, TRAIN_SUBJECTS, Sequence

WINDOW_MM = np.array([2000.0, 2000.0])


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class FilmedPoses:
    """Poses of people in front of cameras. `image` are pixels of an ideal lens and depth behind the root, mm."""

    camera: np.ndarray  # (n, 18, 3), camera frame, mm
    image: np.ndarray  # (n, 18, 3), px, px, mm
    focal: np.ndarray  # (n, 2), px
    principal: np.ndarray  # (n, 2), px

    @property
    def roots(self) -> np.ndarray:
        """True pelvises (n, 3), camera frame, mm."""
        return self.camera[:, 0]

    def window_boxes(self, window_mm: np.ndarray = WINDOW_MM) -> np.ndarray:
        """The boxes (n, 4) of the program for Human3.6M: a window around the true pelvis, slightly off square."""
        return window_boxes(self.roots, self.focal, self.principal, window_mm)

    def tight_boxes(self, aspect: float) -> np.ndarray:
        """The boxes (n, 4) of the program for the challenge: around the 18 joints, of an aspect, times 1.25."""
        return tight_boxes(self.image[..., :2], np.ones(self.image.shape[:2]), aspect)

    def of(self, rows: np.ndarray) -> FilmedPoses:
        """Those in some rows (m,)."""
        return FilmedPoses(self.camera[rows], self.image[rows], self.focal[rows], self.principal[rows])

    def people(self, images: tuple[Path, ...], boxes: np.ndarray) -> People:
        """These poses in their images; every joint counts, and depths are mm."""
        return People(images, boxes, self.image, np.ones_like(self.image))


def filmed_poses(poses: np.ndarray, camera: Camera) -> FilmedPoses:
    """Camera-frame poses (n, 17, 3), mm, joints of H36M_17, as a camera shows them without its lens distortion."""
    full = with_shoulder_centre(np.asarray(poses, np.float64))
    depths = full[..., 2:] - full[:, :1, 2:]
    image = np.concatenate([camera.project_linear(full), depths], axis=2)
    focal, principal = (np.broadcast_to(values, (len(full), 2)) for values in (camera.focal, camera.principal))
    return FilmedPoses(full, image, focal, principal)


def joined_poses(parts: list[FilmedPoses]) -> FilmedPoses:
    """Several cameras' poses in a row."""
    return FilmedPoses(
        np.concatenate([part.camera for part in parts]),
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.focal for part in parts]),
        np.concatenate([part.principal for part in parts]),
    )


def read_meta_folder(root: Path, folder: str) -> tuple[tuple[Path, ...], FilmedPoses]:
    """The images and poses of one `annot/<folder>/matlab_meta.txt` below the official tree's root.

    Raises H36MError as `read_integral_meta`.
    """
    meta = read_integral_meta(root / "annot" / folder / META_NAME)
    poses = meta.camera.world_to_camera(meta.world[:, meta.joints])
    images = tuple(root / "images" / folder / f"{folder}_{number:06d}.jpg" for number in range(1, len(poses) + 1))
    return images, filmed_poses(poses, meta.camera)


@dataclass(frozen=True)
class ImageSet:
    """One of the official lists: which views, and how many frames of each; `drawn` 0 takes every `step`-th."""

    views: tuple[Sequence, ...]
    drawn: int
    step: int

    def frames(self, count: int, rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
        """Which of a view's frames (from 0) are in the set; without replacement where they are drawn.

        The authors drew from an unseeded generator, so their lists exist only in their caches. Raises H36MError where
        a view has fewer frames than are drawn.
        """
        if not self.drawn:
            return np.arange(0, count, self.step)
        if count < self.drawn:
            raise H36MError(f"a view has {count} frames, the set draws {self.drawn}; extract all frames")
        return rng.choice(count, self.drawn, replace=False)


_DRAWN = {"train": 200, "valid": 40, "validmin": 10}
_STEPS = {"full": 1, "sample2": 2, "sample10": 10}
_DRAWN_OF_AN_ACTION = 40


def image_set(name: str) -> ImageSet:
    """An official set: train, valid, validmin, trainfull, validsample10, ..., act00 to act14; H36MError for others."""
    for start, subjects in (("train", TRAIN_SUBJECTS), ("valid", TEST_SUBJECTS)):
        if name in _DRAWN and name.startswith(start):
            return ImageSet(_views(subjects, ACTIONS), _DRAWN[name], 1)
        if name.removeprefix(start) in _STEPS and name.startswith(start):
            return ImageSet(_views(subjects, ACTIONS), 0, _STEPS[name.removeprefix(start)])
    actions = {f"act{number:02d}": action for number, action in enumerate(ACTIONS)}
    if name in actions:
        return ImageSet(_views(TEST_SUBJECTS, (actions[name],)), _DRAWN_OF_AN_ACTION, 1)
    known = (*_DRAWN, *(f"{start}{end}" for start in ("train", "valid") for end in _STEPS), *actions)
    raise H36MError(f"no image set {name}; there are {', '.join(known)}")


def _views(subjects: tuple[str, ...], actions: tuple[str, ...]) -> tuple[Sequence, ...]:
    return tuple(
        Sequence(subject, action, subaction, camera)
        for subject in subjects
        for action in actions
        for subaction in SUBACTIONS
        for camera in CAMERA_IDS
    )
