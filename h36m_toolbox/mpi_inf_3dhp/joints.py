"""Poses between Human3.6M's 17 joints and the 17 that MPI-INF-3DHP evaluates, by `MPI_INF_3DHP_OF_H36M`."""

from __future__ import annotations

import numpy as np

from h36m_toolbox.skeletons import H36M_17, MPI_INF_3DHP_17, MPI_INF_3DHP_OF_H36M

_H36M_OF_3DHP = {theirs: ours for ours, theirs in MPI_INF_3DHP_OF_H36M.items()}
# Joints that are other points of the body in the two data sets; some papers leave them out.
DIFFERENT_POINTS = ("Spine", "Thorax", "Neck/Nose", "Head")


def as_h36m_17(poses: np.ndarray) -> np.ndarray:
    """Poses (..., 17, dims) in the order of MPI-INF-3DHP's evaluation, in Human3.6M's order: input for its lifters."""
    return MPI_INF_3DHP_17.select(poses, tuple(MPI_INF_3DHP_OF_H36M[joint] for joint in H36M_17.joints))


def from_h36m_17(poses: np.ndarray) -> np.ndarray:
    """Poses (..., 17, dims) in Human3.6M's order, in the order of MPI-INF-3DHP's evaluation: predictions to score."""
    return H36M_17.select(poses, tuple(_H36M_OF_3DHP[joint] for joint in MPI_INF_3DHP_17.joints))
