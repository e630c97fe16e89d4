"""The ECCV 2018 challenge's submission: `Test_Prediction.JSON`, and the csv files of one pose each.

Facts from github.com/JimmySuen/integral-human-pose: a list of {"image_id": number from 1, "keypoints": [51 numbers]},
17 joints of H36M_17, mm, relative to the root; csv files have 17 rows x,y,z with two decimals.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.files import folder_written_whole, written_whole

NAME = "Test_Prediction.JSON"
_PLAUSIBLE_MM = 3000.0  # no joint is farther from the root, and units other than mm are told by it
_LEAST_MM = 100.0
_JOINTS = len(H36M_17)


def write_submission(path: Path, poses: np.ndarray) -> None:
    """Write poses (images, 17, 3), mm, relative to the root, in the order of the images' numbers.

    Whole or not at all. Raises H36MError, as `read_submission` on reading, for poses that cannot be meant.
    """
    _check(path, poses)
    entries = [
        {"image_id": number, "keypoints": [pose.reshape(-1).tolist()]} for number, pose in enumerate(poses, start=1)
    ]
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(entries), encoding="ascii")


def read_submission(path: Path, images: int | None = None) -> np.ndarray:
    """The poses (images, 17, 3), mm, of a submission, checked for form.

    Raises H36MError for an entry of another form, numbers that do not run from 1, fewer or more entries than `images`,
    a root that is not at 0 and numbers that are no millimetres.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        numbers = [entry["image_id"] for entry in entries]
        poses = np.array([entry["keypoints"] for entry in entries], np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise H36MError(
            f'{path}: no submission ({error}); expected a list of {{"image_id": 1, "keypoints": [[51 numbers]]}}'
        ) from error
    if numbers != list(range(1, len(numbers) + 1)):
        raise H36MError(f"{path}: the image numbers do not run from 1 to {len(numbers)}; write one entry an image")
    if poses.shape[1:] != (1, 3 * _JOINTS):
        raise H36MError(f"{path}: keypoints of shape {poses.shape[1:]}; expected (1, {3 * _JOINTS}) for each image")
    if images is not None and len(poses) != images:
        raise H36MError(f"{path}: {len(poses)} entries for {images} images; write one entry an image")
    poses = poses.reshape(-1, _JOINTS, 3)
    _check(path, poses)
    return poses


def write_pose_csvs(folder: Path, poses: np.ndarray) -> None:
    """Write poses (images, 17, 3), mm, as `00001.csv` and so on, in the form of the challenge's own `POSE` folders."""
    _check(folder, poses)
    with folder_written_whole(folder) as temporary:
        for number, pose in enumerate(poses, start=1):
            lines = "".join(",".join(f"{value:.2f}" for value in joint) + "\n" for joint in pose)
            (temporary / f"{number:05d}.csv").write_text(lines, encoding="ascii", newline="\n")


def _check(path: Path, poses: np.ndarray) -> None:
    if poses.ndim != 3 or poses.shape[1:] != (_JOINTS, 3) or not len(poses):
        raise H36MError(f"{path}: poses of shape {poses.shape}; expected (images, {_JOINTS}, 3) and at least one")
    size = np.abs(poses).max(axis=(1, 2))
    for wrong, what in (
        (~np.isfinite(poses).all(axis=(1, 2)), "has numbers that are not finite"),
        (np.abs(poses[:, 0]).max(axis=1) > 1e-6, "has its root not at 0"),
        (size < _LEAST_MM, f"is smaller than {_LEAST_MM:g} mm: metres?"),
        (size > _PLAUSIBLE_MM, f"is larger than {_PLAUSIBLE_MM:g} mm: pixels or a camera frame?"),
    ):
        if wrong.any():
            raise H36MError(f"{path}: the pose of image {int(wrong.argmax()) + 1} {what}; {wrong.sum()} such poses")
