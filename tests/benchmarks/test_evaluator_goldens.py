"""The protocols of image-based systems against the numbers that their own evaluators gave on the same poses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged_tables import GOLDENS, labels_of, predictions_of

from h36m_toolbox.benchmarks.evaluator import evaluate, evaluate_poses
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.benchmarks.switches import AfterFit, Velocity
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, INTEGRAL_18, MULTIVIEW_17

Poses = dict[Sequence, np.ndarray]


def by_sequence(views: list[Sequence], frames: np.ndarray, poses: np.ndarray) -> tuple[Poses, dict]:
    """Poses and frame numbers of each sequence, from one view and frame a row."""
    rows: dict[Sequence, list[int]] = {}
    for row, view in enumerate(views):
        rows.setdefault(view, []).append(row)
    return (
        {view: poses[places].astype(np.float32) for view, places in rows.items()},
        {view: np.asarray(frames[places], int) for view, places in rows.items()},
    )


def multiview_report(tmp_path: Path, case: str, name: str) -> tuple[Report, np.lib.npyio.NpzFile]:
    """A report on the poses of a golden of learnable triangulation's family; the world is the camera's frame here."""
    golden = np.load(GOLDENS / f"{case}.npz")
    cameras = golden["camera"] if "camera" in golden else np.zeros(len(golden["frame"]), int)
    views = [
        Sequence(str(subject), str(action).split("-")[0], int(str(action)[-1]), CAMERA_IDS[camera])
        for subject, action, camera in zip(golden["subject"], golden["action"], cameras, strict=True)
    ]
    predicted, frames = by_sequence(views, golden["frame"], golden["predicted"])
    target, _ = by_sequence(views, golden["frame"], H36M_17_FROM_MULTIVIEW(golden["target"]))
    predictions = predictions_of(tmp_path, predicted, MULTIVIEW_17, frames, root="absolute")
    return evaluate(predictions, labels_of(target, frames), PROTOCOLS[name]), golden


def H36M_17_FROM_MULTIVIEW(poses: np.ndarray) -> np.ndarray:  # noqa: N802
    return MULTIVIEW_17.select(poses, H36M_17.joints)


def assert_table(report: Report, table: np.ndarray, golden: np.lib.npyio.NpzFile) -> None:
    """Headline, subjects and actions of a report against the official table (subjects and average, actions)."""
    rows, columns = list(golden["rows"]), list(golden["columns"])
    assert report.headline.mpjpe == pytest.approx(table[0, 0], rel=1e-6, abs=1e-3)
    for row in report.per_subject:
        assert row.figures.mpjpe == pytest.approx(table[rows.index(row.name), 0], rel=1e-6, abs=1e-3)
    for row in report.per_action:
        assert row.figures.mpjpe == pytest.approx(table[0, columns.index(row.name)], rel=1e-6, abs=1e-3)
    assert len(report.per_action) == len(ACTIONS)


def test_contextpose_averages_frames_of_single_views_relative_to_the_pelvis(tmp_path: Path) -> None:
    report, golden = multiview_report(tmp_path, "contextpose_eval", "contextpose")
    assert report.frames_scored == 239  # S11 Directions 2 has three views
    assert_table(report, golden["relative"], golden)
    assert report.headline.mpjpe == pytest.approx(float(golden["metric"]), abs=1e-3)
    assert np.isnan(report.headline.p_mpjpe)
    assert report.without_damaged is not None
    assert report.without_damaged.mpjpe != report.headline.mpjpe


def test_learnable_triangulation_scores_one_pose_an_instant_damaged_ones_included(tmp_path: Path) -> None:
    report, golden = multiview_report(tmp_path, "lt_evaluate", "learnable-triangulation-relative")
    assert report.frames_scored == report.frames_expected == 120
    assert_table(report, golden["relative"], golden)
    assert report.headline.mpjpe == pytest.approx(float(golden["metric"]), abs=1e-3)


def test_learnable_triangulation_scores_absolute_positions_without_the_damaged_recordings(tmp_path: Path) -> None:
    report, golden = multiview_report(tmp_path, "lt_evaluate", "learnable-triangulation-absolute")
    assert report.frames_scored == 120 - 6 == 120 - report.frames_ignored
    report, golden = multiview_report(tmp_path, "lt_evaluate_nodamaged", "learnable-triangulation-absolute")
    assert report.frames_scored == 116
    assert_table(report, golden["absolute"], golden)


def test_ca_poseformer_pools_trials_and_strings_their_videos_together(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "poseformer_eval.npz")
    views = [
        Sequence(f"S{subject}", ACTIONS[action - 2], int(subaction), CAMERA_IDS[camera])
        for subject, action, subaction, camera in zip(
            *(golden[name] for name in ("subject", "action", "subaction", "camera_id")), strict=True
        )
    ]
    predicted, frames = by_sequence(views, golden["image_id"] - 1, golden["predicted"] * 1000)
    target, _ = by_sequence(views, golden["image_id"] - 1, golden["target"] * 1000)
    predictions, labels = predictions_of(tmp_path, predicted, H36M_17, frames), labels_of(target, frames)
    protocol = replace(PROTOCOLS["ca-poseformer"], dropped=())  # the golden has poses of S11 Directions 2
    report = evaluate(predictions, labels, protocol)
    assert report.frames_scored == 298
    rows = [(row.figures.mpjpe, row.figures.p_mpjpe, row.figures.mpjve) for row in report.per_action]
    assert [row.name for row in report.per_action] == list(ACTIONS)
    for column, tolerance in enumerate((2e-6, 2e-5, 2e-6)):  # the official program works in float32
        official = golden["per_action"][:, column] * 1000
        np.testing.assert_allclose(np.array(rows)[:, column], official, rtol=tolerance)
    headline = (report.headline.mpjpe, report.headline.p_mpjpe, report.headline.mpjve)
    np.testing.assert_allclose(headline, golden["average_mm"], rtol=2e-5)
    within = evaluate(predictions, labels, replace(protocol, velocity=Velocity.WITHIN_VIDEOS))
    assert within.headline.mpjve != pytest.approx(report.headline.mpjve, rel=1e-3)


def test_integral_counts_the_zero_root_and_reroots_after_a_rigid_fit_on_18_joints(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "integral_eval.npz")
    figures = evaluate_poses(golden["predicted"], golden["target"], INTEGRAL_18, INTEGRAL_18, PROTOCOLS["integral"])
    assert figures.mpjpe == pytest.approx(float(golden["hm36_17j"]), abs=1e-9)
    assert figures.p_mpjpe == pytest.approx(float(golden["hm36_17j_align"]), abs=1e-9)

    view = Sequence("S9", "Eating", 1, CAMERA_IDS[0])
    predictions = predictions_of(tmp_path, {view: golden["predicted"]}, INTEGRAL_18, root="absolute")
    report = evaluate(predictions, labels_of({view: golden["target"][:, :17]}), PROTOCOLS["integral"])
    assert report.headline.mpjpe == pytest.approx(float(golden["hm36_17j"]), abs=1e-2)
    assert report.headline.p_mpjpe == pytest.approx(float(golden["hm36_17j_align"]), abs=1e-2)
    groups = {"Hip": ("RHip", "LHip"), "Wrist": ("LWrist", "RWrist"), "Torso": ("Spine",), "root": ("Hip",)}
    by_joint = {row.joint: row.mpjpe for row in report.per_joint}
    for group, joints in groups.items():
        assert np.mean([by_joint[joint] for joint in joints]) == pytest.approx(float(golden[f"hm36_{group}"]), abs=1e-2)
    assert report.incomplete
    assert "not published" in report.problems[0]


def test_an_integral_prediction_without_the_18th_joint_has_it_halfway_between_the_shoulders() -> None:
    golden = np.load(GOLDENS / "integral_eval.npz")
    seventeen = golden["predicted"][:, :17]
    shoulders = H36M_17.select(seventeen, ("LShoulder", "RShoulder")).mean(axis=1, keepdims=True)
    eighteen = np.concatenate([seventeen, shoulders], axis=1)
    target, protocol = golden["target"], PROTOCOLS["integral"]
    assert evaluate_poses(seventeen, target, H36M_17, INTEGRAL_18, protocol) == evaluate_poses(
        eighteen, target, INTEGRAL_18, INTEGRAL_18, protocol
    )


def test_the_challenge_scores_arrays_and_does_not_reroot_after_the_fit(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "integral_eval.npz")
    protocol, target = PROTOCOLS["challenge-2018"], golden["target"] - golden["target"][:, :1]
    figures = evaluate_poses(golden["predicted"], target, INTEGRAL_18, INTEGRAL_18, protocol)
    rerooted = replace(protocol, after_fit=AfterFit.REROOT)
    assert figures.mpjpe == pytest.approx(float(golden["hm36_17j"]), abs=1e-9)
    assert evaluate_poses(golden["predicted"], target, INTEGRAL_18, INTEGRAL_18, rerooted).p_mpjpe == pytest.approx(
        float(golden["hm36_17j_align"]), abs=1e-9
    )
    assert figures.p_mpjpe < float(golden["hm36_17j_align"]) - 1
    view = Sequence("S9", "Eating", 1, CAMERA_IDS[0])
    poses = {view: golden["target"][:, :17]}
    with pytest.raises(H36MError, match=r"challenge-2018 scores the 19,312 images of CHALL_H80K Val.*evaluate_poses"):
        evaluate(predictions_of(tmp_path, poses), labels_of(poses), protocol)


def test_arrays_that_do_not_fit_are_refused() -> None:
    poses = np.random.default_rng(0).normal(size=(3, 17, 3))
    with pytest.raises(H36MError, match="3 predicted poses and 2 target poses"):
        evaluate_poses(poses, poses[:2], H36M_17, H36M_17, PROTOCOLS["strict"])
    with pytest.raises(H36MError, match="scores Neck/Nose"):
        evaluate_poses(poses[:, :16], poses, H36M_16, H36M_17, PROTOCOLS["strict"])
