"""Chance in a mean over recordings: a bootstrap that draws whole recordings, because their frames are not independent.

The actions are given, not drawn: each keeps its recordings (Efron and Tibshirani 1993, stratified bootstrap). Of an
action's n recordings n - 1 are drawn, which makes the variance right for few of them (Rao and Wu 1988, JASA 83).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from h36m_toolbox.errors import H36MError


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Sums:
    """What the draws need of each recording, all its views and frames together."""

    actions: np.ndarray  # (recordings,), codes
    frames: np.ndarray  # (recordings,)
    totals: np.ndarray  # (recordings, figures), sums of a figure over the frames


@dataclass(frozen=True, eq=False)
class Draws:
    """Means of the drawn recordings, for each figure."""

    actions: np.ndarray  # (actions,), codes
    by_action: np.ndarray  # (actions, draws, figures)
    pooled: np.ndarray  # (draws, figures), under the protocol's mean


def means(sums: Sums, action_mean: bool) -> tuple[np.ndarray, np.ndarray]:
    """Means (actions, figures) by action in order of their codes, and pooled (figures,)."""
    once = np.ones((1, len(sums.frames)))
    found = _weighted(sums, [once[:, sums.actions == action] for action in np.unique(sums.actions)], action_mean)
    return found.by_action[:, 0], found.pooled[0]


def draws(sums: Sums, action_mean: bool, resamples: int, rng: np.random.Generator) -> Draws:
    """`resamples` draws of recordings within each action. An action with one recording keeps it in every draw.

    Raises H36MError where no action has two recordings: then nothing tells how much chance there is.
    """
    weights = []
    for action in np.unique(sums.actions):
        count = int((sums.actions == action).sum())
        if count == 1:
            weights.append(np.ones((resamples, 1)))
        else:
            weights.append(rng.multinomial(count - 1, np.full(count, 1 / count), size=resamples).astype(np.float64))
    if all(weight.shape[1] == 1 for weight in weights):
        raise H36MError("no action has two recordings, so nothing tells how much of a difference is chance")
    return _weighted(sums, weights, action_mean)


def interval(estimate: np.ndarray, drawn: np.ndarray, freedom: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends (...) around an estimate (...) whose chance the draws (draws, ...) show.

    Student's t for the few recordings there are: Efron and Tibshirani 1993, chapter 12.
    """
    half = stdtrit(freedom, (1 + confidence) / 2) * drawn.std(axis=0)
    return estimate - half, estimate + half


def p_value(estimate: np.ndarray, drawn: np.ndarray, freedom: int) -> np.ndarray:
    """Two-sided p-values (...) of "no difference", of the same t as `interval`; 1 where nothing ever differs."""
    error = drawn.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(estimate == 0, 0.0, np.abs(estimate) / error)
    return 2 * stdtr(freedom, -t)


def freedom_of(actions: np.ndarray) -> int:
    """Degrees of freedom of recordings (n,) of these actions: those beyond the first of each."""
    return len(actions) - len(np.unique(actions))


def adjusted(p: np.ndarray) -> np.ndarray:
    """Holm's p-values (n,) for n questions asked at once (Holm 1979)."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(steps, 1.0)
    return found


def _weighted(sums: Sums, weights: list[np.ndarray], action_mean: bool) -> Draws:
    """`weights` (draws, recordings of the action), one array for each action in order of the codes."""
    actions = np.unique(sums.actions)
    by_action, totals, frames = [], np.zeros(0), np.zeros(0)
    for action, weight in zip(actions, weights, strict=True):
        mine = sums.actions == action
        total, count = weight @ sums.totals[mine], (weight @ sums.frames[mine])[:, None]
        by_action.append(total / count)
        # an action's recordings weigh as much together as they do in the data, however many were drawn
        scale = mine.sum() / weight.sum(axis=1, keepdims=True)
        totals = total * scale if not len(totals) else totals + total * scale
        frames = count * scale if not len(frames) else frames + count * scale
    stacked = np.stack(by_action)
    return Draws(actions, stacked, stacked.mean(axis=0) if action_mean else totals / frames)
