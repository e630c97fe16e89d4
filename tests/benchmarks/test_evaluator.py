import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from judged_tables import PROVENANCE, labels_of, prediction_table, predictions_of

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.evaluator import evaluate
from h36m_toolbox.benchmarks.predictions import Predictions
from h36m_toolbox.benchmarks.protocols import PROTOCOLS, Protocol
from h36m_toolbox.benchmarks.reports import FIGURES, Report
from h36m_toolbox.benchmarks.switches import Alignment, Damaged, Mean, Samples, every_nth
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import row_keys
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, MULTIVIEW_17

VIDEOPOSE3D, STRICT = PROTOCOLS["videopose3d"], PROTOCOLS["strict"]
Poses = dict[Sequence, np.ndarray]


def truth_of(lengths: dict[Recording, int], seed: int = 0) -> Poses:
    """Camera-frame poses, float32 mm, of all four views of recordings of these lengths."""
    random = np.random.default_rng(seed)
    return {
        view: (np.array([0, 0, 4000.0]) + 300 * random.normal(size=(frames, 17, 3))).astype(np.float32)
        for recording, frames in lengths.items()
        for view in recording.views
    }


def predicted_of(truth: Poses, noise_mm: float = 30.0, seed: int = 1) -> Poses:
    """Root-relative poses, off by some noise that includes the root."""
    random = np.random.default_rng(seed)
    return {
        view: (poses - poses[:, :1] + noise_mm * random.normal(size=poses.shape)).astype(np.float32)
        for view, poses in truth.items()
    }


ALL_ACTIONS = {Recording(subject, action, 1): 3 for subject in ("S9", "S11") for action in ACTIONS}
FEW = {
    Recording("S9", "Directions", 1): 5,
    Recording("S9", "Waiting", 1): 4,  # a damaged one
    Recording("S9", "Waiting", 2): 2,
    Recording("S11", "Waiting", 1): 7,
    Recording("S11", "Directions", 2): 6,  # usually dropped
}


def only(protocol: Protocol, poses: Poses) -> Poses:
    return {view: values for view, values in poses.items() if view.recording not in protocol.dropped_recordings}


VIEWS = [protocol for protocol in PROTOCOLS.values() if protocol.subjects and protocol.samples is Samples.VIEWS]


@pytest.mark.parametrize("protocol", VIEWS, ids=lambda protocol: protocol.name)
def test_a_perfect_prediction_has_no_error_under_any_protocol(tmp_path: Path, protocol: Protocol) -> None:
    truth = truth_of(ALL_ACTIONS)
    perfect = predictions_of(tmp_path, {view: poses - poses[:, :1] for view, poses in truth.items()})
    protocol = replace(protocol, batch_remainder=1, frames=replace(protocol.frames, step=1))
    report = evaluate(perfect, labels_of(truth), protocol)
    assert report.incomplete != protocol.frames.published
    assert report.frames_scored == report.frames_expected == sum(frames for _, frames in report.expected.sequences)
    figures = report.headline
    assert np.nanmax([figures.mpjpe, figures.p_mpjpe, figures.n_mpjpe, figures.pa_mpjpe_rigid]) < 1e-3
    assert max(figures.mpjve, figures.acceleration, figures.bone_length, figures.mpjpe_p90) < 1e-3
    assert figures.pck150 == 100
    assert figures.auc == pytest.approx(100 * 30 / 31)
    assert figures.auc_trapezoid == pytest.approx(100 * 29.5 / 30)


