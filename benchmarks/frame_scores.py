"""Everything a protocol measures on the poses of one sequence: one value per frame, or per frame and joint.

No averaging over frames happens here, except of differences in time, which belong to no single frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from h36m_toolbox.benchmarks.metrics import (
    PCK_THRESHOLD_MM,
    Bones,
    area_under_curve,
    block_bone_lengths,
    mean_of_curve,
    percent_within,
)
from h36m_toolbox.benchmarks.pose_blocks import aligned_errors, best_scale, centred, fitted, lengths, moved
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.switches import AfterFit, Alignment, ExactHits, RootRule, Velocity
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, Skeleton

# Figures with a value per frame, in the order of the rows of SequenceScores.values; PCK at chosen thresholds follows.
PER_FRAME = (
    *("mpjpe", "p_mpjpe", "n_mpjpe", "pck150", "auc", "pa_mpjpe_rigid", "auc_trapezoid"),
    *("bone_length", "symmetry"),
)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Layout:
    """Which joints are worked on, scored ones first, and the places of those that a protocol asks for."""

    joints: tuple[str, ...]
    scored: int
    root: int
    fitted: list[int]
    bones: Bones
    left: Bones
    right: Bones


@dataclass(frozen=True, eq=False)
class Steps:
    """Sums over differences in time of one sequence, and its ends, to which another video's may be tied."""

    velocity: float  # sum of the errors of first differences, mm
    velocities: int
    acceleration: float
    accelerations: int
    first: np.ndarray  # (3, joints), target subtracted from prediction in the first scored frame
    last: np.ndarray


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """One sequence's errors."""

    sequence: Sequence
    numbers: np.ndarray  # (frames,), which frames of the sequence they are
    values: np.ndarray  # (figures, frames), PER_FRAME and PCK at the chosen thresholds
    joints: np.ndarray  # (2, joints, frames), float32, mm, before and after alignment
    joint_means: np.ndarray  # (2, joints), mm
    steps: Steps
    skipped: int  # frames that the protocol leaves out for their error of exactly 0

    @property
    def frames(self) -> int:
        """Scored frames."""
        return self.values.shape[1]


def layout_of(protocol: Protocol) -> Layout:
    """The joints of a protocol."""
    extra = (*protocol.fitted_joints, protocol.root_joint)
    joints = tuple(dict.fromkeys((*protocol.joints, *extra)))
    skeleton = H36M_17 if "Neck/Nose" in protocol.joints else H36M_16
    bones = _bones_within(skeleton, protocol.joints)
    mirrored = {side: other for pair in skeleton.mirror_pairs for side, other in (pair, pair[::-1])}
    left = tuple(bone for bone in bones if protocol.joints[bone[1]] in dict(skeleton.mirror_pairs))
    right = tuple(
        tuple(protocol.joints.index(mirrored.get(protocol.joints[end], protocol.joints[end])) for end in bone)
        for bone in left
    )
    return Layout(
        joints=joints,
        scored=len(protocol.joints),
        root=joints.index(protocol.root_joint),
        fitted=[joints.index(joint) for joint in protocol.fitted_joints],
        bones=bones,
        left=left,
        right=tuple((parent, child) for parent, child in right),
    )


def _bones_within(skeleton: Skeleton, joints: tuple[str, ...]) -> Bones:
    named = ((skeleton.joints[parent], skeleton.joints[child]) for parent, child in skeleton.bones)
    return tuple((joints.index(a), joints.index(b)) for a, b in named if a in joints and b in joints)


def with_root_rule(block: np.ndarray, rule: RootRule, root: int) -> np.ndarray:
    """A block (3, joints, n) after a root rule."""
    return _ROOT_RULES[rule](block, root)


def _subtracted(block: np.ndarray, root: int) -> np.ndarray:
    return block - block[:, root : root + 1]


def _row_zeroed(block: np.ndarray, root: int) -> np.ndarray:
    return np.where((np.arange(block.shape[1]) == root)[:, None], 0.0, block)


_ROOT_RULES: dict[RootRule, Callable[[np.ndarray, int], np.ndarray]] = {
    RootRule.SUBTRACT: _subtracted,
    RootRule.ZERO_ROW_ONLY: _row_zeroed,
    RootRule.KEEP: lambda block, root: block,
}


