"""Errors between 3D poses: pure functions (..., joints, 3) -> one value per pose, in the unit of the input.

Averaging is left to the caller. Formulas as in VideoPose3D (MPJPE, P-MPJPE, N-MPJPE, velocity), 3d-pose-baseline
(alignment with and without scale) and the MPI-INF-3DHP evaluation (PCK, AUC). The arithmetic is float64 whatever comes
in; results have the dtype of the inputs (float64 where either is float64 or integer). Poses are worked on in blocks,
so memory beyond inputs and result stays flat.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from h36m_toolbox.benchmarks.pose_blocks import (
    BLOCK,
    aligned_errors,
    as_block,
    best_scale,
    centred,
    fitted,
    lengths,
)
from h36m_toolbox.errors import H36MError

PCK_THRESHOLD_MM = 150.0
AUC_STEP_MM, AUC_STEPS = 5, 30
AUC_THRESHOLDS_MM = tuple(AUC_STEP_MM * step for step in range(AUC_STEPS + 1))  # 0, 5, ..., 150

Bones = tuple[tuple[int, int], ...]  # (parent, child) joint indices
_Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
_WORTH_A_THREAD = 8  # blocks


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Procrustes:
    """The best fit of predictions onto targets: aligned = scale * predicted @ rotation + translation."""

    rotation: np.ndarray  # (..., 3, 3), determinant +1
    scale: np.ndarray  # (...)
    translation: np.ndarray  # (..., 3), the input's unit

    def apply(self, poses: np.ndarray) -> np.ndarray:
        """Poses (..., joints, 3), such as the predictions, moved by the fit."""
        return self.scale[..., None, None] * (poses @ self.rotation) + self.translation[..., None, :]


def joint_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Euclidean distance of each joint: (..., joints, 3) twice -> (..., joints)."""
    return _by_blocks(lambda p, t: lengths(p - t), predicted, target)