def test_figures_are_the_means_of_metrics_over_frames_actions_and_subjects(tmp_path: Path) -> None:
    truth = truth_of(FEW)
    predicted = predicted_of(truth)
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), VIDEOPOSE3D)
    scored = {view: poses.astype(float) for view, poses in only(VIDEOPOSE3D, truth).items()}
    relative = {view: poses - poses[:, :1] for view, poses in scored.items()}

    def mean_over(metric, **wanted: str) -> float:
        views = [view for view in scored if all(getattr(view, key) == value for key, value in wanted.items())]
        values = [metric(predicted[view].astype(float), relative[view]) for view in views]
        return float(np.concatenate(values).mean())

    by_action = {row.name: row for row in report.per_action}
    assert list(by_action) == ["Directions", "Waiting"]
    assert [by_action["Directions"].frames, by_action["Waiting"].frames] == [20, 52]
    for name, metric in {
        "mpjpe": metrics.mpjpe,
        "p_mpjpe": metrics.p_mpjpe,
        "n_mpjpe": metrics.n_mpjpe,
        "pck150": metrics.pck,
        "auc": metrics.auc,
    }.items():
        actions = [mean_over(metric, action=action) for action in by_action]
        assert [getattr(row.figures, name) for row in report.per_action] == pytest.approx(actions)
        assert getattr(report.headline, name) == pytest.approx(np.mean(actions))
        assert getattr(report.other_mean, name) == pytest.approx(mean_over(metric))
        subjects = {row.name: getattr(row.figures, name) for row in report.per_subject}
        assert subjects["S11"] == pytest.approx(mean_over(metric, subject="S11"))
        halves = [mean_over(metric, subject="S9", action=action) for action in by_action]
        assert subjects["S9"] == pytest.approx(np.mean(halves))
    assert np.mean([row.mpjpe for row in report.per_joint]) == pytest.approx(report.headline.mpjpe)
    assert np.mean([row.p_mpjpe for row in report.per_joint]) == pytest.approx(report.headline.p_mpjpe)
    assert [row.joint for row in report.per_joint] == list(H36M_17.joints)
    assert len(report.per_sequence) == 16


def test_velocity_is_pooled_by_frames_of_each_sequence_as_videopose3d_does(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Waiting", 1): 2, Recording("S11", "Waiting", 1): 6})
    predicted = predicted_of(truth)
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), VIDEOPOSE3D)
    means = [
        metrics.mpjve(predicted[view].astype(float), (truth[view] - truth[view][:, :1]).astype(float)).mean()
        for view in truth
    ]
    assert report.headline.mpjve == pytest.approx(np.average(means, weights=[2] * 4 + [6] * 4), rel=1e-5)


def test_a_frame_mean_in_the_headline_puts_the_action_mean_beside_it(tmp_path: Path) -> None:
    truth = truth_of(FEW)
    predictions = predictions_of(tmp_path, predicted_of(truth))
    by_action = evaluate(predictions, labels_of(truth), VIDEOPOSE3D)
    by_frame = evaluate(predictions, labels_of(truth), replace(VIDEOPOSE3D, mean=Mean.FRAME))
    assert (by_frame.headline, by_frame.other_mean) == (by_action.other_mean, by_action.headline)
    assert by_frame.per_action == by_action.per_action


def test_root_rules_give_the_numbers_worked_by_hand(tmp_path: Path) -> None:
    # The target is at rest; every predicted joint is 16 mm off along x, the root 6 mm.
    truth = truth_of({Recording("S9", "Eating", 1): 3})
    offset = np.full((17, 3), [16.0, 0, 0])
    offset[0, 0] = 6
    shifted = predictions_of(tmp_path, {view: poses - poses[:, :1] + offset for view, poses in truth.items()})

    def mpjpe(name: str) -> float:
        return evaluate(shifted, labels_of(truth), replace(PROTOCOLS[name], batch_remainder=1)).headline.mpjpe

    assert mpjpe("videopose3d") == pytest.approx((6 + 16 * 16) / 17, abs=1e-3)
    assert mpjpe("semgcn") == pytest.approx(15 * 16 / 16, abs=1e-3)
    assert mpjpe("semgcn-centred") == pytest.approx(15 * 10 / 16, abs=1e-3)
    assert mpjpe("martinez-all-frames") == mpjpe("martinez") == mpjpe("strict") == pytest.approx(16 * 10 / 17, abs=1e-3)


def test_the_second_figure_follows_the_alignment_switch(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 3})
    twice = {view: 2 * (poses - poses[:, :1]) for view, poses in truth.items()}
    predictions, labels = predictions_of(tmp_path, twice), labels_of(truth)
    figures = {
        alignment: evaluate(predictions, labels, replace(VIDEOPOSE3D, alignment=alignment)).headline
        for alignment in Alignment
    }
    assert figures[Alignment.SIMILARITY].p_mpjpe < 1e-3
    relative = np.concatenate([(poses - poses[:, :1]).astype(float) for poses in truth.values()])
    assert figures[Alignment.RIGID].p_mpjpe == pytest.approx(metrics.pa_mpjpe_rigid(2 * relative, relative).mean())
    assert np.isnan(figures[Alignment.NONE].p_mpjpe)
    assert figures[Alignment.NONE].mpjpe == figures[Alignment.SIMILARITY].mpjpe


