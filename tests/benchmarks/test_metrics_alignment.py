"""Alignment without an SVD against alignment with one, where it is easy and where it is not."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from h36m_toolbox.benchmarks import metrics, rotations

SEEDS = st.integers(0, 2**32 - 1)
HARD = ("ordinary", "flat", "collinear", "almost collinear", "mirrored", "turned over", "tiny", "huge", "equal axes")


def pair(kind: str, seed: int, poses: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets (poses, 17, 3), mm, that make alignment hard in some way."""
    random = np.random.default_rng(seed)
    target = random.normal(size=(poses, 17, 3)) * [130, 450, 80]
    predicted = target + 40 * random.normal(size=target.shape)
    if kind == "flat":
        predicted[..., 2] = target[..., 2] = 0
    elif kind == "collinear":
        predicted = random.normal(size=(poses, 17, 1)) * random.normal(size=(poses, 1, 3)) * 300
    elif kind == "almost collinear":
        predicted *= [1e-7, 1, 1e-8]
    elif kind == "mirrored":
        predicted = predicted * [-1, 1, 1]
    elif kind == "turned over":
        predicted = predicted * [-1, -1, 1] + [0, 0, 4000]
    elif kind == "tiny":
        predicted = predicted * 1e-6
    elif kind == "huge":
        predicted = predicted * 1e6
    elif kind == "equal axes":
        target = np.concatenate([np.eye(3), -np.eye(3)])[None] * 300 + np.zeros((poses, 6, 3))
        predicted = target + 1e-3 * random.normal(size=target.shape)
    return predicted, target


def by_svd(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """P-MPJPE with numpy's SVD, as the official programs do it."""
    p, t = predicted - predicted.mean(axis=1, keepdims=True), target - target.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(t.transpose(0, 2, 1) @ p)
    sign = np.ones_like(s)
    sign[:, -1] = np.sign(np.linalg.det(u @ vt))
    rotation = ((u * sign[:, None]) @ vt).transpose(0, 2, 1)
    scale = (s * sign).sum(axis=1) / (p**2).sum(axis=(1, 2))
    return np.linalg.norm(scale[:, None, None] * p @ rotation - t, axis=2).mean(axis=1)


@pytest.mark.parametrize("kind", HARD)
@given(seed=SEEDS)
@example(seed=0)
def test_p_mpjpe_equals_the_svds_to_a_billionth_of_a_millimetre(kind: str, seed: int) -> None:
    predicted, target = pair(kind, seed)
    np.testing.assert_allclose(metrics.p_mpjpe(predicted, target), by_svd(predicted, target), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", HARD)
def test_every_fit_is_a_rotation_and_no_rotation_nearby_fits_better(kind: str) -> None:
    predicted, target = pair(kind, 3)
    fit = metrics.procrustes(predicted, target)
    identity = fit.rotation @ fit.rotation.transpose(0, 2, 1)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(fit.rotation), 1)
    p, t = predicted - predicted.mean(axis=1, keepdims=True), target - target.mean(axis=1, keepdims=True)
    correlation = p.transpose(0, 2, 1) @ t
    gain = (fit.rotation * correlation).sum(axis=(1, 2))
    for axis in range(3):
        turn = np.eye(3)
        turn[np.ix_(*[[a for a in range(3) if a != axis]] * 2)] = [
            [np.cos(0.01), -np.sin(0.01)],
            [np.sin(0.01), np.cos(0.01)],
        ]
        assert ((fit.rotation @ turn * correlation).sum(axis=(1, 2)) <= gain * (1 + 1e-12)).all()


def test_nearly_all_ordinary_poses_go_without_an_svd(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    slow = rotations._by_svd

    def counted(correlation: np.ndarray) -> np.ndarray:
        sent.append(correlation.shape[-1])
        return slow(correlation)

    monkeypatch.setattr(rotations, "_by_svd", counted)
    metrics.p_mpjpe(*pair("ordinary", 1, poses=5000))
    assert sum(sent) < 50
    metrics.p_mpjpe(*pair("collinear", 1, poses=50))
    assert sum(sent) >= 50


def test_a_correlation_of_zero_still_gives_a_rotation() -> None:
    found = rotations.best_rotations(np.zeros((3, 3, 2)))
    np.testing.assert_allclose(np.linalg.det(found.transpose(2, 0, 1)), 1)


@given(SEEDS)
def test_acceleration_error_is_the_velocity_error_of_velocities(seed: int) -> None:
    random = np.random.default_rng(seed)
    predicted, target = random.normal(size=(2, 6, 17, 3))
    expected = metrics.mpjve(np.diff(predicted, axis=0), np.diff(target, axis=0))
    np.testing.assert_allclose(metrics.acceleration_error(predicted, target), expected)
    assert metrics.acceleration_error(predicted[:2], target[:2]).shape == (0,)
    assert metrics.acceleration_error(predicted[:1], target[:1]).shape == (0,)


def test_bone_and_symmetry_errors_worked_by_hand() -> None:
    # A root with a left and a right child: bones of 3 and 5 mm where both should have 4.
    target = np.array([[[0.0, 0, 0], [4, 0, 0], [-4, 0, 0]]])
    predicted = np.array([[[1.0, 0, 0], [4, 0, 0], [-4, 0, 0]]])
    bones = ((0, 1), (0, 2))
    np.testing.assert_array_equal(metrics.bone_lengths(predicted, bones), [[3, 5]])
    np.testing.assert_array_equal(metrics.bone_length_errors(predicted, target, bones), [[1, 1]])
    np.testing.assert_array_equal(metrics.symmetry_errors(predicted, ((0, 1),), ((0, 2),)), [[2]])
    np.testing.assert_array_equal(metrics.symmetry_errors(target, ((0, 1),), ((0, 2),)), [[0]])


@given(SEEDS)
def test_the_trapezoid_auc_is_numpys_integral_of_the_pck_curve(seed: int) -> None:
    random = np.random.default_rng(seed)
    target = 300 * random.normal(size=(5, 17, 3))
    predicted = target + 60 * random.normal(size=target.shape)
    curve = np.stack([metrics.pck(predicted, target, threshold) for threshold in metrics.AUC_THRESHOLDS_MM])
    area = ((curve[1:] + curve[:-1]) / 2 * 5).sum(axis=0) / 150
    np.testing.assert_allclose(metrics.auc_trapezoid(predicted, target), area)
    assert metrics.auc_trapezoid(target, target) == pytest.approx(100 * 29.5 / 30)


@pytest.mark.parametrize("distance", [5 * k * (1 + sign * 2**-52) for k in (1, 3, 7, 29, 30) for sign in (-1, 0, 1)])
def test_auc_counts_a_distance_on_the_edge_of_a_threshold_exactly(distance: float) -> None:
    target, predicted = np.zeros((1, 1, 3)), np.array([[[distance, 0.0, 0.0]]])
    expected = 100 * sum(distance < threshold for threshold in metrics.AUC_THRESHOLDS_MM) / 31
    assert metrics.auc(predicted, target) == pytest.approx(expected)
