"""Whether two runs differ: paired differences of their errors on the same frames, and how much of them is chance.

The unit of chance is the recording, one subject doing one action once, with all frames and all views of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.evaluator import TARGET_COLUMN, Judged, judge
from h36m_toolbox.benchmarks.frame_scores import PER_FRAME, SequenceScores
from h36m_toolbox.benchmarks.manifests import sample_keys
from h36m_toolbox.benchmarks.narrowing import protocol_of_name, split_of
from h36m_toolbox.benchmarks.predictions import read_predictions
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.reports import differences
from h36m_toolbox.benchmarks.runs.environments import read_environment
from h36m_toolbox.benchmarks.runs.folders import ENVIRONMENT_NAME, PREDICTIONS_NAME, check_sealed, read_report_record
from h36m_toolbox.benchmarks.standings.bootstrap import Sums, adjusted, draws, freedom_of, interval, means, p_value
from h36m_toolbox.benchmarks.switches import Mean
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import sequence_code
from h36m_toolbox.sequences import ACTIONS, Recording

RESAMPLES, CONFIDENCE = 10_000, 0.95
_FIGURES = ("mpjpe", "p_mpjpe")
_SAME = 1e-6  # relative; machines add up in different orders


@dataclass(frozen=True)
class Difference:
    """The second run's error minus the first's, mm, with its interval; NaN without two recordings to tell chance."""

    name: str
    recordings: int
    frames: int
    first_mm: float
    second_mm: float
    difference_mm: float
    low_mm: float
    high_mm: float
    p_value: float
    adjusted_p: float  # by Holm, among the actions or the joints asked about at once; alone, the same


@dataclass(frozen=True)
class Comparison:
    """Two runs under one protocol on the same frames."""

    first: str
    second: str
    protocol: str
    version: int
    mean: str  # "action" or "frame"
    manifest_sha256: str
    incomplete: bool
    resamples: int
    confidence: float
    mpjpe: Difference
    p_mpjpe: Difference | None  # after the protocol's alignment, where it has one
    per_action: tuple[Difference, ...]  # MPJPE
    per_joint: tuple[Difference, ...]
    per_subject: tuple[tuple[str, float], ...]  # difference of MPJPE, mm, under the protocol's mean


@dataclass(frozen=True, eq=False)
class _Run:
    name: str
    judged: Judged


@dataclass(frozen=True, eq=False)
class _Paired:
    """Recordings that both runs have: frames (n,), sums (n, figures and joints) of each run's errors over them."""

    recordings: tuple[Recording, ...]
    frames: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def actions(self) -> np.ndarray:
        return np.array([ACTIONS.index(recording.action) for recording in self.recordings])

    def sums(self, totals: np.ndarray, which: np.ndarray | slice = slice(None)) -> Sums:
        return Sums(self.actions[which], self.frames[which], totals[which])