def test_rows_in_any_order_give_the_same_report(tmp_path: Path) -> None:
    truth = truth_of(FEW)
    labels, predicted = labels_of(truth), predicted_of(truth)
    straight = evaluate(predictions_of(tmp_path, predicted), labels, VIDEOPOSE3D)
    shuffled = predictions_of(tmp_path, dict(reversed(predicted.items())))
    order = np.random.default_rng(0).permutation(len(labels))
    other = evaluate(shuffled, labels.take(pa.array(order)), VIDEOPOSE3D)
    assert replace(other, predictions_sha256=straight.predictions_sha256) == straight


def test_joints_are_matched_by_name_not_by_place(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 3})
    predicted = predicted_of(truth)
    order = H36M_17.indices(MULTIVIEW_17.joints)
    reordered = {view: poses[:, order] for view, poses in predicted.items()}
    labels = labels_of(truth)
    straight = evaluate(predictions_of(tmp_path, predicted), labels, STRICT)
    assert evaluate(predictions_of(tmp_path, reordered, MULTIVIEW_17), labels, STRICT).headline == straight.headline


def test_predictions_without_a_scored_joint_are_refused_with_the_protocols_that_fit(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 3})
    sixteen = {view: H36M_17.select(poses, H36M_16.joints) for view, poses in predicted_of(truth).items()}
    predictions = predictions_of(tmp_path, sixteen, H36M_16)
    with pytest.raises(
        H36MError, match=r"videopose3d scores Neck/Nose, .* h36m-16 .* fit it: semgcn, semgcn-centred, frontal-camera$"
    ):
        evaluate(predictions, labels_of(truth), VIDEOPOSE3D)
    assert evaluate(predictions, labels_of(truth), PROTOCOLS["semgcn"]).frames_scored == 12


def test_absolute_predictions_are_scored_only_where_the_root_is_subtracted(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 3})
    absolute = predictions_of(tmp_path, truth, root="absolute")
    assert evaluate(absolute, labels_of(truth), STRICT).headline.mpjpe == 0
    for name in ("videopose3d", "semgcn"):
        with pytest.raises(H36MError, match=r"absolute.* that does: semgcn-centred, martinez"):
            evaluate(absolute, labels_of(truth), PROTOCOLS[name])


def test_missing_frames_are_counted_and_named(tmp_path: Path) -> None:
    truth = truth_of(ALL_ACTIONS)
    first = Sequence("S9", "Directions", 1, CAMERA_IDS[0])
    predicted = predicted_of(truth)
    predicted[first] = predicted[first][[0, 2]]
    report = evaluate(
        predictions_of(tmp_path, predicted, frames={first: np.array([0, 2])}), labels_of(truth), VIDEOPOSE3D
    )
    assert report.incomplete
    assert (report.frames_scored, report.frames_expected) == (359, 360)
    assert report.problems == ("1 of 360 frames have no prediction, the first is S9/Directions 1.54138969 frame 1",)
    assert "**INCOMPLETE**: 1 of 360 frames" in report.to_markdown()
    assert json.loads(report.to_json())["incomplete"] is True
    # Frames 0 and 2 are no neighbours: the sequence has no velocity, and no number is made up for it.
    assert np.isnan(report.headline.mpjve)
    assert json.loads(report.to_json())["headline"]["mpjve"] is None


def test_predictions_without_a_label_leave_the_report_incomplete(tmp_path: Path) -> None:
    truth = truth_of(ALL_ACTIONS)
    predicted = predicted_of(truth)
    longer = Sequence("S11", "Walking", 1, CAMERA_IDS[3])
    predicted[longer] = np.concatenate([predicted[longer], predicted[longer][:2]])
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), VIDEOPOSE3D)
    assert report.problems == (
        "2 predictions are of frames without a label, the first is S11/Walking 1.60457274 frame 3",
    )
    assert report.frames_scored == report.frames_expected == 360


def test_repeated_predictions_count_once_and_leave_the_report_incomplete(tmp_path: Path) -> None:
    truth = truth_of(ALL_ACTIONS)
    table = prediction_table(predicted_of(truth))
    once = evaluate(Predictions(table, PROVENANCE, "", tmp_path), labels_of(truth), VIDEOPOSE3D)
    twice = pa.concat_tables([table, table.slice(10, 5)])
    report = evaluate(Predictions(twice, PROVENANCE, "", tmp_path), labels_of(truth), VIDEOPOSE3D)
    assert report.problems == ("5 predictions repeat a frame; the first of each counts",)
    assert report.headline == once.headline


def test_actions_without_any_pose_are_left_out_and_named(tmp_path: Path) -> None:
    truth = truth_of(ALL_ACTIONS)
    predicted = {view: poses for view, poses in predicted_of(truth).items() if view.action != "Smoking"}
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), VIDEOPOSE3D)
    assert len(report.per_action) == 14
    assert report.problems[-1] == "no pose of Smoking: left out of the means"


