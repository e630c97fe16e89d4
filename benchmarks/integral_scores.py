"""The 16 figures that integral-human-pose prints, for Human3.6M and for the ECCV 2018 challenge; mm, a value a pose.

`evaluator` scores the same predictions under the protocols `integral` and `challenge-2018`; these are the program's own
groups of joints and axes beside it. Facts from github.com/JimmySuen/integral-human-pose.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

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
JOINT_FIGURES = ("error", "error_align", "error_x", "error_y", "error_z")
FIGURES = tuple(f"hm36_{name}" for name in (*_GROUPS, "17j_align", "17j_x", "17j_y", "17j_z"))


def integral_scores(predicted: np.ndarray, target: np.ndarray, challenge: bool = False) -> dict[str, np.ndarray]:
    """FIGURES (n,) of poses (n, 18, 3), mm, joints of INTEGRAL_18.

    The root is subtracted from both, `challenge`: from the predicted ones only. `hm36_17j_align` is after a rigid fit
    on all 18 joints, re-rooted afterwards unless `challenge`. Raises H36MError for other shapes and for poses that no
    rotation fits.
    """
    errors = integral_joint_errors(predicted, target, challenge)
    places = {name: INTEGRAL_18.indices(joints) for name, joints in _GROUPS.items()}
    scores = {f"hm36_{name}": errors["error"][:, group].mean(axis=1) for name, group in places.items()}
    for kind in ("align", "x", "y", "z"):
        scores[f"hm36_17j_{kind}"] = errors[f"error_{kind}"][:, places["17j"]].mean(axis=1)
    return scores


def integral_joint_errors(predicted: np.ndarray, target: np.ndarray, challenge: bool = False) -> dict[str, np.ndarray]:
    """JOINT_FIGURES (n, 18): distances, those after the fit, and absolute differences along x, y and z; else as above.

    The program's groups of joints are means of them.
    """
    if predicted.shape != target.shape or predicted.shape[1:] != (len(INTEGRAL_18), 3) or not len(predicted):
        raise H36MError(
            f"predicted poses {predicted.shape} and true ones {target.shape}; expected (n, {len(INTEGRAL_18)}, 3) twice"
        )
    found, true = as_block(predicted), as_block(target)
    left = found - found[:, :1] - (true if challenge else true - true[:, :1])
    kinds = (lengths(left), _aligned(found, true, challenge), *np.abs(left))
    return {name: values.T for name, values in zip(JOINT_FIGURES, kinds, strict=True)}


def per_action_csv(scores: dict[str, np.ndarray], actions: np.ndarray) -> str:
    """FIGURES' means over the frames of each action, as officially over a set `act00` and so on; the last line is all.

    `actions` (n,) names each pose's; lines are in the order of the names.
    """
    names = [*np.unique(actions), "all"]
    chosen = [np.ones(len(actions), bool) if name == "all" else actions == name for name in names]
    lines = [
        (name, int(rows.sum()), *(repr(float(scores[figure][rows].mean())) for figure in FIGURES))
        for name, rows in zip(names, chosen, strict=True)
    ]
    return _csv(("action", "frames", *FIGURES), lines)


def per_joint_csv(errors: dict[str, np.ndarray]) -> str:
    """JOINT_FIGURES' means over all frames, a line for each joint of INTEGRAL_18."""
    means = [errors[figure].mean(axis=0) for figure in JOINT_FIGURES]
    lines = [(joint, *(repr(float(mean[place])) for mean in means)) for place, joint in enumerate(INTEGRAL_18.joints)]
    return _csv(("joint", *JOINT_FIGURES), lines)


def _csv(head: tuple[str, ...], lines: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *lines])
    return text.getvalue()


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
