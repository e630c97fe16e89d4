"""Which labelled frames a protocol scores, and which prediction belongs to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.manifests import covered, sample_keys
from h36m_toolbox.benchmarks.predictions import row_name
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import row_keys, sequence_of_code


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Matched:
    """Rows of labels and predictions that belong together, sorted by sequence and frame, and what did not match."""

    keys: np.ndarray  # (n,), scored row keys
    label_rows: np.ndarray  # (n,)
    prediction_rows: np.ndarray  # (n,)
    expected_keys: np.ndarray  # (m,), row keys that the protocol covers
    expected: int  # samples
    ignored: int
    other_views: np.ndarray  # (k, 2), prediction rows of a scored and of another view of the same instant
    problems: tuple[str, ...]


def covered_rows(labels: pa.Table, keys: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Rows of the labels, whose `row_keys` are `keys`, that the protocol scores, sorted by key."""
    if len(keys) != len(labels):
        raise H36MError(f"{len(keys)} keys for {len(labels)} labels; they must be the row_keys of these labels")
    return covered(keys, protocol)


def match(predicted: pa.Table, labels: pa.Table, protocol: Protocol) -> Matched:
    """The rows of two tables that a protocol compares; an H36MError if there are none."""
    label_keys, predicted_keys = row_keys(labels), row_keys(predicted)
    rows = _covered_or_refused(labels, label_keys, protocol)
    wanted = label_keys[rows]
    unique, first_row = _first_rows(predicted_keys)
    place = np.minimum(np.searchsorted(unique, wanted), max(len(unique) - 1, 0))
    found = unique[place] == wanted if len(unique) else np.zeros(len(wanted), bool)
    if not found.any():
        raise H36MError(f"no prediction is of a frame that protocol {protocol.name} scores; are they of another split?")
    if not protocol.frames.published:
        rows, wanted, place, found = rows[found], wanted[found], place[found], found[found]

    samples = sample_keys(wanted, protocol)
    scored = _first_of_each(samples, found)
    strangers = first_row[_without_label(unique, label_keys)]
    problems = [
        *_unpublished(wanted, protocol),
        *_missing(samples, scored, labels, rows),
        *_strangers(predicted, strangers),
        *_repeated(len(predicted_keys) - len(unique)),
        *_absent_words(wanted, protocol),
    ]
    return Matched(
        keys=wanted[scored],
        label_rows=rows[scored],
        prediction_rows=first_row[place[scored]],
        expected_keys=wanted,
        expected=len(np.unique(samples)),
        ignored=int(len(unique) - len(strangers) - found.sum()),
        other_views=first_row[place[_other_views(samples, scored, found)]],
        problems=tuple(problems),
    )


def _covered_or_refused(labels: pa.Table, keys: np.ndarray, protocol: Protocol) -> np.ndarray:
    if not protocol.subjects:
        raise H36MError(
            f"protocol {protocol.name} scores {protocol.frames}: no label table holds them; score arrays with "
            "h36m_toolbox.benchmarks.evaluator.evaluate_poses"
        )
    rows = covered(keys, protocol)
    if not len(rows):
        batches = f" and whole batches of {protocol.batch_remainder} per action" if protocol.batch_remainder > 1 else ""
        raise H36MError(
            f"labels: none for protocol {protocol.name}, which scores {', '.join(protocol.subjects)}{batches}; "
            "use the split of those subjects, or Protocol.for_subjects"
        )
    return rows


def _first_rows(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys in order, and the first row of each."""
    if (keys[1:] > keys[:-1]).all():
        return keys, np.arange(len(keys))
    return np.unique(keys, return_index=True)


def _first_of_each(samples: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Which rows (n,), sorted by key, are scored: the first predicted one of each sample."""
    places = np.flatnonzero(found)
    _, first = np.unique(samples[places], return_index=True)
    scored = np.zeros(len(samples), bool)
    scored[places[first]] = True
    return scored


def _other_views(samples: np.ndarray, scored: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Places (k, 2) of the scored row and of another predicted row of the same sample."""
    others = np.flatnonzero(found & ~scored)
    places = np.flatnonzero(scored)
    places = places[np.argsort(samples[places], kind="stable")]
    return np.stack([places[np.searchsorted(samples[places], samples[others])], others], axis=1)


def _unpublished(keys: np.ndarray, protocol: Protocol) -> list[str]:
    if protocol.frames.published:
        return []
    return [f"the protocol scores {protocol.frames}; these are the {len(keys)} frames that were predicted"]


def _missing(samples: np.ndarray, scored: np.ndarray, labels: pa.Table, rows: np.ndarray) -> list[str]:
    if scored.all():
        return []
    missing = ~np.isin(samples, samples[scored])
    if not missing.any():
        return []
    absent, expected = len(np.unique(samples[missing])), len(np.unique(samples))
    first = row_name(labels, int(rows[missing.argmax()]))
    return [f"{absent} of {expected} frames have no prediction, the first is {first}"]


def _strangers(predicted: pa.Table, rows: np.ndarray) -> list[str]:
    if not len(rows):
        return []
    first = row_name(predicted, int(rows[0]))
    return [f"{len(rows)} predictions are of frames without a label, the first is {first}"]


def _repeated(count: int) -> list[str]:
    return [f"{count} predictions repeat a frame; the first of each counts"] if count else []


def _without_label(keys: np.ndarray, label_keys: np.ndarray) -> np.ndarray:
    """Places of the sorted keys that no label has."""
    if np.array_equal(keys, label_keys):
        return np.empty(0, np.int64)
    return np.flatnonzero(~np.isin(keys, label_keys, assume_unique=True))


def _absent_words(keys: np.ndarray, protocol: Protocol) -> list[str]:
    present = [sequence_of_code(int(code)) for code in np.unique(keys >> 32)]
    problems = []
    for column, words in (("subject", protocol.subjects), ("camera", protocol.cameras)):
        absent = [word for word in words if word not in {getattr(sequence, column) for sequence in present}]
        if absent:
            problems.append(f"the labels have no {column} {', '.join(absent)}")
    return problems