def test_subjects_and_cameras_without_labels_are_named(tmp_path: Path) -> None:
    views = {view: poses for view, poses in truth_of(ALL_ACTIONS).items() if view.subject == "S9"}
    views = {view: poses for view, poses in views.items() if view.camera != CAMERA_IDS[1]}
    report = evaluate(predictions_of(tmp_path, predicted_of(views)), labels_of(views), VIDEOPOSE3D)
    assert report.problems == ("the labels have no subject S11", "the labels have no camera 55011271")


def test_dropped_recordings_may_be_predicted_and_do_not_count(tmp_path: Path) -> None:
    truth = truth_of(FEW)
    with_it = evaluate(predictions_of(tmp_path, predicted_of(truth)), labels_of(truth), VIDEOPOSE3D)
    assert with_it.frames_ignored == 4 * 6
    without = evaluate(predictions_of(tmp_path, only(VIDEOPOSE3D, predicted_of(truth))), labels_of(truth), VIDEOPOSE3D)
    assert without.frames_ignored == 0
    assert without.headline == with_it.headline
    assert without.problems == with_it.problems
    kept = evaluate(predictions_of(tmp_path, predicted_of(truth)), labels_of(truth), PROTOCOLS["martinez-all-frames"])
    assert kept.frames_scored == with_it.frames_scored + 4 * 6


def test_damaged_recordings_are_treated_as_the_protocol_says(tmp_path: Path) -> None:
    truth = truth_of(FEW)
    predictions, labels = predictions_of(tmp_path, predicted_of(truth)), labels_of(truth)
    both = evaluate(predictions, labels, STRICT)
    kept = evaluate(predictions, labels, replace(STRICT, damaged_s9=Damaged.KEEP))
    dropped = evaluate(predictions, labels, replace(STRICT, damaged_s9=Damaged.DROP))
    assert both.headline == kept.headline != dropped.headline
    assert both.without_damaged == dropped.headline
    assert kept.without_damaged is dropped.without_damaged is None
    assert kept.frames_scored == dropped.frames_scored + 4 * 4


def test_the_last_frames_of_an_action_that_fill_no_batch_are_dropped(tmp_path: Path) -> None:
    # 4 x (9 + 10) = 76 frames: the last 12 are those of the last camera and the last two before it.
    truth = truth_of({Recording("S9", "Eating", 1): 9, Recording("S11", "Eating", 2): 10})
    predicted = predicted_of(truth)
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), PROTOCOLS["martinez"])
    assert (report.frames_scored, report.frames_expected, report.frames_ignored) == (64, 64, 12)
    kept = {row.name: row.frames for row in report.per_sequence}
    assert kept["S11/Eating.58860488"] == 8
    assert "S11/Eating.60457274" not in kept
    assert report.problems == (
        "no pose of " + ", ".join(action for action in ACTIONS if action != "Eating") + ": left out of the means",
    )


def test_only_every_nth_frame_is_scored_and_velocity_is_between_scored_frames(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 10})
    predicted = predicted_of(truth)
    thinned = replace(VIDEOPOSE3D, frames=every_nth(3))
    report = evaluate(predictions_of(tmp_path, predicted), labels_of(truth), thinned)
    view = Sequence("S9", "Eating", 1, CAMERA_IDS[0])
    relative = (truth[view] - truth[view][:, :1]).astype(float)[::3]
    figures = report.per_sequence[0].figures
    assert report.per_sequence[0].frames == 4
    assert figures.mpjpe == pytest.approx(metrics.mpjpe(predicted[view][::3].astype(float), relative).mean())
    assert figures.mpjve == pytest.approx(metrics.mpjve(predicted[view][::3].astype(float), relative).mean())


def test_strict_scores_only_instants_that_every_view_has(tmp_path: Path) -> None:
    truth = truth_of(ALL_ACTIONS)
    short = Sequence("S9", "Eating", 1, CAMERA_IDS[2])
    truth[short] = truth[short][:2]
    predictions = predictions_of(tmp_path, predicted_of(truth))
    assert evaluate(predictions, labels_of(truth), STRICT).frames_expected == 360 - 4
    assert evaluate(predictions, labels_of(truth), VIDEOPOSE3D).frames_expected == 360 - 1


