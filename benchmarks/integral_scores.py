"""The 16 figures that integral-human-pose prints, for Human3.6M and for the ECCV 2018 challenge; mm, a value a pose.

`evaluator` scores the same predictions under the protocols `integral` and `challenge-2018`; these are the program's own
groups of joints and axes beside it. Facts from github.com/JimmySuen/integral-human-pose.
"""

from __future__ import annotations

import numpy as np

from h36m_toolbox.benchmarks.pose_blocks import as_block, centred, fitted, lengths, moved
from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18

_GROUPS = {
    "root": ("Hip",),
    "Hip": ("RHip", "LHip"),
    "Knee": ("RKnee", "LKnee"),
    "Ankle": ("RFoot", "LFoot"),
    "Torso": ("Spine",),
    "Neck": ("Thorax",),
    "Nose": ("Neck/Nose",),
    "Head": ("Head",),
    "Shoulder": ("LShoulder", "RShoulder"),
    "Elbow": ("LElbow", "RElbow"),
    "Wrist": ("LWrist", "RWrist"),
    "17j": H36M_17.joints,  # the root's error of 0 is one of the 17
}
FIGURES = tuple(f"hm36_{name}" for name in (*_GROUPS, "17j_align", "17j_x", "17j_y", "17j_z"))


def integral_scores(predicted: np.ndarray, target: np.ndarray, challenge: bool = False) -> dict[str, np.ndarray]:
    """FIGURES (n,) of poses (n, 18, 3), mm, joints of INTEGRAL_18.

    The root is subtracted from both, `challenge`: from the predicted ones only. `hm36_17j_align` is after a rigid fit
    on all 18 joints, re-rooted afterwards unless `challenge`. Raises H36MError for other shapes and for poses that no
    rotation fits.
    """
    if predicted.shape != target.shape or predicted.shape[1:] != (len(INTEGRAL_18), 3) or not len(predicted):
        raise H36MError(
            f"predicted poses {predicted.shape} and true ones {target.shape}; expected (n, {len(INTEGRAL_18)}, 3) twice"
        )
    found, true = as_block(predicted), as_block(target)
    left = found - found[:, :1] - (true if challenge else true - true[:, :1])
    errors = lengths(left)
    places = {name: INTEGRAL_18.indices(joints) for name, joints in _GROUPS.items()}
    scores = {f"hm36_{name}": errors[group].mean(axis=0) for name, group in places.items()}
    scores["hm36_17j_align"] = _aligned(found, true, challenge)[places["17j"]].mean(axis=0)
    for axis, differences in zip("xyz", np.abs(left[:, places["17j"]]), strict=True):
        scores[f"hm36_17j_{axis}"] = differences.mean(axis=0)
    return scores


def _aligned(found: np.ndarray, true: np.ndarray, challenge: bool) -> np.ndarray:
    source, goal = centred(found), centred(true)
    wrong = ~(source.alignable & goal.alignable)
    if wrong.any():
        raise H36MError(
            f"pose {int(wrong.argmax())} (from 0), or its truth, has all joints in one point or a number that is not "
            f"finite, so it cannot be aligned; {wrong.sum()} such poses"
        )
    left = moved(source.block, fitted(source, goal).rotation) - goal.block
    return lengths(left if challenge else left - left[:, :1])
