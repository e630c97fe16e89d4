"""Whether foreign poses are what they are said to be: as large as a person, and nearest to the labels as they stand.

A wrong unit, joint order, axis or frame order gives a number like any other, so it is refused before it is scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.foreign.world_views import turned_to_world, world_to_views
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import pose_array, pose_field, row_keys
from h36m_toolbox.skeletons import H36M_17, SKELETONS, Skeleton

# Root mean square distance of the joints from their middle, mm: sitting down gives 330, standing with arms up 560.
PERSON_SPREAD_MM = (150.0, 1500.0)
ROOT_AT_ORIGIN_MM = 300.0  # nobody stands that near to a camera, and no world has its origin in a pelvis
TRAJECTORY_MM = 1500.0  # further than any joint is from another, nearer than anybody to a camera
_INSISTING = "; --as-stated scores them all the same"
_SAMPLE = 2000
_ENOUGH = 50  # poses from which the order of frames can be judged
_AXES = {
    "x mirrored": (-1, 1, 1),
    "y pointing up instead of down": (1, -1, 1),
    "y up and z towards the viewer (OpenGL)": (1, -1, -1),
}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Sample:
    """Some poses in the camera frame and their labels, all (n, joints, 3), mm; `poses` keep every joint of the file."""

    keys: np.ndarray
    poses: np.ndarray
    targets: np.ndarray  # joints of H36M_17


def spread(poses: np.ndarray) -> float:
    """The median over poses (n, joints, 3) of the joints' root mean square distance from their middle."""
    centred = poses - poses.mean(axis=1, keepdims=True)
    return float(np.median(np.sqrt((centred**2).sum(axis=2).mean(axis=1))))


def check_unit(path: Path, poses: np.ndarray, unit: str) -> None:
    """An H36MError where poses in a unit, "mm" or "m", are not as large as a person."""
    low, high = PERSON_SPREAD_MM
    found = spread(poses)
    fitting = [name for name, scale in (("mm", 1), ("m", 1000)) if low <= found * scale <= high]
    if unit in fitting:
        return
    advice = f"they are {fitting[0]}: say --unit {fitting[0]}" if fitting else f"they are neither mm nor m{_INSISTING}"
    raise H36MError(
        f"{path}: joints lie {found:.4g} {unit} from their middle (root mean square, median pose), a person's about "
        f"0.5 m or 500 mm; {advice}"
    )


