"""Scores predictions against labels under a protocol.

Every figure is first a mean per sequence; actions, subjects and headlines are means of those weighted by frames, which
is how VideoPose3D pools velocity too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.matching import Matched, match
from h36m_toolbox.benchmarks.predictions import PREDICTION_COLUMN, Predictions
from h36m_toolbox.benchmarks.protocols import DAMAGED_S9, PROTOCOLS, Alignment, Damaged, Mean, Protocol, RootRule
from h36m_toolbox.benchmarks.reports import FIGURES, Figures, GroupRow, JointRow, Report
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import (
    PoseField,
    pose_array,
    pose_field,
    sequence_of_code,
)
from h36m_toolbox.sequences import ACTIONS, Sequence
from h36m_toolbox.skeletons import Skeleton

TARGET_COLUMN = "joints_3d_camera"


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _SequenceScore:
    """Means over the scored frames of one sequence."""

    sequence: Sequence
    frames: int
    figures: np.ndarray  # (6,), in the order of FIGURES
    joint_errors: np.ndarray  # (2, joints), mm, before and after alignment


def evaluate(predictions: Predictions, labels: pa.Table, protocol: Protocol) -> Report:
    """Score predictions under a protocol.

    `labels` is the label table of the split the protocol covers, with at least the key columns and `joints_3d_camera`
    (mm, camera frame). Rows are matched by key. Frames without a prediction, predictions without a label and actions
    without any pose leave the report incomplete, with the reasons in `problems`; the figures are then means over what
    is there. Raises H36MError where predictions and protocol do not fit (a scored joint is missing, poses are absolute,
    no frame in common) and for a pose that cannot be aligned, naming it.
    """
    check_joints(str(predictions.path), predictions.skeleton, protocol)
    _check_root(predictions, protocol)
    target = _target_field(labels, protocol)
    matched = match(predictions.table, labels, protocol)
    scores = list(_sequence_scores(predictions, labels, target, matched, protocol))
    unscored = [action for action in ACTIONS if action not in {score.sequence.action for score in scores}]
    problems = matched.problems
    if unscored:
        problems += (f"no pose of {', '.join(unscored)}: left out of the means",)
    return Report(
        protocol=protocol,
        provenance=predictions.provenance,
        predictions_sha256=predictions.sha256,
        frames_scored=len(matched.keys),
        frames_expected=matched.expected,
        frames_ignored=matched.ignored,
        frames_sha256=hashlib.sha256(matched.keys.astype("<i8").tobytes()).hexdigest(),
        problems=problems,
        headline=_figures(scores, protocol.mean),
        other_mean=_figures(scores, Mean.FRAME if protocol.mean is Mean.ACTION else Mean.ACTION),
        without_damaged=_without_damaged(scores, protocol),
        per_action=_group_rows(scores, lambda sequence: sequence.action, Mean.FRAME),
        per_joint=_joint_rows(scores, protocol),
        per_subject=_group_rows(scores, lambda sequence: sequence.subject, protocol.mean),
        per_sequence=_group_rows(scores, str, Mean.FRAME),
    )


def check_joints(who: str, skeleton: Skeleton, protocol: Protocol) -> None:
    """An H36MError that begins with `who` predicts, where a protocol scores joints that `skeleton` lacks."""
    missing = [joint for joint in protocol.joints if joint not in skeleton.joints]
    if missing:
        fitting = [name for name, other in PROTOCOLS.items() if set(other.joints) <= set(skeleton.joints)]
        raise H36MError(
            f"{who}: protocol {protocol.name} scores {', '.join(missing)}, which the predicted skeleton "
            f"{skeleton.name} lacks; protocols that fit it: {', '.join(fitting) or 'none'}"
        )


def _check_root(predictions: Predictions, protocol: Protocol) -> None:
    if predictions.provenance.root == "absolute" and protocol.predicted_root is not RootRule.SUBTRACT:
        subtracting = [name for name, other in PROTOCOLS.items() if other.predicted_root is RootRule.SUBTRACT]
        raise H36MError(
            f"{predictions.path}: the predictions are absolute, protocol {protocol.name} needs them relative to the "
            f"root; subtract it, or use a protocol that does: {', '.join(subtracting)}"
        )


def _target_field(labels: pa.Table, protocol: Protocol) -> PoseField:
    field = pose_field(labels.schema, TARGET_COLUMN)
    if field.unit != "mm":
        raise H36MError(
            f"labels: column {TARGET_COLUMN} is in {field.unit or 'no unit'}, expected mm; write them again"
        )
    field.skeleton.indices((*protocol.joints, protocol.root_joint))
    return field


def _sequence_scores(
    predictions: Predictions, labels: pa.Table, target_field: PoseField, matched: Matched, protocol: Protocol
) -> Iterator[_SequenceScore]:
    predicted, target = pose_array(predictions.table, PREDICTION_COLUMN), pose_array(labels, TARGET_COLUMN)
    predicted_joints = predictions.skeleton.indices(protocol.joints)
    root = protocol.joints.index(protocol.root_joint)
    target_joints = target_field.skeleton.indices(protocol.joints)
    codes, starts = np.unique(matched.keys >> 32, return_index=True)
    for code, start, stop in zip(codes, starts, [*starts[1:], len(matched.keys)], strict=True):
        rows = slice(start, stop)
        sequence = sequence_of_code(int(code))
        frames = (matched.keys[rows] & 0xFFFFFFFF).astype(np.int64)
        p = predicted[matched.prediction_rows[rows]][:, predicted_joints].astype(np.float64)
        t = target[matched.label_rows[rows]][:, target_joints].astype(np.float64)
        p, t = _ROOT_RULES[protocol.predicted_root](p, root), _ROOT_RULES[protocol.target_root](t, root)
        yield _score(sequence, frames, p, t, protocol)


def _subtracted(poses: np.ndarray, root: int) -> np.ndarray:
    return poses - poses[:, root : root + 1]


def _row_zeroed(poses: np.ndarray, root: int) -> np.ndarray:
    return np.where(np.arange(poses.shape[1])[:, None] == root, 0.0, poses)


_ROOT_RULES: dict[RootRule, Callable[[np.ndarray, int], np.ndarray]] = {
    RootRule.SUBTRACT: _subtracted,
    RootRule.ZERO_ROW_ONLY: _row_zeroed,
    RootRule.KEEP: lambda poses, _: poses,
}


def _score(sequence: Sequence, frames: np.ndarray, p: np.ndarray, t: np.ndarray, protocol: Protocol) -> _SequenceScore:
    """Means over the poses (frames, joints, 3), mm, of one sequence."""
    _require_alignable(sequence, frames, p, t)
    errors = metrics.joint_errors(p, t)
    aligned = _aligned_errors(p, t, protocol.alignment)
    velocity = metrics.mpjve(p, t)[np.diff(frames) == protocol.frame_step]
    figures = (
        errors.mean(),
        aligned.mean(),
        metrics.n_mpjpe(p, t).mean(),
        velocity.mean() if len(velocity) else np.nan,
        metrics.pck(p, t).mean(),
        metrics.auc(p, t).mean(),
    )
    per_joint = np.stack([errors.mean(axis=0), aligned.mean(axis=0)])
    return _SequenceScore(sequence, len(frames), np.array(figures), per_joint)


def _require_alignable(sequence: Sequence, frames: np.ndarray, p: np.ndarray, t: np.ndarray) -> None:
    for name, poses in (("predicted", p), ("labelled", t)):
        bad = ~metrics.alignable(poses)
        if bad.any():
            raise H36MError(
                f"{sequence} frame {frames[bad.argmax()]}: the {name} pose has all joints in one point or a number "
                f"that is not finite, so it cannot be aligned; {bad.sum()} such frames in this sequence"
            )


def _aligned_errors(p: np.ndarray, t: np.ndarray, alignment: Alignment) -> np.ndarray:
    if alignment is Alignment.NONE:
        return np.full(p.shape[:2], np.nan)
    return metrics.joint_errors(metrics.procrustes_aligned(p, t, scale=alignment is Alignment.SIMILARITY), t)


def _pooled(scores: Items[_SequenceScore], mean: Mean, values: Callable[[_SequenceScore], np.ndarray]) -> np.ndarray:
    """The mean of per-sequence values: over frames, or over frames within an action and then over actions."""
    if mean is Mean.FRAME:
        return np.average([values(score) for score in scores], axis=0, weights=[score.frames for score in scores])
    actions = dict.fromkeys(score.sequence.action for score in scores)
    groups = ([score for score in scores if score.sequence.action == action] for action in actions)
    return np.mean([_pooled(group, Mean.FRAME, values) for group in groups], axis=0)


def _figures(scores: Items[_SequenceScore], mean: Mean) -> Figures:
    values = _pooled(scores, mean, lambda score: score.figures)
    return Figures(**dict(zip(FIGURES, values.tolist(), strict=True)))


def _without_damaged(scores: Items[_SequenceScore], protocol: Protocol) -> Figures | None:
    undamaged = [score for score in scores if score.sequence.recording not in DAMAGED_S9]
    if protocol.damaged_s9 is not Damaged.REPORT_BOTH or not undamaged:
        return None
    return _figures(undamaged, protocol.mean)


def _group_rows(scores: Items[_SequenceScore], name: Callable[[Sequence], str], mean: Mean) -> tuple[GroupRow, ...]:
    groups: dict[str, list[_SequenceScore]] = {}
    for score in sorted(scores, key=lambda score: ACTIONS.index(score.sequence.action)):
        groups.setdefault(name(score.sequence), []).append(score)
    return tuple(
        GroupRow(title, sum(score.frames for score in group), _figures(group, mean)) for title, group in groups.items()
    )


def _joint_rows(scores: Items[_SequenceScore], protocol: Protocol) -> tuple[JointRow, ...]:
    before, after = _pooled(scores, protocol.mean, lambda score: score.joint_errors).tolist()
    return tuple(JointRow(*row) for row in zip(protocol.joints, before, after, strict=True))
