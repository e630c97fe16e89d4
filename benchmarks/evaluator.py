"""Scores predictions against labels under a protocol.

Every figure is first a mean per sequence; actions, subjects and headlines are means of those weighted by frames, which
is how VideoPose3D pools velocity too. Poses are read and measured a sequence at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.averages import (
    averaged,
    figures_of,
    group_rows,
    joint_rows,
    pck_points,
    without,
)
from h36m_toolbox.benchmarks.frame_scores import Layout, SequenceScores, layout_of, score_sequence, with_root_rule
from h36m_toolbox.benchmarks.manifests import FRAME_BITS, manifest_of, runs_of
from h36m_toolbox.benchmarks.matching import Matched, match
from h36m_toolbox.benchmarks.pose_blocks import as_block
from h36m_toolbox.benchmarks.predictions import PREDICTION_COLUMN, Predictions, row_name
from h36m_toolbox.benchmarks.protocols import DAMAGED_S9, PROTOCOLS, Protocol
from h36m_toolbox.benchmarks.reports import Figures, Report
from h36m_toolbox.benchmarks.switches import Damaged, Mean, RootRule, Samples
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import pose_array, pose_field, sequence_of_code
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import Skeleton

TARGET_COLUMN = "joints_3d_camera"
_SAME_POSE_MM = 0.1  # float32 positions some metres away differ by less


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Judged:
    """A report, and the errors frame by frame and joint by joint that its figures are means of."""

    report: Report
    scores: tuple[SequenceScores, ...]


def evaluate(
    predictions: Predictions, labels: pa.Table, protocol: Protocol, pck_thresholds_mm: tuple[float, ...] = ()
) -> Report:
    """Score predictions under a protocol.

    `labels` is the label table of the split the protocol covers, with at least the key columns and `joints_3d_camera`
    (mm, camera frame). Rows are matched by key. Frames without a prediction, predictions without a label and actions
    without any pose leave the report incomplete, with the reasons in `problems`; the figures are then means over what
    is there. Raises H36MError where predictions and protocol do not fit (a scored joint is missing, poses are absolute,
    no frame in common) and for a pose that cannot be aligned, naming it.
    """
    return judge(predictions, labels, protocol, pck_thresholds_mm).report


def judge(
    predictions: Predictions, labels: pa.Table, protocol: Protocol, pck_thresholds_mm: tuple[float, ...] = ()
) -> Judged:
    """As `evaluate`, with the errors behind the report. Raises as it does."""
    check_joints(str(predictions.path), predictions.skeleton, protocol)
    _check_root(predictions, protocol)
    _check_target(labels, protocol)
    matched = match(predictions.table, labels, protocol)
    scores = list(_sequence_scores(predictions, labels, matched, protocol, pck_thresholds_mm))
    items = averaged(scores, protocol.velocity)
    if not items:
        raise H36MError(
            f"{predictions.path}: every error is exactly 0, and protocol {protocol.name} skips such frames; are these "
            "the labels themselves?"
        )
    unscored = [action for action in protocol.actions if action not in {item.sequence.action for item in items}]
    problems = matched.problems
    if unscored:
        problems += (f"no pose of {', '.join(unscored)}: left out of the means",)
    mean = protocol.mean
    undamaged = without(items, DAMAGED_S9) if protocol.damaged_s9 is Damaged.REPORT_BOTH else []
    skipped = sum(score.skipped for score in scores)
    report = Report(
        protocol=protocol,
        provenance=predictions.provenance,
        predictions_sha256=predictions.sha256,
        frames_scored=len(matched.keys) - skipped,
        frames_expected=matched.expected,
        frames_ignored=matched.ignored,
        frames_skipped=skipped,
        manifest=manifest_of(matched.keys, protocol),
        expected=manifest_of(matched.expected_keys, protocol),
        problems=problems,
        headline=figures_of(items, mean),
        other_mean=figures_of(items, Mean.FRAME if mean is Mean.ACTION else Mean.ACTION),
        without_damaged=figures_of(undamaged, mean) if undamaged else None,
        pck=pck_points(items, mean, pck_thresholds_mm),
        per_action=group_rows(items, lambda sequence: sequence.action, Mean.FRAME),
        per_subaction=group_rows(items, lambda sequence: f"{sequence.action} {sequence.subaction}", Mean.FRAME),
        per_joint=joint_rows(items, protocol.joints, mean),
        per_subject=group_rows(items, lambda sequence: sequence.subject, mean),
        per_camera=group_rows(items, lambda sequence: sequence.camera, mean),
        per_sequence=group_rows(items, str, Mean.FRAME),
    )
    return Judged(report, tuple(scores))


def evaluate_poses(
    predicted: np.ndarray, target: np.ndarray, predicted_skeleton: Skeleton, skeleton: Skeleton, protocol: Protocol
) -> Figures:
    """Score arrays (n, joints, 3), mm, under a protocol's joints, root rules, alignment and metrics.

    For poses that no label table holds, such as the ECCV 2018 challenge's: the poses are one sequence, and which frames
    they are is the caller's business. Raises as `evaluate`.
    """
    check_joints("the poses", predicted_skeleton, protocol)
    if len(predicted) != len(target) or not len(predicted):
        raise H36MError(f"{len(predicted)} predicted poses and {len(target)} target poses; expected as many of each")
    layout = layout_of(protocol)
    blocks = (
        _ruled(_block_of(predicted, predicted_skeleton, protocol, layout), protocol.predicted_root, layout),
        _ruled(_block_of(target, skeleton, protocol, layout), protocol.target_root, layout),
    )
    unnamed = Sequence("S9", ACTIONS[0], 1, CAMERA_IDS[0])  # any name will do: nothing is grouped
    score = score_sequence(unnamed, np.arange(len(target)), *blocks, protocol, layout)
    return figures_of(averaged([score], protocol.velocity), Mean.FRAME)


def ruled_poses(poses: np.ndarray, skeleton: Skeleton, protocol: Protocol, rule: RootRule) -> np.ndarray:
    """Poses (n, joints, 3) of a skeleton as a protocol measures them: its joints (n, scored, 3), after a root rule."""
    layout = layout_of(protocol)
    block = _ruled(_block_of(poses, skeleton, protocol, layout), rule, layout)
    return block[:, : layout.scored].transpose(2, 1, 0)


def check_joints(who: str, skeleton: Skeleton, protocol: Protocol) -> None:
    """An H36MError that begins with `who` predicts, where a protocol scores joints that `skeleton` lacks."""
    missing = _missing_joints(skeleton, protocol)
    if missing:
        fitting = [name for name, other in PROTOCOLS.items() if not _missing_joints(skeleton, other)]
        raise H36MError(
            f"{who}: protocol {protocol.name} scores {', '.join(missing)}, which the predicted skeleton "
            f"{skeleton.name} lacks; protocols that fit it: {', '.join(fitting) or 'none'}"
        )


def _missing_joints(skeleton: Skeleton, protocol: Protocol) -> list[str]:
    return [joint for joint in protocol.joints if joint not in skeleton.joints]


def _check_root(predictions: Predictions, protocol: Protocol) -> None:
    absolute = predictions.provenance.root == "absolute"
    if protocol.needs_absolute and not absolute:
        raise H36MError(
            f"{predictions.path}: the predictions are relative to the root, protocol {protocol.name} scores absolute "
            "positions; predict them, or use a protocol that subtracts the root"
        )
    if absolute and not protocol.needs_absolute and protocol.predicted_root is not RootRule.SUBTRACT:
        subtracting = [name for name, other in PROTOCOLS.items() if other.predicted_root is RootRule.SUBTRACT]
        raise H36MError(
            f"{predictions.path}: the predictions are absolute, protocol {protocol.name} needs them relative to the "
            f"root; subtract it, or use a protocol that does: {', '.join(subtracting)}"
        )
    if absolute and protocol.root_joint not in predictions.skeleton.joints and not protocol.needs_absolute:
        raise H36MError(
            f"{predictions.path}: the predictions are absolute and without {protocol.root_joint}, which protocol "
            f"{protocol.name} subtracts; subtract the root beforehand, or predict it"
        )


def _check_target(labels: pa.Table, protocol: Protocol) -> None:
    field = pose_field(labels.schema, TARGET_COLUMN)
    if field.unit != "mm":
        raise H36MError(
            f"labels: column {TARGET_COLUMN} is in {field.unit or 'no unit'}, expected mm; write them again"
        )
    field.skeleton.indices((*protocol.joints, protocol.root_joint))


def _sequence_scores(
    predictions: Predictions, labels: pa.Table, matched: Matched, protocol: Protocol, thresholds_mm: tuple[float, ...]
) -> Iterator[SequenceScores]:
    predicted, target = pose_array(predictions.table, PREDICTION_COLUMN), pose_array(labels, TARGET_COLUMN)
    target_skeleton = pose_field(labels.schema, TARGET_COLUMN).skeleton
    if protocol.samples is Samples.INSTANTS:
        _check_one_pose_an_instant(predictions, predicted, matched, protocol)
    layout = layout_of(protocol)
    for code, start, count in zip(*runs_of(matched.keys >> 32), strict=True):
        rows = slice(start, start + count)
        p = _block_of(_rows(predicted, matched.prediction_rows[rows]), predictions.skeleton, protocol, layout)
        t = _block_of(_rows(target, matched.label_rows[rows]), target_skeleton, protocol, layout)
        yield score_sequence(
            sequence_of_code(int(code)),
            matched.keys[rows] & FRAME_BITS,
            _ruled(p, protocol.predicted_root, layout),
            _ruled(t, protocol.target_root, layout),
            protocol,
            layout,
            thresholds_mm,
        )


def _rows(poses: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of an array; a view where they follow each other."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1 and (np.diff(rows) == 1).all():
        return poses[first : last + 1]
    return poses[rows]


def _block_of(poses: np.ndarray, skeleton: Skeleton, protocol: Protocol, layout: Layout) -> np.ndarray:
    """The layout's joints of poses (n, joints, 3) as a block, midpoints made where the skeleton lacks them.

    Poses without the root joint are relative to it, so that it is at 0.
    """
    block = as_block(poses)
    if layout.joints == skeleton.joints:
        return block
    ends = {midpoint.joint: midpoint.ends for midpoint in protocol.midpoints}
    columns = []
    for joint in layout.joints:
        if joint in skeleton.joints:
            columns.append(block[:, skeleton.joints.index(joint)])
        elif joint in ends:
            columns.append(block[:, skeleton.indices(ends[joint])].mean(axis=1))
        else:
            columns.append(np.zeros_like(block[:, 0]))
    return np.stack(columns, axis=1)


def _ruled(block: np.ndarray, rule: RootRule, layout: Layout) -> np.ndarray:
    return with_root_rule(block, rule, layout.root)


def _check_one_pose_an_instant(
    predictions: Predictions, predicted: np.ndarray, matched: Matched, protocol: Protocol
) -> None:
    """An H36MError where the views of an instant have different poses: then they are no multi-view predictions."""
    if not len(matched.other_views):
        return
    skeleton = predictions.skeleton
    scored = np.unique(matched.other_views)
    poses = predicted[scored][:, skeleton.indices((*protocol.joints, protocol.root_joint))]
    spokes = np.linalg.norm(poses - poses[:, -1:], axis=2)  # the same in every camera's frame
    one, other = np.searchsorted(scored, matched.other_views).T
    unlike = np.abs(spokes[one] - spokes[other]).max(axis=1) > _SAME_POSE_MM
    if unlike.any():
        first = row_name(predictions.table, int(matched.other_views[unlike.argmax(), 1]))
        raise H36MError(
            f"{predictions.path}: protocol {protocol.name} scores one pose an instant, but {unlike.sum()} views have "
            f"another pose than the first view of their instant, the first is {first}; use a protocol that scores views"
        )