def root_of(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The pelvis (n, 3) of poses: Hip, or the middle of the hips where a convention has none."""
    hips = ("Hip",) if "Hip" in skeleton.joints else ("RHip", "LHip")
    return skeleton.select(poses, hips).mean(axis=1)


def judged_root(path: Path, poses: np.ndarray, skeleton: Skeleton, stated: str) -> str:
    """Whether poses, mm, are "relative" or "absolute"; an H36MError where `stated` ("" for unsaid) is the other."""
    distance = _median_distance(root_of(poses, skeleton))
    found = "relative" if distance < ROOT_AT_ORIGIN_MM else "absolute"
    if stated not in ("", found):
        raise H36MError(
            f"{path}: said to be {stated}, but the pelvis lies {distance:.0f} mm from the origin (median), as in "
            f"{found} poses; say --root {found}"
        )
    return found


def check_no_trajectory(path: Path, poses: np.ndarray) -> None:
    """An H36MError where the first joint is absolute, mm, and the others are relative to it."""
    first, others = _median_distance(poses[:, 0]), _median_distance(poses[:, 1:].mean(axis=1))
    if first > TRAJECTORY_MM and others < ROOT_AT_ORIGIN_MM * 2:
        raise H36MError(
            f"{path}: row 0 of the poses lies {first:.0f} mm from the origin, the other joints {others:.0f} mm: row "
            "0 holds the trajectory, as VideoPose3D's loader leaves it; set it to 0, or add it to the other joints"
        )


def _median_distance(points: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points, axis=1)))


def check_reading(path: Path, keys: np.ndarray, poses: np.ndarray, skeleton: Skeleton, labels: pa.Table) -> None:
    """An H36MError where another joint order, axis or frame order fits the labels far better than the stated one.

    `poses` (n, joints, 3), mm, camera frame; `labels` have `joints_3d_camera`. Compared are joints about their middle,
    so neither root nor position matters. Poses of frames without labels say nothing.
    """
    sample = _sample(keys, poses, labels)
    if sample is None:
        return
    stated = _error(sample.poses, skeleton, sample.targets)
    others = [(_error(other, order, sample.targets), advice) for other, order, advice in _readings(sample, skeleton)]
    best, advice = min(others, key=lambda other: other[0])
    if best < stated / 2:
        raise H36MError(
            f"{path}: {stated:.0f} mm from the labels (mean, poses about their middle) as {skeleton.name}, camera "
            f"frame, but {best:.0f} mm read with {advice}{_INSISTING}"
        )
    _check_frame_order(path, sample, skeleton, stated)


def _sample(keys: np.ndarray, poses: np.ndarray, labels: pa.Table) -> _Sample | None:
    label_keys = row_keys(labels)
    order = np.argsort(label_keys, kind="stable")
    place = np.minimum(np.searchsorted(label_keys[order], keys), len(order) - 1)
    rows = order[place]
    there = np.flatnonzero(label_keys[rows] == keys)
    if not len(there):
        return None
    there = there[np.linspace(0, len(there) - 1, min(len(there), _SAMPLE)).astype(int)]
    targets = pose_array(labels, "joints_3d_camera")[rows[there]].astype(np.float64)
    skeleton = pose_field(labels.schema, "joints_3d_camera").skeleton
    return _Sample(keys[there], poses[there].astype(np.float64), skeleton.select(targets, H36M_17.joints))


def _error(poses: np.ndarray, skeleton: Skeleton, targets: np.ndarray) -> float:
    """Mean distance of the joints that both have, about their middle, mm."""
    joints = tuple(joint for joint in skeleton.joints if joint in H36M_17.joints)
    p, t = skeleton.select(poses, joints), H36M_17.select(targets, joints)
    difference = (p - p.mean(axis=1, keepdims=True)) - (t - t.mean(axis=1, keepdims=True))
    return float(np.linalg.norm(difference, axis=2).mean())


def _readings(sample: _Sample, skeleton: Skeleton) -> Iterator[tuple[np.ndarray, Skeleton, str]]:
    """Other ways to read the poses, and what to do if one of them is right."""
    for other in SKELETONS.values():
        if len(other) == len(skeleton) and other is not skeleton:
            yield sample.poses, other, f"joints in another order; say --joints {other.name}"
    swapped = sample.poses.copy()
    swapped[:, [*skeleton.left, *skeleton.right]] = sample.poses[:, [*skeleton.right, *skeleton.left]]
    yield swapped, skeleton, "left and right joints exchanged; exchange them in the file"
    for words, signs in _AXES.items():
        yield sample.poses * signs, skeleton, f"{words}; turn the axes in the file to x right, y down, z forward"
    yield world_to_views(sample.keys, sample.poses, True), skeleton, "world axes; say --coordinates world"
    yield turned_to_world(sample.keys, sample.poses), skeleton, "camera axes; say --coordinates camera"


def _check_frame_order(path: Path, sample: _Sample, skeleton: Skeleton, stated: float) -> None:
    """Varied poses that fit any other frame as well as their own, and worse than their mean would, are misplaced."""
    if len(sample.poses) < _ENOUGH:
        return
    others = np.roll(sample.poses, len(sample.poses) // 2, axis=0)
    dealt = _error(others, skeleton, sample.targets)
    knows_nothing = stated > max(0.95 * dealt, _variety(sample.targets))
    if knows_nothing and _variety(sample.poses) > stated / 4:
        raise H36MError(
            f"{path}: {stated:.0f} mm from the labels (mean, poses about their middle), and {dealt:.0f} mm when dealt "
            "to other frames, so its rows are not of the frames they are said to be, or its joints in another order; "
            f"check the order of rows, subjects, cameras and joints, and that frames count from 0{_INSISTING}"
        )


def _variety(poses: np.ndarray) -> float:
    """Mean distance of the joints, about their middle, from the mean pose, mm."""
    centred = poses - poses.mean(axis=1, keepdims=True)
    return float(np.linalg.norm(centred - centred.mean(axis=0), axis=2).mean())