def mpjpe(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean per-joint position error: (..., joints, 3) twice -> (...). Nothing is centred here."""
    return _by_blocks(lambda p, t: lengths(p - t).mean(axis=0), predicted, target)


def weighted_mpjpe(predicted: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the joints of weight times distance, not divided by the sum of the weights: -> (...).

    `weights` broadcast against (..., joints): (..., 1) weighs poses, (..., joints) weighs joints.
    """
    errors = joint_errors(predicted, target)
    return (errors * np.asarray(weights, errors.dtype)).mean(axis=-1)


def p_mpjpe(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """MPJPE after the best similarity (rotation, scale, translation) of each pose: -> (...).

    The fit minimises squared distances and the error is a mean of distances, so a pose's P-MPJPE can exceed its MPJPE.
    Raises H36MError for a pose without extent or with NaN, for which no fit exists.
    """
    return _aligned_mpjpe(predicted, target, with_scale=True)


def pa_mpjpe_rigid(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """MPJPE after the best rotation and translation of each pose, scale 1: -> (...). Raises as `p_mpjpe`."""
    return _aligned_mpjpe(predicted, target, with_scale=False)


def n_mpjpe(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """MPJPE after the best scaling of each pose about the origin: -> (...).

    Rhodin et al. 2018: scale = <predicted, target> / <predicted, predicted>; nothing is centred.
    Raises H36MError for a prediction that is zero throughout.
    """
    return _by_blocks(_scaled_errors, predicted, target)


def mpjve(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Velocity error of consecutive poses of one sequence: (..., frames, joints, 3) twice -> (..., frames - 1).

    The distance between first differences in time, mean over joints, per frame (not per second); Pavllo et al. 2019. A
    sequence of one frame has no velocity and gives an empty result.
    """
    return _difference_errors(predicted, target, 1, "velocity")


def acceleration_error(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distance between second differences in time, mean over joints: (..., frames, joints, 3) -> (..., frames - 2).

    Per frame squared (Kanazawa et al. 2019, "Learning 3D human dynamics from video"). Empty below three frames.
    """
    return _difference_errors(predicted, target, 2, "acceleration")


def pck(predicted: np.ndarray, target: np.ndarray, threshold_mm: float = PCK_THRESHOLD_MM) -> np.ndarray:
    """Percent of joints whose error is strictly below the threshold, mm: -> (...), 0 to 100. NaN counts as wrong."""
    return _by_blocks(lambda p, t: percent_within(lengths(p - t), threshold_mm), predicted, target)


def auc(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Area under the PCK curve as MPI-INF-3DHP defines it, from poses in mm: -> (...), 0 to 96.77.

    The mean of PCK over the 31 thresholds 0, 5, ..., 150 mm, no trapezoid rule. No distance is strictly below 0, so a
    perfect pose has 100 * 30 / 31.
    """
    return _by_blocks(lambda p, t: mean_of_curve(lengths(p - t)), predicted, target)


def auc_trapezoid(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Area under the PCK curve by the trapezoid rule over the same thresholds, divided by 150 mm: -> (...).

    A perfect pose has 98.33: the curve starts at PCK(0) = 0. Never compare with `auc`.
    """

    def measure(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        errors = lengths(p - t)
        return area_under_curve(mean_of_curve(errors), percent_within(errors, AUC_THRESHOLDS_MM[-1]))

    return _by_blocks(measure, predicted, target)


def bone_lengths(poses: np.ndarray, bones: Bones) -> np.ndarray:
    """Lengths of (parent, child) bones: (..., joints, 3) -> (..., bones)."""
    return _by_blocks(lambda p, _: block_bone_lengths(p, bones), poses, poses)


def bone_length_errors(predicted: np.ndarray, target: np.ndarray, bones: Bones) -> np.ndarray:
    """How much too long or too short each predicted bone is, absolute: (..., joints, 3) twice -> (..., bones)."""
    return np.abs(bone_lengths(predicted, bones) - bone_lengths(target, bones))


def symmetry_errors(predicted: np.ndarray, left: Bones, right: Bones) -> np.ndarray:
    """How much the lengths of mirrored bones differ within a prediction: (..., joints, 3) -> (..., pairs)."""
    return np.abs(bone_lengths(predicted, left) - bone_lengths(predicted, right))


def procrustes(predicted: np.ndarray, target: np.ndarray, scale: bool = True) -> Procrustes:
    """The rotation, scale and translation that bring each prediction closest to its target in squared distance.

    (..., joints, 3) twice. A mirrored prediction stays mirrored: the rotation never reflects (Umeyama 1991, eq. 43).
    With `scale=False` the scale is 1. Raises H36MError for a pose without extent or with NaN.
    """

    def fit_rows(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        source, goal = centred(p), centred(t)
        fit = fitted(source, goal)
        size = fit.scale if scale else np.ones_like(fit.scale)
        shift = goal.mean - size * np.einsum("an,abn->bn", source.mean, fit.rotation)
        return np.concatenate([fit.rotation.reshape(9, -1), size[None], shift])

    rows = _fit_by_blocks(fit_rows, predicted, target)
    return Procrustes(rows[..., :9].reshape((*rows.shape[:-1], 3, 3)), rows[..., 9], rows[..., 10:])


def procrustes_aligned(predicted: np.ndarray, target: np.ndarray, scale: bool = True) -> np.ndarray:
    """The predictions (..., joints, 3) moved onto their targets by `procrustes`; raises as it does."""
    predicted, target = _checked(predicted, target)
    return procrustes(predicted, target, scale).apply(predicted)


def alignable(poses: np.ndarray) -> np.ndarray:
    """Which poses (..., joints, 3) can be aligned: (...) bool, all numbers finite and the joints not in one point."""
    return _by_blocks(lambda p, _: centred(p).alignable, poses, poses).astype(bool)


def percent_within(errors: np.ndarray, threshold_mm: float) -> np.ndarray:
    """PCK of joint errors (joints, n): (n,)."""
    return 100 * (errors < threshold_mm).mean(axis=0)


def mean_of_curve(errors: np.ndarray) -> np.ndarray:
    """`auc` of joint errors (joints, n): (n,)."""
    return 100 * _thresholds_above(errors).mean(axis=0) / (AUC_STEPS + 1)


def area_under_curve(mean: np.ndarray, percent_at_end: np.ndarray) -> np.ndarray:
    """`auc_trapezoid` from `auc` and the PCK at the last threshold, which the trapezoid rule counts half."""
    return ((AUC_STEPS + 1) * mean - percent_at_end / 2) / AUC_STEPS


def block_bone_lengths(block: np.ndarray, bones: Bones) -> np.ndarray:
    """`bone_lengths` of a block (3, joints, n): (bones, n)."""
    parents, children = [parent for parent, _ in bones], [child for _, child in bones]
    return lengths(block[:, children] - block[:, parents])


def _thresholds_above(errors: np.ndarray) -> np.ndarray:
    """How many of AUC_THRESHOLDS_MM are strictly above each error; none is above NaN."""
    with np.errstate(invalid="ignore"):
        below = np.floor(errors / AUC_STEP_MM)
        below -= AUC_STEP_MM * below > errors  # where the division rounded up
        return np.fmax(AUC_STEPS - below, 0)  # of 0 and NaN this is 0


def _aligned_mpjpe(predicted: np.ndarray, target: np.ndarray, with_scale: bool) -> np.ndarray:
    def measure(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        source, goal = centred(p, in_place=True), centred(t, in_place=True)
        return aligned_errors(source, goal, fitted(source, goal), with_scale).mean(axis=0)

    return _fit_by_blocks(measure, predicted, target)


def _scaled_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    if (~predicted.any(axis=(0, 1))).any():
        raise H36MError("N-MPJPE: a predicted pose is zero throughout, so no scale brings it closer to its target")
    return lengths(best_scale(predicted, target) * predicted - target).mean(axis=0)


def _difference_errors(predicted: np.ndarray, target: np.ndarray, order: int, what: str) -> np.ndarray:
    predicted, target = _checked(predicted, target)
    if predicted.ndim < 3:
        raise H36MError(f"{what} needs poses of shape (frames, joints, 3), found {predicted.shape}")
    if predicted.shape[-3] <= order:
        return np.empty((*predicted.shape[:-3], 0), predicted.dtype)
    return mpjpe(np.diff(predicted, order, axis=-3), np.diff(target, order, axis=-3))


def _checked(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dtype = np.result_type(np.asarray(predicted), np.asarray(target), np.float32)
    predicted, target = np.asarray(predicted, dtype), np.asarray(target, dtype)
    if predicted.shape != target.shape:
        raise H36MError(f"predicted poses have shape {predicted.shape}, target poses {target.shape}; they must agree")
    if predicted.ndim < 2 or predicted.shape[-1] != 3 or predicted.shape[-2] == 0:
        raise H36MError(f"poses must have shape (..., joints, 3), found {predicted.shape}")
    return predicted, target


def _fit_by_blocks(measure: _Measure, predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`_by_blocks` of a measure that is NaN where there is no fit, which is an H36MError."""
    values = _by_blocks(measure, predicted, target)
    if np.isnan(values).any():
        for name, poses in (("predicted", predicted), ("target", target)):
            bad = np.argwhere(~alignable(poses))
            if len(bad):
                raise H36MError(
                    f"alignment: {len(bad)} {name} poses have NaN or infinite numbers or all joints in one point, the "
                    f"first is pose {', '.join(map(str, bad[0])) or 0}; no rotation fits them"
                )
    return values


def _by_blocks(measure: _Measure, predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`measure` of blocks (3, joints, n) twice -> (..., n), over any leading shape: (leading, ...)."""
    predicted, target = _checked(predicted, target)
    leading, pose = predicted.shape[:-2], predicted.shape[-2:]
    flat_predicted, flat_target = predicted.reshape(-1, *pose), target.reshape(-1, *pose)
    starts = range(0, max(len(flat_predicted), 1), BLOCK)

    def work(starts: range) -> list[np.ndarray]:
        # the same memory for every block: new memory costs as much as the arithmetic
        scratch = np.empty((2, 3, pose[0], min(BLOCK, len(flat_predicted))))
        values = []
        for start in starts:
            rows = slice(start, start + BLOCK)
            blocks = as_block(flat_predicted[rows], scratch[0]), as_block(flat_target[rows], scratch[1])
            with np.errstate(invalid="ignore", over="ignore"):
                values.append(measure(*blocks).astype(predicted.dtype).T)
        return values

    half = (len(starts) + 1) // 2  # numpy lets a second thread work meanwhile; a third gains nothing
    if len(starts) < _WORTH_A_THREAD:
        values = np.concatenate(work(starts))
    else:
        with ThreadPoolExecutor(2) as threads:
            parts = threads.map(work, (starts[:half], starts[half:]))
            values = np.concatenate([value for part in parts for value in part])
    return values.reshape((*leading, *values.shape[1:]))[()]
