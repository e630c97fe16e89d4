"""Errors between 3D poses: pure functions (..., joints, 3) -> one value per pose, in the unit of the input.

Averaging is left to the caller. Formulas as in VideoPose3D (MPJPE, P-MPJPE, N-MPJPE, velocity), 3d-pose-baseline
(alignment with and without scale) and the MPI-INF-3DHP evaluation (PCK, AUC). Everything is computed in the dtype of
the inputs (float64 where either is float64 or integer) and in blocks, so memory beyond inputs and result stays flat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from h36m_toolbox.errors import H36MError

PCK_THRESHOLD_MM = 150.0
AUC_THRESHOLDS_MM = tuple(range(0, 151, 5))

_BLOCK = 8192  # poses


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
    return _by_blocks(_distances, predicted, target)


def mpjpe(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean per-joint position error: (..., joints, 3) twice -> (...). Nothing is centred here."""
    return _by_blocks(lambda p, t: _distances(p, t).mean(axis=-1), predicted, target)


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
    return _aligned_mpjpe(predicted, target, scale=True)


def pa_mpjpe_rigid(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """MPJPE after the best rotation and translation of each pose, scale 1: -> (...). Raises as `p_mpjpe`."""
    return _aligned_mpjpe(predicted, target, scale=False)


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
    predicted, target = _checked(predicted, target)
    if predicted.ndim < 3:
        raise H36MError(f"velocity needs poses of shape (frames, joints, 3), found {predicted.shape}")
    return mpjpe(np.diff(predicted, axis=-3), np.diff(target, axis=-3))


def pck(predicted: np.ndarray, target: np.ndarray, threshold_mm: float = PCK_THRESHOLD_MM) -> np.ndarray:
    """Percent of joints whose error is strictly below the threshold, mm: -> (...), 0 to 100. NaN counts as wrong."""
    return _by_blocks(lambda p, t: 100 * (_distances(p, t) < threshold_mm).mean(axis=-1), predicted, target)


def auc(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Area under the PCK curve as MPI-INF-3DHP defines it, from poses in mm: -> (...), 0 to 96.77.

    The mean of PCK over the 31 thresholds 0, 5, ..., 150 mm, no trapezoid rule. No distance is strictly below 0, so a
    perfect pose has 100 * 30 / 31.
    """
    return _by_blocks(_area_under_pck, predicted, target)


def procrustes(predicted: np.ndarray, target: np.ndarray, scale: bool = True) -> Procrustes:
    """The rotation, scale and translation that bring each prediction closest to its target in squared distance.

    (..., joints, 3) twice. A mirrored prediction stays mirrored: the rotation never reflects (Umeyama 1991, eq. 43).
    With `scale=False` the scale is 1. Raises H36MError for a pose without extent or with NaN.
    """
    leading = _alignable_pair(predicted, target)[0].shape[:-2]
    fits: list[Procrustes] = []

    def scales(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        fits.append(_fit(p, t, scale))
        return fits[-1].scale

    return Procrustes(
        scale=_by_blocks(scales, predicted, target),
        rotation=np.concatenate([fit.rotation for fit in fits]).reshape((*leading, 3, 3)),
        translation=np.concatenate([fit.translation for fit in fits]).reshape((*leading, 3)),
    )


def procrustes_aligned(predicted: np.ndarray, target: np.ndarray, scale: bool = True) -> np.ndarray:
    """The predictions (..., joints, 3) moved onto their targets by `procrustes`; raises as it does."""
    predicted, target = _alignable_pair(predicted, target)
    return _by_blocks(lambda p, t: _fit(p, t, scale).apply(p), predicted, target)


def alignable(poses: np.ndarray) -> np.ndarray:
    """Which poses (..., joints, 3) can be aligned: (...) bool, all numbers finite and the joints not in one point."""
    return _by_blocks(lambda p, _: _has_extent(p), poses, poses).astype(bool)


def _checked(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dtype = np.result_type(np.asarray(predicted), np.asarray(target), np.float32)
    predicted, target = np.asarray(predicted, dtype), np.asarray(target, dtype)
    if predicted.shape != target.shape:
        raise H36MError(f"predicted poses have shape {predicted.shape}, target poses {target.shape}; they must agree")
    if predicted.ndim < 2 or predicted.shape[-1] != 3 or predicted.shape[-2] == 0:
        raise H36MError(f"poses must have shape (..., joints, 3), found {predicted.shape}")
    return predicted, target


def _alignable_pair(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, target = _checked(predicted, target)
    for name, poses in (("predicted", predicted), ("target", target)):
        bad = np.argwhere(~alignable(poses))
        if len(bad):
            raise H36MError(
                f"alignment: {len(bad)} {name} poses have NaN or infinite numbers or all joints in one point, the "
                f"first is pose {', '.join(map(str, bad[0])) or 0}; no rotation fits them"
            )
    return predicted, target


def _by_blocks(
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray], predicted: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """`measure` of (poses, joints, 3) twice -> (poses, ...), over any leading shape, a block of poses at a time."""
    predicted, target = _checked(predicted, target)
    leading, pose = predicted.shape[:-2], predicted.shape[-2:]
    flat_predicted, flat_target = predicted.reshape(-1, *pose), target.reshape(-1, *pose)
    starts = range(0, max(len(flat_predicted), 1), _BLOCK)
    blocks = [measure(flat_predicted[i : i + _BLOCK], flat_target[i : i + _BLOCK]) for i in starts]
    values = np.concatenate(blocks).astype(predicted.dtype, copy=False)
    return values.reshape((*leading, *values.shape[1:]))[()]


def _distances(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    difference = predicted - target
    return np.sqrt(np.einsum("...i,...i->...", difference, difference))


def _aligned_mpjpe(predicted: np.ndarray, target: np.ndarray, scale: bool) -> np.ndarray:
    predicted, target = _alignable_pair(predicted, target)
    return _by_blocks(lambda p, t: _distances(_fit(p, t, scale).apply(p), t).mean(axis=-1), predicted, target)


def _scaled_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    squared = np.einsum("nji,nji->n", predicted, predicted)
    if (squared == 0).any():
        raise H36MError("N-MPJPE: a predicted pose is zero throughout, so no scale brings it closer to its target")
    scale = np.einsum("nji,nji->n", predicted, target) / squared
    return _distances(scale[:, None, None] * predicted, target).mean(axis=-1)


def _area_under_pck(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    thresholds = np.array(AUC_THRESHOLDS_MM)
    passed = len(thresholds) - np.searchsorted(thresholds, _distances(predicted, target), side="right")
    return 100 * passed.mean(axis=-1) / len(thresholds)


def _has_extent(poses: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        extent = np.linalg.norm(poses - poses.mean(axis=1, keepdims=True), axis=(1, 2))
        # Centring joints that coincide leaves rounding errors of this size, not an exact zero.
        noise = 8 * np.finfo(poses.dtype).eps * np.linalg.norm(poses, axis=(1, 2))
        return np.isfinite(extent) & (extent > noise)


def _fit(predicted: np.ndarray, target: np.ndarray, with_scale: bool) -> Procrustes:
    """`procrustes` of one block, (poses, joints, 3) twice."""
    predicted_mean, target_mean = predicted.mean(axis=1, keepdims=True), target.mean(axis=1, keepdims=True)
    centred_predicted, centred_target = predicted - predicted_mean, target - target_mean
    predicted_norm = np.linalg.norm(centred_predicted, axis=(1, 2))
    target_norm = np.linalg.norm(centred_target, axis=(1, 2))
    centred_predicted /= predicted_norm[:, None, None]
    centred_target /= target_norm[:, None, None]

    u, singular, vt = np.linalg.svd(centred_target.transpose(0, 2, 1) @ centred_predicted)
    reflected = np.linalg.det(u @ vt) < 0
    vt[reflected, -1] *= -1
    singular[reflected, -1] *= -1
    rotation = (u @ vt).transpose(0, 2, 1)
    scale = singular.sum(axis=1) * target_norm / predicted_norm if with_scale else np.ones_like(target_norm)
    translation = target_mean - scale[:, None, None] * (predicted_mean @ rotation)
    return Procrustes(rotation, scale, translation[:, 0])
