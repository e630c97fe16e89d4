"""Points in space from their images in several calibrated views.

The linear method (DLT, Hartley and Zisserman 2004, section 12.2) weighted by confidences, and RANSAC over pairs of
views with it, as Iskakov et al. 2019 (learnable triangulation) use both for human joints. Points belong to images
without lens distortion. All functions work on any batch of points at once, in the dtype of their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import least_squares

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError

# karfly/learnable-triangulation-pytorch's RANSAC baseline: pairs drawn, and its threshold. Its reprojection error is
# half of the distance in pixels, so that its 15 are 30 px.
RANSAC_DRAWS = 10
RANSAC_THRESHOLD_PX = 30.0


def projection_matrices(cameras: list[Camera]) -> np.ndarray:
    """K [R | -R C] of each camera (views, 3, 4), float64: world points in mm to pixels of an ideal lens."""
    poses = [np.c_[camera.rotation, -camera.rotation @ camera.center] for camera in cameras]
    return np.stack([camera.intrinsics @ pose for camera, pose in zip(cameras, poses, strict=True)])


def projected(projections: np.ndarray, points_3d: np.ndarray) -> np.ndarray:
    """World points (..., 3) in every view: (..., views, 2), px; `projections` are (..., views, 3, 4)."""
    homogeneous = np.concatenate([points_3d, np.ones_like(points_3d[..., :1])], axis=-1)
    image = (projections @ homogeneous[..., None, :, None])[..., 0]
    return image[..., :2] / image[..., 2:]


def normalised_confidences(confidences: np.ndarray) -> np.ndarray:
    """Confidences (..., views) divided by their sum over views, plus 1e-5: learnable triangulation's weights."""
    return confidences / confidences.sum(axis=-1, keepdims=True) + confidences.dtype.type(1e-5)