def test_a_report_is_hashed_by_the_frames_it_scored(tmp_path: Path) -> None:
    truth = truth_of(ALL_ACTIONS)
    report = evaluate(predictions_of(tmp_path, predicted_of(truth)), labels_of(truth), VIDEOPOSE3D)
    keys = np.sort(row_keys(labels_of(truth)))
    assert report.frames_sha256 == hashlib.sha256(keys.astype("<i8").tobytes()).hexdigest()
    assert report.predictions_sha256 == hashlib.sha256((tmp_path / "predictions.parquet").read_bytes()).hexdigest()


def test_a_pose_that_cannot_be_aligned_is_named(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 4})
    predicted = predicted_of(truth)
    predicted[Sequence("S9", "Eating", 1, CAMERA_IDS[1])][2:] = 7
    with pytest.raises(H36MError, match=r"S9/Eating 1\.55011271 frame 2: the predicted pose .* 2 such frames"):
        evaluate(predictions_of(tmp_path, predicted), labels_of(truth), VIDEOPOSE3D)
    truth[Sequence("S9", "Eating", 1, CAMERA_IDS[0])][3, 4] = np.nan
    with pytest.raises(H36MError, match=r"S9/Eating 1\.54138969 frame 3: the labelled pose"):
        evaluate(predictions_of(tmp_path, predicted), labels_of(truth), VIDEOPOSE3D)


def test_labels_of_the_other_split_are_refused_unless_the_protocol_is_for_them(tmp_path: Path) -> None:
    truth = truth_of({Recording("S8", "Eating", 1): 4})
    predictions = predictions_of(tmp_path, predicted_of(truth))
    with pytest.raises(H36MError, match=r"none for protocol videopose3d, which scores S9, S11"):
        evaluate(predictions, labels_of(truth), VIDEOPOSE3D)
    assert evaluate(predictions, labels_of(truth), VIDEOPOSE3D.for_subjects("S8")).frames_scored == 16
    with pytest.raises(H36MError, match=r"martinez@S8, which scores S8 and whole batches of 64 per action"):
        evaluate(predictions, labels_of(truth), PROTOCOLS["martinez"].for_subjects("S8"))
    with pytest.raises(H36MError, match="another split"):
        evaluate(predictions, labels_of(truth_of(FEW)), VIDEOPOSE3D)


def test_labels_that_repeat_a_frame_or_lack_the_target_are_refused(tmp_path: Path) -> None:
    truth = truth_of({Recording("S9", "Eating", 1): 4})
    predictions, labels = predictions_of(tmp_path, predicted_of(truth)), labels_of(truth)
    with pytest.raises(H36MError, match="there twice"):
        evaluate(predictions, pa.concat_tables([labels, labels.slice(3, 1)]), VIDEOPOSE3D)
    with pytest.raises(H36MError, match="no column joints_3d_camera"):
        evaluate(predictions, prediction_table(truth), VIDEOPOSE3D)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    truth = truth_of(ALL_ACTIONS)
    return evaluate(predictions_of(tmp_path, predicted_of(truth)), labels_of(truth), STRICT)


def test_the_json_report_holds_every_figure_and_every_switch(report: Report) -> None:
    record = json.loads(report.to_json())
    assert record["protocol"] == STRICT.describe()
    assert record["provenance"]["model"] == "semgcn"
    assert record["headline"] == {name: getattr(report.headline, name) for name in FIGURES}
    assert [row["name"] for row in record["per_action"]] == list(ACTIONS)
    assert record["per_action"][3]["mpjpe"] == report.per_action[3].figures.mpjpe
    assert len(record["per_sequence"]) == 120
    assert record["frames_official"] == 543_344
    assert record["official"] is False
    assert record["manifest"] == record["expected"]
    assert record["manifest"]["frames"] == 360


def test_the_csv_has_one_line_per_action_at_full_precision(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(report.per_action_csv())))
    assert [row["action"] for row in rows] == list(ACTIONS)
    assert [float(row["p_mpjpe"]) for row in rows] == [row.figures.p_mpjpe for row in report.per_action]
    assert [int(row["frames"]) for row in rows] == [24] * 15


def test_the_markdown_prints_every_switch_both_means_and_the_damaged_treatment(report: Report) -> None:
    text = report.to_markdown()
    for name, value in STRICT.describe().items():
        assert f"- {name}: {value}" in text
    assert "| **frames within an action, then actions** |" in text
    assert "| all frames |" in text
    assert "without the damaged S9 recordings" in text
    assert "INCOMPLETE" not in text
    assert f"| SittingDown | 24 | {report.per_action[8].figures.mpjpe:.2f} |" in text
