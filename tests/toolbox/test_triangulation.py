from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS
from h36m_toolbox.triangulation import (
    halved_reprojection_errors,
    normalised_confidences,
    projected,
    projection_matrices,
    reprojection_errors_px,
    triangulated,
    triangulated_ransac,
)

DATA = Path(__file__).parents[1] / "data" / "pelvis"


@pytest.fixture(scope="module")
def linear() -> dict[str, np.ndarray]:
    """Two poses of 17 joints in four views, and what learnable triangulation makes of them; (joints, views) here."""
    golden = dict(np.load(DATA / "lt_triangulate.npz"))
    golden["points"] = np.moveaxis(golden["input.points"], 1, 2)
    golden["weights"] = np.moveaxis(golden["input.confidences"], 1, 2)
    golden["projections"] = golden["input.proj"][:, None]
    return golden


@pytest.fixture(scope="module")
def robust() -> dict[str, np.ndarray]:
    """A pose with one wrong view for most joints, and what the RANSAC baseline makes of it; (joints, views) here."""
    golden = dict(np.load(DATA / "lt_ransac_points.npz"))
    return {**golden, "points": np.moveaxis(golden["input.points"], 0, 1)}


def test_points_are_the_official_ones_in_float32(linear: dict[str, np.ndarray]) -> None:
    plain = triangulated(linear["projections"], linear["points"])
    assert plain.dtype == np.float32
    # the goldens' own float32 noise is 0.036 mm, their tolerance 0.69
    np.testing.assert_allclose(plain, linear["output.no_confidences"], rtol=0, atol=0.1)
    weighted = triangulated(linear["projections"], linear["points"], linear["weights"])
    np.testing.assert_allclose(weighted, linear["output.confidences"], rtol=0, atol=0.1)
    assert abs(weighted - plain).max() > 1


def test_points_are_the_official_ones_in_float64(linear: dict[str, np.ndarray]) -> None:
    points = triangulated(linear["projections"].astype(np.float64), linear["points"].astype(np.float64))
    assert points.dtype == np.float64
    np.testing.assert_allclose(points, linear["output.numpy"], rtol=0, atol=2e-4)  # which is stored as float32


def test_the_official_reprojection_error_is_half_of_the_distance(linear: dict[str, np.ndarray]) -> None:
    arguments = linear["projections"][0], linear["points"][0], linear["input.keypoints_3d"][0]
    halved = halved_reprojection_errors(*arguments)
    np.testing.assert_allclose(halved, linear["output.reprojection_error"], rtol=1e-4, atol=3e-5)
    np.testing.assert_array_equal(2 * halved, reprojection_errors_px(*arguments))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("refine", "golden", "atol"), [(False, "linear", 1e-6), (True, "direct", 1e-4)])
def test_ransac_finds_the_official_points_and_inliers(
    robust: dict[str, np.ndarray], seed: int, refine: bool, golden: str, atol: float
) -> None:
    rng = np.random.default_rng(seed)
    found = triangulated_ransac(robust["input.proj"], robust["points"], rng, refine=refine)
    np.testing.assert_array_equal(found.inliers, robust[f"output.inliers_{golden}"])
    np.testing.assert_allclose(found.points_3d, robust[f"output.keypoints_3d_{golden}"], rtol=0, atol=atol)


places = st.tuples(*[st.floats(-1000, 1000)] * 2, st.floats(0, 2000))


