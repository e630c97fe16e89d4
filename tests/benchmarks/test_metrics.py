"""The metrics against the official programs' numbers, against scipy and loops, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_tables import GOLDENS
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.errors import H36MError

SEEDS = st.integers(0, 2**32 - 1)
DISTANCES = (metrics.mpjpe, metrics.p_mpjpe, metrics.pa_mpjpe_rigid, metrics.n_mpjpe)


def random_poses(seed: int, poses: int = 5, joints: int = 17) -> np.ndarray:
    return 300 * np.random.default_rng(seed).normal(size=(poses, joints, 3))


@pytest.mark.parametrize(("case", "tolerances"), [("metrics_m", (1e-11, 1e-5)), ("metrics_mm", (1e-8, 1e-2))])
@pytest.mark.parametrize(("kind", "dtype"), [("f64", np.float64), ("f32", np.float32)])
def test_metrics_equal_the_official_ones_on_ordinary_and_special_poses(case, tolerances, kind, dtype) -> None:
    golden = np.load(GOLDENS / f"{case}.npz")
    predicted, target, weights = (golden[f"input.{name}"].astype(dtype) for name in ("pred", "target", "weight"))
    results = {
        "mpjpe": metrics.mpjpe(predicted, target),
        "p_mpjpe": metrics.p_mpjpe(predicted, target),
        "n_mpjpe": metrics.n_mpjpe(predicted, target),
        "weighted_mpjpe": metrics.weighted_mpjpe(predicted, target, weights),
        "velocity": metrics.mpjve(predicted, target),
    }
    tolerance = tolerances[0 if kind == "f64" else 1]
    for name, values in results.items():
        assert values.dtype == dtype
        np.testing.assert_allclose(values, golden[f"output.{name}_{kind}"], rtol=0, atol=tolerance, err_msg=name)
        mean = values.astype(np.float64).mean()
        np.testing.assert_allclose(mean, golden[f"output.mean_{name}_{kind}"], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(("case", "scale"), [("scaled", True), ("unscaled", False)])
def test_procrustes_equals_the_one_of_3d_pose_baseline(case: str, scale: bool) -> None:
    golden = np.load(GOLDENS / "procrustes_single.npz")
    target, predicted = golden["input.X"], golden["input.Y"]
    fit = metrics.procrustes(predicted, target, scale=scale)
    aligned = metrics.procrustes_aligned(predicted, target, scale=scale)
    centred = target - target.mean(axis=1, keepdims=True)
    residual = ((target - aligned) ** 2).sum(axis=(1, 2)) / (centred**2).sum(axis=(1, 2))
    for name, values in {"T": fit.rotation, "b": fit.scale, "c": fit.translation, "Z": aligned, "d": residual}.items():
        np.testing.assert_allclose(values, golden[f"output.{case}_{name}"], rtol=0, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(fit.apply(predicted), aligned)


def test_errors_worked_by_hand() -> None:
    target = np.zeros((1, 2, 3))
    predicted = np.array([[[3.0, 4.0, 0.0], [0.0, 0.0, 150.0]]])
    np.testing.assert_array_equal(metrics.joint_errors(predicted, target), [[5, 150]])
    assert metrics.mpjpe(predicted, target) == [77.5]
    assert metrics.weighted_mpjpe(predicted, target, np.array([2.0, 0.0])) == [5]
    assert metrics.pck(predicted, target) == [50]  # 150 mm is not below 150 mm
    assert metrics.pck(predicted, target, threshold_mm=150.001) == [100]
    assert metrics.auc(predicted, target) == pytest.approx([100 * 29 / 62])  # 5 mm passes at 10, 15, ..., 150


def test_scale_of_n_mpjpe_worked_by_hand() -> None:
    target = np.array([[2.0, 0, 0], [0, 2.0, 0]])
    assert metrics.n_mpjpe(np.array([[1.0, 0, 0], [0, 1.0, 0]]), target) == 0
    # <p, t> / <p, p> = 2 / 2: the second joint's error of 1 stays, the first keeps 2 - 1.
    assert metrics.n_mpjpe(np.array([[1.0, 0, 0], [1.0, 0, 0]]), target) == pytest.approx((1 + np.sqrt(5)) / 2)


def test_velocity_worked_by_hand_is_per_frame_and_ignores_a_constant_offset() -> None:
    target = np.zeros((3, 1, 3))
    predicted = np.array([[[7.0, 0, 0]], [[10.0, 4, 0]], [[10.0, 4, 0]]])
    np.testing.assert_array_equal(metrics.mpjve(predicted, target), [5, 0])


def test_a_single_frame_has_no_velocity() -> None:
    assert metrics.mpjve(np.ones((1, 17, 3)), np.ones((1, 17, 3))).shape == (0,)


def test_a_perfect_pose_has_the_auc_of_30_of_31_thresholds() -> None:
    assert metrics.auc(random_poses(0), random_poses(0)) == pytest.approx(96.774, abs=1e-3)


def test_nan_counts_as_wrong_in_pck_and_auc_as_in_3dhp() -> None:
    target = random_poses(0, poses=1, joints=4)
    predicted = target.copy()
    predicted[0, 0, 0] = np.nan
    assert metrics.pck(predicted, target) == [75]
    assert metrics.auc(predicted, target) == pytest.approx([75 * 30 / 31])


@given(SEEDS)
def test_auc_is_the_mean_of_pck_over_its_thresholds(seed: int) -> None:
    target = random_poses(seed)
    predicted = target + random_poses(seed + 1) / 4
    curve = [metrics.pck(predicted, target, threshold_mm=threshold) for threshold in metrics.AUC_THRESHOLDS_MM]
    assert len(curve) == 31
    np.testing.assert_allclose(metrics.auc(predicted, target), np.mean(curve, axis=0))


@given(SEEDS)
def test_alignment_leaves_the_residual_that_scipy_finds_when_no_reflection_is_involved(seed: int) -> None:
    target = random_poses(seed, poses=1)[0]
    predicted = target + random_poses(seed + 1, poses=1)[0] / 10
    _, _, disparity = scipy_procrustes(target, predicted)
    aligned = metrics.procrustes_aligned(predicted, target)
    extent = ((target - target.mean(axis=0)) ** 2).sum()
    assert ((aligned - target) ** 2).sum() / extent == pytest.approx(disparity, rel=1e-9)


@given(SEEDS)
def test_alignment_agrees_with_scipys_rotation_fit_pose_by_pose(seed: int) -> None:
    predicted, target = random_poses(seed), random_poses(seed + 1)
    fit = metrics.procrustes(predicted, target)
    for i, (p, t) in enumerate(zip(predicted, target, strict=True)):
        p0, t0 = p - p.mean(axis=0), t - t.mean(axis=0)
        rotation = Rotation.align_vectors(t0, p0)[0].as_matrix().T
        scale = ((p0 @ rotation) * t0).sum() / (p0**2).sum()
        np.testing.assert_allclose(fit.rotation[i], rotation, atol=1e-7)
        assert fit.scale[i] == pytest.approx(scale)
        expected = np.linalg.norm(scale * p0 @ rotation - t0, axis=1).mean()
        assert metrics.p_mpjpe(p, t) == pytest.approx(expected)
        rigid = np.linalg.norm(p0 @ rotation - t0, axis=1).mean()
        assert metrics.pa_mpjpe_rigid(p, t) == pytest.approx(rigid)


@given(SEEDS, st.floats(0.01, 100))
def test_p_mpjpe_of_a_similar_pose_is_zero(seed: int, scale: float) -> None:
    target = random_poses(seed)
    rotation = Rotation.random(random_state=seed).as_matrix()
    moved = scale * target @ rotation + np.array([100.0, -2000, 5000])
    assert metrics.p_mpjpe(moved, target).max() < 1e-6


@given(SEEDS)
def test_rigid_p_mpjpe_of_a_moved_pose_is_zero_and_of_a_scaled_one_is_not(seed: int) -> None:
    target = random_poses(seed)
    moved = target @ Rotation.random(random_state=seed).as_matrix() + 1000
    assert metrics.pa_mpjpe_rigid(moved, target).max() < 1e-6
    assert metrics.pa_mpjpe_rigid(2 * moved, target).min() > 1


@given(SEEDS)
def test_no_metric_changes_when_both_poses_turn_together(seed: int) -> None:
    predicted, target = random_poses(seed), random_poses(seed + 1)
    rotation = Rotation.random(random_state=seed).as_matrix()
    for metric in (*DISTANCES, metrics.mpjve):
        np.testing.assert_allclose(metric(predicted @ rotation, target @ rotation), metric(predicted, target))


@given(SEEDS)
def test_moving_both_poses_together_changes_only_n_mpjpe(seed: int) -> None:
    predicted, target = random_poses(seed), random_poses(seed + 1)
    shift = np.array([500.0, -300, 4000])
    for metric in (metrics.mpjpe, metrics.p_mpjpe, metrics.pa_mpjpe_rigid, metrics.mpjve, metrics.pck, metrics.auc):
        np.testing.assert_allclose(metric(predicted + shift, target + shift), metric(predicted, target))
    assert (metrics.n_mpjpe(predicted + shift, target + shift) != metrics.n_mpjpe(predicted, target)).all()


@given(SEEDS)
def test_a_mirrored_pose_is_never_reflected_back(seed: int) -> None:
    target = random_poses(seed)
    mirrored = target * [-1, 1, 1]
    np.testing.assert_allclose(np.linalg.det(metrics.procrustes(mirrored, target).rotation), 1)
    assert metrics.p_mpjpe(mirrored, target).min() > 1


@pytest.mark.parametrize("metric", [*DISTANCES, metrics.pck, metrics.auc])
def test_any_leading_shape_gives_one_value_per_pose(metric) -> None:
    predicted, target = random_poses(1, poses=24), random_poses(2, poses=24)
    expected = [metric(p, t) for p, t in zip(predicted, target, strict=True)]
    folded = metric(predicted.reshape(2, 3, 4, 17, 3), target.reshape(2, 3, 4, 17, 3))
    assert folded.shape == (2, 3, 4)
    np.testing.assert_allclose(folded.ravel(), expected)
    assert metric(predicted[:0], target[:0]).shape == (0,)


def test_poses_beyond_one_block_are_measured_like_any_other() -> None:
    predicted, target = np.tile(random_poses(1), (3000, 1, 1)), np.tile(random_poses(2), (3000, 1, 1))
    np.testing.assert_allclose(metrics.p_mpjpe(predicted, target)[-5:], metrics.p_mpjpe(predicted[:5], target[:5]))
    assert metrics.procrustes(predicted, target).rotation.shape == (15000, 3, 3)


@pytest.mark.parametrize("spoilt", [0.0, 0.1, 5e6, np.nan, np.inf])
@pytest.mark.parametrize("side", ["predicted", "target"])
@pytest.mark.parametrize("metric", [metrics.p_mpjpe, metrics.pa_mpjpe_rigid, metrics.procrustes])
def test_a_pose_without_extent_or_with_nan_cannot_be_aligned(metric, side: str, spoilt: float) -> None:
    poses = {"predicted": random_poses(1), "target": random_poses(2)}
    poses[side][3] = spoilt
    with pytest.raises(H36MError, match=rf"1 {side} poses .* pose 3;"):
        metric(poses["predicted"], poses["target"])


def test_a_zero_prediction_has_no_best_scale() -> None:
    with pytest.raises(H36MError, match="zero throughout"):
        metrics.n_mpjpe(np.zeros((1, 17, 3)), random_poses(0, poses=1))


@pytest.mark.parametrize(
    ("predicted", "target"),
    [((5, 17, 3), (5, 16, 3)), ((5, 17, 3), (17, 3)), ((5, 17, 2), (5, 17, 2)), ((3,), (3,)), ((5, 0, 3), (5, 0, 3))],
)
def test_shapes_that_are_no_poses_are_refused(predicted: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(H36MError, match="shape"):
        metrics.mpjpe(np.ones(predicted), np.ones(target))


def test_velocity_of_one_pose_without_a_time_axis_is_refused() -> None:
    with pytest.raises(H36MError, match="frames, joints, 3"):
        metrics.mpjve(np.ones((17, 3)), np.ones((17, 3)))