def score_sequence(
    sequence: Sequence,
    frames: np.ndarray,
    predicted: np.ndarray,
    target: np.ndarray,
    protocol: Protocol,
    layout: Layout,
    thresholds_mm: tuple[float, ...] = (),
) -> SequenceScores:
    """The scores of one sequence.

    `frames` (n,) are frame numbers, the poses blocks (3, joints, n) of `layout.joints`, mm, float64, after the root
    rules. Raises H36MError for a pose that cannot be aligned, naming it.
    """
    p, t = predicted[:, : layout.scored], target[:, : layout.scored]
    difference = p - t
    errors = lengths(difference)
    aligned, rigid = _after_alignment(sequence, frames, predicted, target, protocol, layout)
    within, curve = percent_within(errors, PCK_THRESHOLD_MM), mean_of_curve(errors)
    bones = block_bone_lengths(p, layout.bones)
    values = np.stack(
        [
            errors.mean(axis=0),
            aligned.mean(axis=0),
            lengths(best_scale(p, t) * p - t).mean(axis=0),
            within,
            curve,
            rigid.mean(axis=0),
            area_under_curve(curve, within),
            _mean_of_rows(np.abs(bones - block_bone_lengths(t, layout.bones))),
            _mean_of_rows(np.abs(block_bone_lengths(p, layout.left) - block_bone_lengths(p, layout.right))),
            *(percent_within(errors, threshold) for threshold in thresholds_mm),
        ]
    )
    steps = _steps(frames, difference, protocol)
    joints = np.stack([errors, aligned])
    skipped = 0
    if protocol.exact_hits is ExactHits.SKIPPED:
        kept = values[0] > 0
        values, joints, skipped = values[:, kept], joints[..., kept], int((~kept).sum())
        frames = frames[kept]
    means = joints.mean(axis=2) if joints.shape[2] else np.zeros(joints.shape[:2])
    return SequenceScores(sequence, frames, values, joints.astype(np.float32), means, steps, skipped)


def _after_alignment(
    sequence: Sequence, frames: np.ndarray, p: np.ndarray, t: np.ndarray, protocol: Protocol, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (scored joints, n) after the protocol's alignment, NaN without one, and after plain rotation."""
    source, goal = centred(p[:, layout.fitted]), centred(t[:, layout.fitted])
    for name, alignable in (("predicted", source.alignable), ("labelled", goal.alignable)):
        if not alignable.all():
            raise H36MError(
                f"{sequence} frame {frames[(~alignable).argmax()]}: the {name} pose has all joints in one point or a "
                f"number that is not finite, so it cannot be aligned; {(~alignable).sum()} such frames in this sequence"
            )
    fit = fitted(source, goal)
    if layout.fitted == list(range(layout.scored)) and protocol.after_fit is AfterFit.MEASURE:
        rigid = aligned_errors(source, goal, fit, with_scale=False)
        if protocol.alignment is Alignment.SIMILARITY:
            return aligned_errors(source, goal, fit, with_scale=True), rigid
    else:
        rigid = _refitted(p - source.mean[:, None], t - goal.mean[:, None], fit.rotation, protocol, layout)
        if protocol.alignment is Alignment.SIMILARITY:
            return _refitted(
                p - source.mean[:, None], t - goal.mean[:, None], fit.rotation * fit.scale, protocol, layout
            ), rigid
    return (rigid if protocol.alignment is Alignment.RIGID else np.full_like(rigid, np.nan)), rigid


def _refitted(p: np.ndarray, t: np.ndarray, matrix: np.ndarray, protocol: Protocol, layout: Layout) -> np.ndarray:
    """Errors of the scored joints under a fit that other joints decided."""
    left = moved(p, matrix) - t
    if protocol.after_fit is AfterFit.REROOT:
        left = _subtracted(left, layout.root)
    return lengths(left[:, : layout.scored])


def _steps(frames: np.ndarray, difference: np.ndarray, protocol: Protocol) -> Steps:
    """Differences in time of predictions and targets, which are those of their difference."""
    if protocol.velocity is Velocity.ACROSS_VIDEOS:
        neighbours = np.ones(len(frames) - 1, bool)
    else:
        neighbours = np.diff(frames) == protocol.frames.step
    step = difference[..., 1:] - difference[..., :-1]
    velocity = lengths(step).mean(axis=0)[neighbours]
    in_a_row = neighbours[1:] & neighbours[:-1]
    acceleration = lengths(step[..., 1:] - step[..., :-1]).mean(axis=0)[in_a_row]
    return Steps(
        *(float(velocity.sum()), len(velocity), float(acceleration.sum()), len(acceleration)),
        *(difference[..., 0].copy(), difference[..., -1].copy()),
    )


def _mean_of_rows(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)
