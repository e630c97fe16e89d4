"""Switches that only some protocols have, one file under all of them, and which reports may be compared."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged_tables import labels_of, predictions_of

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.all_protocols import evaluate_all
from h36m_toolbox.benchmarks.evaluator import evaluate, judge, ruled_poses
from h36m_toolbox.benchmarks.manifests import covered, manifest_of, official_manifest
from h36m_toolbox.benchmarks.protocols import DAMAGED_S9, PROTOCOLS
from h36m_toolbox.benchmarks.reports import FIGURES, comparable, differences
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import row_keys, sequence_code
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, TEST_SUBJECTS, Recording, Sequence, sequences
from h36m_toolbox.skeletons import H36M_16, H36M_17, LSP_14

RECORDINGS = [Recording(subject, action, 1) for subject in TEST_SUBJECTS for action in ACTIONS]
INSTANTS = "learnable-triangulation-relative"
Poses = dict[Sequence, np.ndarray]


@pytest.fixture(scope="module")
def truth() -> Poses:
    """Six frames of all views of a recording of each action and subject, camera frame, float32 mm."""
    random = np.random.default_rng(0)
    return {
        view: ([0, 0, 4000] + 300 * random.normal(size=(6, 17, 3))).astype(np.float32)
        for recording in RECORDINGS
        for view in recording.views
    }


@pytest.fixture(scope="module")
def predicted(truth: Poses) -> Poses:
    """Root-relative poses, each joint off by some noise."""
    random = np.random.default_rng(1)
    return {
        view: (poses - poses[:, :1] + 30 * random.normal(size=poses.shape)).astype(np.float32)
        for view, poses in truth.items()
    }


def test_frames_with_an_error_of_exactly_0_are_left_out_where_the_protocol_skips_them(tmp_path: Path, truth) -> None:
    absolute = {view: poses.copy() for view, poses in truth.items()}
    for poses in absolute.values():
        poses[2:, 5] += 32
    predictions = predictions_of(tmp_path, absolute, root="absolute")
    report = evaluate(predictions, labels_of(truth), PROTOCOLS["motionbert"])
    views = [view for view in truth if view.recording not in DAMAGED_S9]
    assert (report.frames_scored, report.frames_skipped, report.frames_expected) == tuple(
        len(views) * frames for frames in (4, 2, 6)
    )
    assert report.headline.mpjpe == pytest.approx(32 * np.sqrt(3) / 17, abs=1e-3)
    assert "240 with an error of exactly 0" not in report.to_markdown()
    assert f"{2 * len(views)} with an error of exactly 0 are left out" in report.to_markdown()
    everything = evaluate(predictions, labels_of(truth), PROTOCOLS["martinez-all-frames"])
    assert everything.headline.mpjpe == pytest.approx(4 / 6 * 32 * np.sqrt(3) / 17, abs=1e-3)


def test_a_file_that_is_the_labels_has_nothing_left_to_score_where_exact_hits_are_skipped(tmp_path, truth) -> None:
    with pytest.raises(H36MError, match="every error is exactly 0, and protocol motionbert skips"):
        evaluate(predictions_of(tmp_path, truth, root="absolute"), labels_of(truth), PROTOCOLS["motionbert"])


def test_only_the_frontal_camera_and_14_joints_count_about_a_pelvis_that_does_not(tmp_path, truth, predicted) -> None:
    protocol = PROTOCOLS["frontal-camera"]
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), protocol)
    views = [view for view in truth if view.camera == "60457274"]
    errors = [
        metrics.mpjpe(
            *(H36M_17.select(poses - poses[:, :1], LSP_14.joints) for poses in (predicted[view], truth[view]))
        )
        for view in views
    ]
    assert report.frames_scored == 2 * len(views)  # frames 0 and 5
    assert report.headline.mpjpe == pytest.approx(np.concatenate([e[::5] for e in errors]).mean(), rel=1e-6)
    assert {row.joint for row in report.per_joint} == set(LSP_14.joints)
    assert report.headline.bone_length > 0


def test_relative_poses_without_a_pelvis_are_taken_as_they_are(tmp_path: Path, truth, predicted) -> None:
    centred = {view: poses - poses[:, :1] for view, poses in predicted.items()}
    fourteen = {view: H36M_17.select(poses, LSP_14.joints) for view, poses in centred.items()}
    labels, protocol = labels_of(truth), PROTOCOLS["frontal-camera"]
    whole = evaluate(predictions_of(tmp_path, centred), labels, protocol)
    without = evaluate(predictions_of(tmp_path, fourteen, LSP_14), labels, protocol)
    assert without.headline.mpjpe == pytest.approx(whole.headline.mpjpe)
    with pytest.raises(H36MError, match="absolute and without Hip"):
        evaluate(predictions_of(tmp_path, fourteen, LSP_14, root="absolute"), labels, protocol)


def turned(truth: Poses) -> Poses:
    """The same pose in every view of an instant, as each camera sees it: turned about the root."""
    first = {view.recording: poses for view, poses in truth.items() if view.camera == CAMERA_IDS[0]}
    spins = {
        camera: np.linalg.qr(np.random.default_rng(i).normal(size=(3, 3)))[0] for i, camera in enumerate(CAMERA_IDS)
    }
    return {view: ((first[view.recording]) @ spins[view.camera]).astype(np.float32) for view in truth}


def test_an_instant_counts_once_from_whichever_camera_has_it(tmp_path: Path, truth, predicted) -> None:
    labels, poses = labels_of(turned(truth)), turned(predicted)
    protocol = PROTOCOLS[INSTANTS]
    one_camera = {view: values[:1] for view, values in poses.items() if view.camera == CAMERA_IDS[2]}
    all_cameras = {view: values[:1] for view, values in poses.items()}
    one = evaluate(predictions_of(tmp_path, one_camera), labels, protocol)
    every = evaluate(predictions_of(tmp_path, all_cameras), labels, protocol)
    assert one.frames_scored == every.frames_scored == one.frames_expected == len(RECORDINGS)
    assert one.headline.mpjpe == pytest.approx(every.headline.mpjpe, abs=1e-3)
    assert comparable(one, every)
    assert not one.incomplete
    fewer = {view: values for view, values in one_camera.items() if view.subject == "S9"}
    missing = evaluate(predictions_of(tmp_path, fewer), labels, protocol)
    assert missing.problems[0].startswith("15 of 30 frames have no prediction, the first is S11/")


def test_views_that_disagree_are_no_multi_view_predictions(tmp_path: Path, truth, predicted) -> None:
    with pytest.raises(H36MError, match=r"one pose an instant, but 90 views have another pose"):
        evaluate(predictions_of(tmp_path, predicted), labels_of(truth), PROTOCOLS[INSTANTS])


def test_absolute_positions_are_scored_only_of_absolute_predictions(tmp_path: Path, truth, predicted) -> None:
    protocol, labels = PROTOCOLS["learnable-triangulation-absolute"], labels_of(truth)
    first = {view: poses for view, poses in truth.items() if view.camera == CAMERA_IDS[0]}
    shifted = predictions_of(tmp_path, {view: poses + 8 for view, poses in first.items()}, root="absolute")
    assert evaluate(shifted, labels, protocol).headline.mpjpe == pytest.approx(8 * np.sqrt(3), abs=1e-3)
    assert evaluate(shifted, labels, PROTOCOLS[INSTANTS]).headline.mpjpe == pytest.approx(0, abs=1e-3)
    with pytest.raises(
        H36MError, match="relative to the root, protocol learnable-triangulation-absolute scores absolute"
    ):
        evaluate(predictions_of(tmp_path, predicted), labels, protocol)


def test_pck_at_thresholds_of_ones_own(tmp_path: Path, truth, predicted) -> None:
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), PROTOCOLS["strict"], (50.0, 150.0))
    assert [point.threshold_mm for point in report.pck] == [50, 150]
    assert report.pck[1].percent == report.headline.pck150
    wanted = [
        metrics.pck(predicted[view] - predicted[view][:, :1], truth[view] - truth[view][:, :1], 50.0) for view in truth
    ]
    assert report.pck[0].percent == pytest.approx(np.concatenate(wanted).mean(), rel=1e-4)
    assert "| 50 | " in report.to_markdown()
    assert json.loads(report.to_json())["pck"][0]["threshold_mm"] == 50


def test_medians_percentiles_bones_and_every_group_are_those_of_the_frames(tmp_path: Path, truth, predicted) -> None:
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), PROTOCOLS["strict"])
    pairs = {view: [(poses - poses[:, :1]).astype(float) for poses in (predicted[view], truth[view])] for view in truth}
    errors = {view: metrics.mpjpe(*pair) for view, pair in pairs.items()}
    everything = np.concatenate(list(errors.values()))
    assert report.headline.mpjpe_median == pytest.approx(np.median(everything))
    assert report.headline.mpjpe_p90 == pytest.approx(np.percentile(everything, 90))
    bones = np.concatenate([metrics.bone_length_errors(*pair, H36M_17.bones).mean(axis=1) for pair in pairs.values()])
    assert report.headline.bone_length == pytest.approx(bones.mean())
    rigid = np.concatenate([metrics.pa_mpjpe_rigid(*pair) for pair in pairs.values()])
    assert report.headline.pa_mpjpe_rigid == pytest.approx(rigid.mean())
    acceleration = np.concatenate([metrics.acceleration_error(*pair) for pair in pairs.values()])
    assert report.headline.acceleration == pytest.approx(acceleration.mean())
    assert [row.name for row in report.per_subaction] == [f"{action} 1" for action in ACTIONS]
    assert {row.name: row.frames for row in report.per_camera} == dict.fromkeys(CAMERA_IDS, 180)
    camera = np.concatenate([values for view, values in errors.items() if view.camera == CAMERA_IDS[1]])
    assert report.per_camera[1].figures.mpjpe == pytest.approx(camera.mean())
    wrists = np.concatenate([metrics.joint_errors(*pair)[:, 16] for pair in pairs.values()])
    assert report.per_joint[16].mpjpe_p90 == pytest.approx(np.percentile(wrists, 90), rel=1e-6)


def test_the_errors_behind_a_report_are_named_by_frame_and_joint(tmp_path: Path, truth, predicted) -> None:
    protocol, labels = PROTOCOLS["frontal-camera"], labels_of(truth)
    predictions = predictions_of(tmp_path, predicted)
    judged = judge(predictions, labels, protocol)
    assert judged.report.headline == evaluate(predictions, labels, protocol).headline
    score = judged.scores[0]
    poses = [
        ruled_poses(poses[score.sequence], H36M_17, protocol, rule)
        for poses, rule in ((predicted, protocol.predicted_root), (truth, protocol.target_root))
    ]
    np.testing.assert_array_equal(score.numbers, [0, 5])
    np.testing.assert_allclose(score.joints[0].T, metrics.joint_errors(*poses)[[0, 5]], rtol=1e-5)


def test_symmetry_is_of_the_left_and_right_bones_of_the_prediction(tmp_path: Path, truth) -> None:
    lopsided = {view: (poses - poses[:, :1]).copy() for view, poses in truth.items()}
    report = evaluate(predictions_of(tmp_path, lopsided), labels_of(truth), PROTOCOLS["semgcn"])
    sixteen = [H36M_17.select(poses, H36M_16.joints) for poses in lopsided.values()]
    left = tuple(bone for bone in H36M_16.bones if bone[1] in H36M_16.left)
    mirror = dict(zip((*H36M_16.left, *H36M_16.right), (*H36M_16.right, *H36M_16.left), strict=True))
    right = tuple((mirror.get(parent, parent), mirror[child]) for parent, child in left)
    expected = np.concatenate([metrics.symmetry_errors(poses, left, right).mean(axis=1) for poses in sixteen]).mean()
    assert report.headline.symmetry == pytest.approx(expected, rel=1e-5)


def test_one_file_is_scored_under_every_protocol_that_fits_it(tmp_path: Path, truth, predicted) -> None:
    table = evaluate_all(predictions_of(tmp_path, predicted), labels_of(truth))
    assert [row.protocol.name for row in table.rows] == list(PROTOCOLS)
    unfit = {row.protocol.name: row.reason for row in table.rows if row.report is None}
    assert set(unfit) == {INSTANTS, "learnable-triangulation-absolute", "challenge-2018", "martinez"}
    assert "whole batches of 64" in unfit["martinez"]
    assert all(unfit.values())
    single = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), PROTOCOLS["semgcn"])
    assert next(report for report in table.reports if report.protocol.name == "semgcn").headline == single.headline
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [line["protocol"] for line in lines] == list(PROTOCOLS)
    assert float(lines[1]["mpjpe"]) == single.headline.mpjpe
    assert set(FIGURES) <= set(lines[0])
    text = table.to_markdown()
    assert f"| semgcn | {single.headline.mpjpe:.2f} |" in text
    assert "challenge-2018 scores" in text
    assert "predicted root" in text


def test_all_protocols_can_be_asked_of_other_subjects(tmp_path: Path, truth, predicted) -> None:
    others = [
        {Sequence("S8", v.action, 1, v.camera): poses for v, poses in d.items() if v.subject == "S9"}
        for d in (truth, predicted)
    ]
    table = evaluate_all(predictions_of(tmp_path, others[1]), labels_of(others[0]), ("S8",))
    reasons = {row.protocol.name: row.reason for row in table.rows}
    assert reasons["videopose3d@S8"] == ""
    assert "needs the 32 joints" in reasons["contextpose"]


def test_predictions_that_fit_no_protocol_are_refused_with_every_reason(tmp_path: Path, truth, predicted) -> None:
    with pytest.raises(H36MError, match=r"no protocol fits .* semgcn: labels: none"):
        evaluate_all(predictions_of(tmp_path, predicted), labels_of(truth).slice(0, 0))


def test_reports_compare_only_with_the_same_protocol_version_and_frames(tmp_path: Path, truth, predicted) -> None:
    labels, strict = labels_of(truth), PROTOCOLS["strict"]
    whole = evaluate(predictions_of(tmp_path, predicted), labels, strict)
    other = evaluate(predictions_of(tmp_path, {view: poses * 1.1 for view, poses in predicted.items()}), labels, strict)
    assert comparable(whole, other)
    short = dict(predicted)
    short[next(iter(short))] = short[next(iter(short))][:4]
    part = evaluate(predictions_of(tmp_path, short), labels, strict)
    assert not comparable(whole, part)
    assert part.expected == whole.manifest != part.manifest
    assert differences(whole, part)[0].startswith("different frames: 720 and 718")
    elsewhere = evaluate(predictions_of(tmp_path, predicted), labels, PROTOCOLS["videopose3d"])
    assert differences(whole, elsewhere) == ("protocols strict and videopose3d",)
    newer = replace(whole, protocol=replace(strict, version=2))
    assert differences(whole, newer) == ("versions 1 and 2 of strict",)


def test_a_manifest_counts_the_frames_of_each_sequence_in_any_order_of_rows(truth: Poses) -> None:
    keys = row_keys(labels_of(truth))
    manifest = manifest_of(keys, PROTOCOLS["strict"])
    assert manifest.frames == 720
    assert dict(manifest.sequences) == {str(view): 6 for view in truth}
    assert manifest_of(keys[::-1], PROTOCOLS["strict"]) == manifest
    assert manifest_of(keys[:-1], PROTOCOLS["strict"]).sha256 != manifest.sha256
    instants = manifest_of(keys, PROTOCOLS[INSTANTS])
    assert instants.frames == 180
    assert set(dict(instants.sequences).values()) == {6}
    assert len(instants.sequences) == len(RECORDINGS)


def test_the_real_test_set_is_recognised_by_its_hash() -> None:
    protocol = PROTOCOLS["videopose3d"]
    keys = np.concatenate(
        [sequence_code(view) << 32 | np.arange(view.recording.pose_frames) for view in sequences(TEST_SUBJECTS)]
    )
    manifest = manifest_of(keys[covered(keys, protocol)], protocol)
    assert manifest.name == "videopose3d/official"
    assert manifest == official_manifest(protocol)
    assert manifest.sha256 == "83632b3f0a4e0870fbcda5e2f36c0dd8096cfc29ed3b2bef32941bba9c582f05"
    assert dict(manifest.sequences)["S9/Greeting.54138969"] == 1447