def triangulated(projections: np.ndarray, points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """World points (..., 3), mm, of pixels (..., views, 2), each view's two equations times its weight (..., views).

    A view of weight 0 does not count, whatever its pixels; where fewer than two views count the point is NaN.
    `projections` are (views, 3, 4) or have the batch's leading sizes. Raises H36MError where the shapes do not fit.
    """
    _check_shapes(projections, points, weights)
    if weights is None:
        weights = np.ones(points.shape[:-1], points.dtype)
    counted = weights != 0
    points = np.where(counted[..., None], points, 0)
    rows = points[..., None] * projections[..., 2:, :] - projections[..., :2, :]  # (..., views, 2, 4)
    rows = rows * weights[..., None, None]
    system = rows.reshape(*rows.shape[:-3], -1, 4)
    homogeneous = np.linalg.svd(system, full_matrices=False)[2][..., -1, :]
    enough = counted.sum(axis=-1, keepdims=True) >= 2
    with np.errstate(divide="ignore", invalid="ignore"):  # parallel rays meet at infinity
        return np.where(enough, homogeneous[..., :3] / homogeneous[..., 3:], np.nan).astype(points.dtype)


def reprojection_errors_px(projections: np.ndarray, points: np.ndarray, points_3d: np.ndarray) -> np.ndarray:
    """Distances (..., views), px, between pixels (..., views, 2) and the images of world points (..., 3)."""
    return np.linalg.norm(projected(projections, points_3d) - points, axis=-1)


def halved_reprojection_errors(projections: np.ndarray, points: np.ndarray, points_3d: np.ndarray) -> np.ndarray:
    """What learnable triangulation calls the reprojection error: half of the distance, which its threshold is on."""
    return reprojection_errors_px(projections, points, points_3d) / 2


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class RobustPoints:
    """Points in space and the views that agree with each."""

    points_3d: np.ndarray  # (..., 3), world, mm
    inliers: np.ndarray  # (..., views) bool


def triangulated_ransac(
    projections: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
    seen: np.ndarray | None = None,
    draws: int = RANSAC_DRAWS,
    threshold_px: float = RANSAC_THRESHOLD_PX,
    refine: bool = False,
) -> RobustPoints:
    """World points of pixels (..., views, 2) by RANSAC over pairs of views; `seen` (..., views): those that count.

    For each point `draws` pairs of its seen views are drawn from `rng`; the first pair with the most inliers (itself
    and the views nearer than `threshold_px` to its point's image) wins, and the linear method on the inliers gives the
    point. `refine` starts from there and minimises the Huber loss of the inliers' halved reprojection errors (1 at its
    bend), as the official baseline does; that is a loop over points. NaN where fewer than two views are seen.
    """
    _check_shapes(projections, points, None)
    if draws < 1:
        raise H36MError(f"RANSAC needs at least one draw; got {draws}")
    views = points.shape[-2]
    batch = points.shape[:-2]
    seen = np.ones(points.shape[:-1], bool) if seen is None else seen
    points = np.where(seen[..., None], points, 0)  # what is not seen may hold NaN, which the SVD refuses
    pairs = np.array(list(combinations(range(views), 2)))
    support = _support_of_pairs(projections, points, seen, pairs, threshold_px)  # (pairs, ..., views)
    possible = np.all(seen[..., pairs], axis=-1)  # (..., pairs)
    drawn = _drawn_pairs(possible, draws, rng)  # (..., draws)
    counts = np.moveaxis(support.sum(axis=-1), 0, -1)  # (..., pairs)
    best = np.take_along_axis(counts, drawn, axis=-1).argmax(axis=-1)  # the first of the largest
    winner = np.take_along_axis(drawn, best[..., None], axis=-1)[..., 0]
    inliers = np.take_along_axis(support, np.broadcast_to(winner[None, ..., None], (1, *batch, views)), axis=0)[0]
    inliers &= possible.any(axis=-1, keepdims=True)
    found = triangulated(projections, points, inliers.astype(points.dtype))
    if refine:
        found = _refined(projections, points, inliers, found)
    return RobustPoints(found, inliers)


def _support_of_pairs(
    projections: np.ndarray, points: np.ndarray, seen: np.ndarray, pairs: np.ndarray, threshold_px: float
) -> np.ndarray:
    """The inliers (pairs, ..., views) that each pair of views would have."""
    support = np.zeros((len(pairs), *points.shape[:-1]), bool)
    for inliers, pair in zip(support, pairs, strict=True):
        guess = triangulated(projections[..., pair, :, :], points[..., pair, :])
        inliers[...] = reprojection_errors_px(projections, points, guess) < threshold_px
        inliers[..., pair] = True
        inliers &= seen
    return support


def _drawn_pairs(possible: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """For each point `draws` of its possible (..., pairs), with replacement: their indices (..., draws)."""
    order = np.argsort(~possible, axis=-1, kind="stable")  # the possible ones first
    among = np.maximum(possible.sum(axis=-1), 1)[..., None]
    return np.take_along_axis(order, rng.integers(0, among, (*possible.shape[:-1], draws)), axis=-1)


def _refined(projections: np.ndarray, points: np.ndarray, inliers: np.ndarray, start: np.ndarray) -> np.ndarray:
    batch = points.shape[:-2]
    matrices = np.broadcast_to(projections, (*batch, *projections.shape[-3:]))
    refined = start.copy()
    for index in np.ndindex(batch):
        if np.isfinite(start[index]).all():
            views = inliers[index]
            among, of = matrices[index][views], points[index][views]

            def errors(point: np.ndarray, among: np.ndarray = among, of: np.ndarray = of) -> np.ndarray:
                return halved_reprojection_errors(among, of, point)

            refined[index] = least_squares(errors, start[index], loss="huber", method="trf").x
    return refined


def _check_shapes(projections: np.ndarray, points: np.ndarray, weights: np.ndarray | None) -> None:
    views = projections.shape[-3] if projections.ndim >= 3 else 0
    if projections.shape[-2:] != (3, 4) or points.shape[-2:] != (views, 2) or views < 2:
        raise H36MError(
            f"projections of shape {projections.shape} and pixels of shape {points.shape} do not fit; expected "
            "(..., views, 3, 4) and (..., views, 2) with two views or more"
        )
    if weights is not None and weights.shape != points.shape[:-1]:
        raise H36MError(f"weights of shape {weights.shape} for pixels of shape {points.shape}; expected one a view")
