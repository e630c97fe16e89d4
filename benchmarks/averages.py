"""Means, medians and percentiles of the scores of sequences: the order of the means is written here alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence as Items
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from h36m_toolbox.benchmarks.frame_scores import PER_FRAME, SequenceScores
from h36m_toolbox.benchmarks.reports import Figures, GroupRow, JointRow, PckPoint
from h36m_toolbox.benchmarks.switches import Mean, Velocity
from h36m_toolbox.sequences import ACTIONS, Recording, Sequence

_SPREAD = ("mpjpe", "p_mpjpe")  # figures that also have a median and a 90th percentile


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Averaged:
    """One sequence's means: `figures` are PER_FRAME, PCK at thresholds, MPJVE."""

    scores: SequenceScores
    figures: np.ndarray  # (figures + 1,)

    @property
    def sequence(self) -> Sequence:
        """What was averaged."""
        return self.scores.sequence

    @property
    def frames(self) -> int:
        """Over how many frames."""
        return self.scores.frames


def averaged(scores: Items[SequenceScores], velocity: Velocity) -> list[Averaged]:
    """Means per sequence, of those with frames; MPJVE of the whole trial where videos are tied together."""
    tied = _velocity_of_trials(scores) if velocity is Velocity.ACROSS_VIDEOS else {}
    kept = []
    for score in scores:
        if score.frames:
            steps = score.steps
            own = steps.velocity / steps.velocities if steps.velocities else np.nan
            mpjve = tied.get((score.sequence.action, score.sequence.subaction), own)
            kept.append(Averaged(score, np.array([*score.values.mean(axis=1), mpjve])))
    return kept


def figures_of(group: Items[Averaged], mean: Mean) -> Figures:
    """Figures of some sequences. Medians and percentiles are over all their frames, whatever the mean."""
    means = pooled(group, mean, lambda item: item.figures)
    named = dict(zip(PER_FRAME, means[: len(PER_FRAME)].tolist(), strict=True))
    for name in _SPREAD:
        row = PER_FRAME.index(name)
        values = np.concatenate([item.scores.values[row] for item in group])
        named[f"{name}_median"], named[f"{name}_p90"] = _median_and_p90(values)
    return Figures(**named, mpjve=float(means[-1]), acceleration=_acceleration(group, mean))


def pck_points(group: Items[Averaged], mean: Mean, thresholds_mm: tuple[float, ...]) -> tuple[PckPoint, ...]:
    """PCK at the chosen thresholds."""
    means = pooled(group, mean, lambda item: item.figures)[len(PER_FRAME) : -1].tolist()
    return tuple(PckPoint(*point) for point in zip(thresholds_mm, means, strict=True))


def pooled(group: Items[Averaged], mean: Mean, values: Callable[[Averaged], np.ndarray]) -> np.ndarray:
    """The mean of per-sequence values: over frames, or over frames within an action and then over actions."""
    if mean is Mean.FRAME:
        return np.average([values(item) for item in group], axis=0, weights=[item.frames for item in group])
    actions = dict.fromkeys(item.sequence.action for item in group)
    groups = ([item for item in group if item.sequence.action == action] for action in actions)
    return np.mean([pooled(members, Mean.FRAME, values) for members in groups], axis=0)


def group_rows(items: Items[Averaged], name: Callable[[Sequence], str], mean: Mean) -> tuple[GroupRow, ...]:
    """One row for each name of a sequence, in the order of the actions."""
    groups: dict[str, list[Averaged]] = {}
    for item in sorted(items, key=lambda item: ACTIONS.index(item.sequence.action)):
        groups.setdefault(name(item.sequence), []).append(item)
    return tuple(
        GroupRow(title, sum(item.frames for item in group), figures_of(group, mean)) for title, group in groups.items()
    )


def joint_rows(items: Items[Averaged], joints: tuple[str, ...], mean: Mean) -> tuple[JointRow, ...]:
    """One row for each joint: means under the protocol's mean, medians and percentiles over all frames."""
    means = pooled(items, mean, lambda item: item.scores.joint_means)

    def spread(place: int) -> list[float]:
        kinds = (np.concatenate([item.scores.joints[kind, place] for item in items]) for kind in range(2))
        return [figure for values in kinds for figure in _median_and_p90(values)]

    with ThreadPoolExecutor(2) as pool:  # numpy sorts without holding the interpreter
        spreads = list(pool.map(spread, range(len(joints))))
    return tuple(
        JointRow(joint, float(means[0, place]), float(means[1, place]), *spreads[place])
        for place, joint in enumerate(joints)
    )


def without(items: Items[Averaged], recordings: Items[Recording]) -> list[Averaged]:
    """The sequences that are not of these recordings."""
    return [item for item in items if item.sequence.recording not in recordings]


def _velocity_of_trials(scores: Items[SequenceScores]) -> dict[tuple[str, int], float]:
    """MPJVE of each (action, sub-action), its videos in the order given, steps from one to the next included."""
    trials: dict[tuple[str, int], list[SequenceScores]] = {}
    for score in scores:
        trials.setdefault((score.sequence.action, score.sequence.subaction), []).append(score)
    velocities = {}
    for trial, videos in trials.items():
        jumps = [
            np.linalg.norm(after.steps.first - before.steps.last, axis=0).mean() for before, after in pairwise(videos)
        ]
        total = sum(video.steps.velocity for video in videos) + sum(jumps)
        count = sum(video.steps.velocities for video in videos) + len(jumps)
        velocities[trial] = float(total / count) if count else np.nan
    return velocities


def _acceleration(group: Items[Averaged], mean: Mean) -> float:
    """The mean over all triples of frames, or over those of an action and then over actions; NaN without any."""
    by_action: dict[str, list[SequenceScores]] = {}
    for item in group:
        if item.scores.steps.accelerations:
            by_action.setdefault("" if mean is Mean.FRAME else item.sequence.action, []).append(item.scores)
    means = [
        sum(score.steps.acceleration for score in scores) / sum(score.steps.accelerations for score in scores)
        for scores in by_action.values()
    ]
    return float(np.mean(means)) if means else np.nan


def _median_and_p90(values: np.ndarray) -> list[float]:
    """Interpolated between neighbours, as numpy's percentile."""
    if not len(values) or np.isnan(values[0]):
        return [np.nan, np.nan]
    places = [(len(values) - 1) * fraction for fraction in (0.5, 0.9)]
    near = sorted({neighbour for place in places for neighbour in (int(place), math.ceil(place))})
    ordered = np.partition(values, near)
    return np.interp(places, near, ordered[near]).tolist()
