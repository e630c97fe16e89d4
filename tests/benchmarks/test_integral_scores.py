"""The official program's 16 figures, pose by pose, from patches to millimetres and from arrays."""

import csv

import numpy as np
import pytest
from integral_goldens import Golden, golden

from h36m_toolbox.benchmarks.evaluator import evaluate_poses
from h36m_toolbox.benchmarks.integral_scores import (
    FIGURES,
    integral_joint_errors,
    integral_scores,
    per_action_csv,
    per_joint_csv,
)
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.patches import Patch, in_camera, in_image
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18


@pytest.fixture(scope="module")
def case() -> Golden:
    return golden("hm36_eval")


@pytest.fixture(scope="module")
def poses(case: Golden) -> tuple[np.ndarray, np.ndarray]:
    """Predicted, from the patch, and true poses in the camera frame."""
    lens = case.given("db.fl"), case.given("db.c_p"), case.given("db.pelvis")[:, 2]
    seen = in_image(case.given("preds_in_patch")[..., :3], case.boxes("input.db"), Patch())
    np.testing.assert_allclose(seen, case.expected("preds_in_image")[..., :3], rtol=1e-9, atol=1e-9)
    found = in_camera(seen, *lens)
    np.testing.assert_allclose(found, case.expected("preds_camera"), rtol=1e-9, atol=1e-9)
    return found, in_camera(case.given("db.joints_3d"), *lens)


def test_every_figure_of_every_pose(case: Golden, poses: tuple[np.ndarray, np.ndarray]) -> None:
    assert list(FIGURES) == case.facts["config"]["metric_names"]
    scores = integral_scores(*poses)
    assert list(scores) == list(FIGURES)
    found = np.stack(list(scores.values()), axis=1)
    np.testing.assert_allclose(found, case.expected("metrics_per_sample"), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.mean(axis=0), case.expected("metrics"), rtol=1e-9, atol=1e-9)


def test_each_joint_and_each_action_have_the_official_figures(
    case: Golden, poses: tuple[np.ndarray, np.ndarray]
) -> None:
    official = dict(zip(FIGURES, case.expected("metrics"), strict=True))
    joints = {row["joint"]: row for row in csv.DictReader(per_joint_csv(integral_joint_errors(*poses)).splitlines())}
    assert list(joints) == list(INTEGRAL_18.joints)
    singles = {"root": "Hip", "Torso": "Spine", "Neck": "Thorax", "Nose": "Neck/Nose", "Head": "Head"}
    for name, joint in singles.items():
        assert float(joints[joint]["error"]) == pytest.approx(official[f"hm36_{name}"], rel=1e-9, abs=1e-9)
    limbs = {"Hip": "Hip", "Knee": "Knee", "Ankle": "Foot", "Shoulder": "Shoulder", "Elbow": "Elbow", "Wrist": "Wrist"}
    for name, limb in limbs.items():
        both = [float(joints[f"{side}{limb}"]["error"]) for side in "LR"]
        assert np.mean(both) == pytest.approx(official[f"hm36_{name}"], rel=1e-9)
    for kind in ("align", "x", "y", "z"):
        mean = np.mean([float(joints[joint][f"error_{kind}"]) for joint in H36M_17.joints])
        assert mean == pytest.approx(official[f"hm36_17j_{kind}"], rel=1e-9)
    actions = np.array(["Walking", "Eating", "Eating"] * 4)
    rows = {row["action"]: row for row in csv.DictReader(per_action_csv(integral_scores(*poses), actions).splitlines())}
    assert list(rows) == ["Eating", "Walking", "all"]
    assert [row["frames"] for row in rows.values()] == ["8", "4", "12"]
    for action, row in rows.items():
        chosen = np.ones(12, bool) if action == "all" else actions == action
        expected = case.expected("metrics_per_sample")[chosen].mean(axis=0)
        np.testing.assert_allclose([float(row[figure]) for figure in FIGURES], expected, rtol=1e-9, atol=1e-9)


def test_the_protocols_say_the_same(poses: tuple[np.ndarray, np.ndarray]) -> None:
    for name, challenge in (("integral", False), ("challenge-2018", True)):
        scores = integral_scores(*poses, challenge)
        figures = evaluate_poses(*poses, INTEGRAL_18, INTEGRAL_18, PROTOCOLS[name])
        assert figures.mpjpe == pytest.approx(scores["hm36_17j"].mean(), rel=1e-9)
        assert figures.p_mpjpe == pytest.approx(scores["hm36_17j_align"].mean(), rel=1e-9)


def test_the_challenge_leaves_the_true_root_where_it_is(poses: tuple[np.ndarray, np.ndarray]) -> None:
    found, true = poses
    centred = true - true[:, :1]
    moved = centred + np.array([30.0, 0, 0])
    assert integral_scores(found, moved, challenge=True)["hm36_root"] == pytest.approx(30)
    assert integral_scores(found, moved)["hm36_root"] == pytest.approx(0)


def test_poses_that_cannot_be_scored_are_refused(poses: tuple[np.ndarray, np.ndarray]) -> None:
    found, true = poses
    with pytest.raises(H36MError, match=r"expected \(n, 18, 3\) twice"):
        integral_scores(found[:, :17], true[:, :17])
    flat = found.copy()
    flat[3] = 7.0
    with pytest.raises(H36MError, match=r"pose 3 .* 1 such poses"):
        integral_scores(flat, true)