def compare_runs(
    folders: Items[Path],
    rng: np.random.Generator,
    data: Path | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[Comparison, ...]:
    """Compare each further run with the first; `data` None is where the first was made.

    Raises H36MError for folders that are unfinished or altered, runs of different protocols, versions or frames, and
    labels that do not give the runs' figures.
    """
    for folder in folders:
        check_sealed(folder)
    _check_told_alike(folders)
    place = data or Path(read_environment(folders[0] / ENVIRONMENT_NAME).data)
    if not place.is_dir():
        raise H36MError(f"{folders[0]}: was made on {place}, which is not there; say where it is with --data DATA")

    @cache
    def labels(split: str) -> pa.Table:
        return read_labels(place, split, [TARGET_COLUMN])

    first, *others = [_judged(folder, labels(split_of(_protocol_of(folder))), place) for folder in folders]
    return tuple(_compared(first, other, rng, resamples, confidence) for other in others)


def _compared(first: _Run, second: _Run, rng: np.random.Generator, resamples: int, confidence: float) -> Comparison:
    """The comparison of two judged runs."""
    reasons = differences(first.judged.report, second.judged.report)
    if reasons:
        raise H36MError(f"{first.name} and {second.name} may not be compared: {'; '.join(reasons)}")
    report = first.judged.report
    action_mean = report.protocol.mean is Mean.ACTION
    paired = _paired(first.judged, second.judged)
    by_action, pooled = zip(
        *(means(paired.sums(sums), action_mean) for sums in (paired.first, paired.second)), strict=True
    )
    drawn = draws(paired.sums(paired.second - paired.first), action_mean, resamples, rng)
    change, freedom = pooled[1] - pooled[0], freedom_of(paired.actions)
    ends, p = interval(change, drawn.pooled, freedom, confidence), p_value(change, drawn.pooled, freedom)
    counted = (len(paired.recordings), int(paired.frames.sum()))
    rows = [
        _difference(name, counted, *(values[place] for values in (*pooled, *ends, p, p)))
        for place, name in enumerate((*_FIGURES, *report.protocol.joints))
    ]
    return Comparison(
        first=first.name,
        second=second.name,
        protocol=report.protocol.name,
        version=report.protocol.version,
        mean=report.protocol.mean.name.lower(),
        manifest_sha256=report.manifest.sha256,
        incomplete=report.incomplete or second.judged.report.incomplete,
        resamples=resamples,
        confidence=confidence,
        mpjpe=rows[0],
        p_mpjpe=None if math.isnan(rows[1].first_mm) else rows[1],
        per_action=_holm(_of_actions(paired, by_action, drawn.by_action[..., 0], confidence)),
        per_joint=_holm(rows[len(_FIGURES) :]),
        per_subject=_of_subjects(paired, action_mean),
    )


def _check_told_alike(folders: Items[Path]) -> None:
    """What the reports say is enough to refuse runs before anything is scored again."""
    told = []
    for folder in folders:
        record = read_report_record(folder)
        protocol = record["protocol"]
        told.append((f"{protocol['name']}, version {protocol['version']}", record["frames_sha256"]))
    for folder, (protocol, frames) in zip(folders[1:], told[1:], strict=True):
        if protocol != told[0][0]:
            raise H36MError(
                f"{folder}: was scored under {protocol}, {folders[0]} under {told[0][0]}; such figures may not be "
                "compared, score both alike with `h36m eval RUN --data DATA --protocol P --runs RUNS`"
            )
        if frames != told[0][1]:
            raise H36MError(
                f"{folder}: covers other frames (sha256 {frames[:12]}) than {folders[0]} (sha256 {told[0][1][:12]}); "
                "only runs on the same frames are compared: predict what is missing"
            )


def _protocol_of(folder: Path) -> Protocol:
    stated = read_report_record(folder)["protocol"]
    protocol = protocol_of_name(stated["name"])
    if str(protocol.version) != stated["version"]:
        raise H36MError(
            f"{folder}: was scored under version {stated['version']} of {protocol.name}, this h36m has version "
            f"{protocol.version}; score it again with `h36m eval {folder} --data DATA --runs RUNS`"
        )
    return protocol


def _judged(folder: Path, labels: pa.Table, data: Path) -> _Run:
    judged = judge(read_predictions(folder / PREDICTIONS_NAME), labels, _protocol_of(folder))
    said = read_report_record(folder)
    found = judged.report.headline.mpjpe
    if judged.report.frames_sha256 != said["frames_sha256"] or not math.isclose(
        found, said["headline"]["mpjpe"], rel_tol=_SAME
    ):
        raise H36MError(
            f"{folder}: its predictions give {found:.4f} mm on the labels of {data}, its report says "
            f"{said['headline']['mpjpe']:.4f} mm; name the DATA that it was scored on"
        )
    return _Run(folder.resolve().name, judged)


def _paired(first: Judged, second: Judged) -> _Paired:
    ours, theirs = (_by_recording(judged.scores) for judged in (first, second))
    recordings = [recording for recording in ours if recording in theirs]
    frames, sums = [], []
    for recording in recordings:
        (keys, values), (other_keys, other_values) = (
            _frames_of(runs[recording], first.report.protocol) for runs in (ours, theirs)
        )
        _, places, other_places = np.intersect1d(keys, other_keys, assume_unique=True, return_indices=True)
        frames.append(len(places))
        sums.append((values[:, places].sum(axis=1), other_values[:, other_places].sum(axis=1)))
    totals = np.array(sums)
    return _Paired(tuple(recordings), np.array(frames, np.float64), totals[:, 0], totals[:, 1])


def _by_recording(scores: Items[SequenceScores]) -> dict[Recording, list[SequenceScores]]:
    found: dict[Recording, list[SequenceScores]] = {}
    for score in scores:
        if score.frames:
            found.setdefault(score.sequence.recording, []).append(score)
    return found


def _frames_of(views: Items[SequenceScores], protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Sample keys (n,) and errors (figures and joints, n), float64, mm, of a recording's views."""
    keys = np.concatenate([sequence_code(view.sequence) << 32 | view.numbers.astype(np.int64) for view in views])
    rows = [PER_FRAME.index(name) for name in _FIGURES]
    values = [np.concatenate([view.values[rows], view.joints[0].astype(np.float64)]) for view in views]
    return sample_keys(keys, protocol), np.concatenate(values, axis=1)


def _of_actions(
    paired: _Paired, by_action: Items[np.ndarray], drawn: np.ndarray, confidence: float
) -> list[Difference]:
    rows = []
    for place, code in enumerate(np.unique(paired.actions)):
        mine = paired.actions == code
        counted = (int(mine.sum()), int(paired.frames[mine].sum()))
        first, second = (values[place, 0] for values in by_action)
        chance: tuple[float | np.ndarray, ...] = (np.nan,) * 4
        if mine.sum() > 1:
            one = (second - first, drawn[place], int(mine.sum()) - 1)
            chance = (*interval(*one, confidence), *[p_value(*one)] * 2)
        rows.append(_difference(ACTIONS[code], counted, first, second, *map(float, chance)))
    return rows


def _of_subjects(paired: _Paired, action_mean: bool) -> tuple[tuple[str, float], ...]:
    subjects = np.array([recording.subject for recording in paired.recordings])
    change = paired.second - paired.first
    return tuple(
        (str(subject), float(means(paired.sums(change, subjects == subject), action_mean)[1][0]))
        for subject in dict.fromkeys(subjects.tolist())
    )


def _difference(
    name: str, counted: tuple[int, int], first: float, second: float, low: float, high: float, p: float, adjusted: float
) -> Difference:
    numbers = (first, second, second - first, low, high, p, adjusted)
    return Difference(name, *counted, *(float(value) for value in numbers))


def _holm(rows: Items[Difference]) -> tuple[Difference, ...]:
    """The rows with their p-values adjusted for each other."""
    known = [place for place, row in enumerate(rows) if not math.isnan(row.p_value)]
    fitted = dict(zip(known, adjusted(np.array([rows[place].p_value for place in known])), strict=True))
    return tuple(replace(row, adjusted_p=float(fitted.get(place, math.nan))) for place, row in enumerate(rows))