def views_of(subject: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projections of a subject's four cameras, and the ideal pixels (..., views, 2) of world points (..., 3)."""
    cameras = [h36m_camera(subject, camera) for camera in CAMERA_IDS]
    pixels = [camera.project_linear(camera.world_to_camera(points)) for camera in cameras]
    return projection_matrices(cameras), np.stack(pixels, axis=-2)


@given(st.sampled_from(SUBJECTS), st.lists(places, min_size=1, max_size=4))
@settings(deadline=None)
def test_projecting_and_triangulating_is_the_identity(subject: str, points: list[tuple[float, ...]]) -> None:
    there = np.array(points)
    projections, pixels = views_of(subject, there)
    np.testing.assert_allclose(projected(projections, there), pixels, rtol=0, atol=1e-8)
    np.testing.assert_allclose(triangulated(projections, pixels), there, rtol=0, atol=1e-5)
    robust = triangulated_ransac(projections, pixels, np.random.default_rng(0))
    np.testing.assert_allclose(robust.points_3d, there, rtol=0, atol=1e-5)
    assert robust.inliers.all()


@given(places, st.floats(0.01, 100), st.integers(0, 3))
@settings(deadline=None)
def test_only_the_ratio_of_weights_counts_and_a_view_of_weight_0_does_not(
    point: tuple[float, ...], factor: float, lost: int
) -> None:
    projections, pixels = views_of("S9", np.array(point))
    pixels = pixels + np.random.default_rng(0).normal(0, 5, pixels.shape)
    weights = np.array([0.9, 0.4, 0.7, 0.2])
    wanted = triangulated(projections, pixels, weights)
    np.testing.assert_allclose(triangulated(projections, pixels, factor * weights), wanted, rtol=1e-6, atol=1e-6)
    weights[lost] = 0
    pixels[lost] = np.nan
    others = [view for view in range(4) if view != lost]
    without = triangulated(projections[others], pixels[others], weights[others])
    np.testing.assert_allclose(triangulated(projections, pixels, weights), without, rtol=1e-9, atol=1e-6)


def test_a_batch_is_its_points_one_by_one(linear: dict[str, np.ndarray]) -> None:
    projections, points = linear["projections"].astype(np.float64), linear["points"].astype(np.float64)
    batch = triangulated(projections, points)
    for i in np.ndindex(batch.shape[:-1]):
        np.testing.assert_allclose(triangulated(projections[i[0], 0], points[i]), batch[i], rtol=0, atol=1e-7)


def test_fewer_than_two_views_give_no_point() -> None:
    projections, pixels = views_of("S1", np.array([[0.0, 0, 900], [100, 0, 900]]))
    seen = np.array([[True, False, False, False], [True, False, True, False]])
    points = triangulated(projections, pixels, seen.astype(float))
    np.testing.assert_array_equal(np.isnan(points).all(axis=-1), [True, False])
    robust = triangulated_ransac(projections, np.where(seen[..., None], pixels, np.nan), np.random.default_rng(0), seen)
    np.testing.assert_array_equal(robust.inliers, [[False] * 4, [True, False, True, False]])
    np.testing.assert_array_equal(np.isnan(robust.points_3d).all(axis=-1), [True, False])


@given(st.integers(0, 3), st.sampled_from([-400, 400]), st.integers(0, 1000))
@settings(deadline=None)
def test_ransac_leaves_a_wrong_view_out_where_the_linear_method_follows_it(wrong: int, up: float, seed: int) -> None:
    truth = np.array([100.0, 200, 950])
    projections, pixels = views_of("S11", truth)
    pixels[wrong, 1] += up  # cameras stand side by side: no other view can agree with a point so far above or below
    assert np.linalg.norm(triangulated(projections, pixels) - truth) > 50
    found = triangulated_ransac(projections, pixels, np.random.default_rng(seed), draws=40)
    np.testing.assert_array_equal(np.flatnonzero(~found.inliers), [wrong])
    np.testing.assert_allclose(found.points_3d, truth, rtol=0, atol=1e-5)


def test_confidences_are_weighed_as_officially() -> None:
    confidences = np.array([[0.2, 0.3, 0.5, 1.0]], np.float32)
    normalised = normalised_confidences(confidences)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, [[0.10001, 0.15001, 0.25001, 0.50001]], rtol=1e-6)


@pytest.mark.parametrize(
    ("projections", "points"), [((4, 3, 4), (5, 3, 2)), ((4, 4, 4), (5, 4, 2)), ((1, 3, 4), (1, 2)), ((3, 4), (2,))]
)
def test_shapes_that_do_not_fit_are_refused(projections: tuple[int, ...], points: tuple[int, ...]) -> None:
    with pytest.raises(H36MError, match="do not fit"):
        triangulated(np.zeros(projections), np.zeros(points))


def test_wrong_weights_and_no_draws_are_refused() -> None:
    projections, pixels = views_of("S1", np.zeros((2, 3)))
    with pytest.raises(H36MError, match="expected one a view"):
        triangulated(projections, pixels, np.ones(4))
    with pytest.raises(H36MError, match="at least one draw"):
        triangulated_ransac(projections, pixels, np.random.default_rng(0), draws=0)
