"""Poses between Human3.6M's joints and the 17 that MPI-INF-3DHP evaluates, by `MPI_INF_3DHP_OF_H36M`."""

from __future__ import annotations

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import H36M_17, MPI_INF_3DHP_17, MPI_INF_3DHP_OF_H36M, Skeleton

_H36M_OF_3DHP = {theirs: ours for ours, theirs in MPI_INF_3DHP_OF_H36M.items()}
# Joints that are other points of the body in the two data sets; some papers leave them out.
DIFFERENT_POINTS = ("Spine", "Thorax", "Neck/Nose", "Head")
# A model without Neck/Nose, as of 16 joints, has its "head" halfway between these; PCK and AUC do not look at it.
HEAD_BETWEEN = ("Thorax", "Head")


def as_h36m_17(poses: np.ndarray) -> np.ndarray:
    """Poses (..., 17, dims) in the order of MPI-INF-3DHP's evaluation, in Human3.6M's order: input for its lifters."""
    return MPI_INF_3DHP_17.select(poses, tuple(MPI_INF_3DHP_OF_H36M[joint] for joint in H36M_17.joints))


def from_h36m(poses: np.ndarray, skeleton: Skeleton = H36M_17) -> np.ndarray:
    """Poses (..., joints, dims) of a skeleton of Human3.6M in the order of MPI-INF-3DHP's evaluation, to be scored.

    Raises H36MError for a skeleton that lacks one of its joints other than Neck/Nose, which is put `HEAD_BETWEEN`.
    """
    lacking = [joint for joint in _H36M_OF_3DHP.values() if joint not in (*skeleton.joints, "Neck/Nose")]
    if lacking:
        raise H36MError(f"{skeleton.name} has no {', '.join(lacking)}, which MPI-INF-3DHP's evaluation scores")
    if "Neck/Nose" not in skeleton.joints:
        ends = skeleton.select(poses, HEAD_BETWEEN)
        poses = np.concatenate([poses, ends.mean(axis=-2, keepdims=True, dtype=poses.dtype)], axis=-2)
    joints = (*skeleton.joints, "Neck/Nose")
    return poses[..., [joints.index(_H36M_OF_3DHP[joint]) for joint in MPI_INF_3DHP_17.joints], :]


def described_mapping(skeleton: Skeleton) -> dict[str, str]:
    """Which joint of a model stands for each that MPI-INF-3DHP evaluates, in words."""
    between = f"halfway between {' and '.join(HEAD_BETWEEN)}"
    return {
        joint: _H36M_OF_3DHP[joint] if _H36M_OF_3DHP[joint] in skeleton.joints else between
        for joint in MPI_INF_3DHP_17.joints
    }
