"""Which labelled frames a protocol scores, and which prediction belongs to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.predictions import row_name
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import SUBJECT_WORDS, row_keys, sequence_codes, sequence_of_code, word_codes
from h36m_toolbox.sequences import CAMERA_IDS


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Matched:
    """Rows of labels and predictions that belong together, sorted by sequence and frame, and what did not match."""

    keys: np.ndarray  # (n,), scored row keys
    label_rows: np.ndarray  # (n,)
    prediction_rows: np.ndarray  # (n,)
    expected: int
    ignored: int
    problems: tuple[str, ...]


def covered_rows(labels: pa.Table, keys: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Rows of the labels that the protocol scores, sorted by key."""
    subjects = [SUBJECT_WORDS.index(subject) for subject in protocol.subjects]
    cameras = [CAMERA_IDS.index(camera) for camera in protocol.cameras]
    covered = np.isin(word_codes(labels, "subject"), subjects)
    covered &= np.isin(word_codes(labels, "camera"), cameras)
    covered &= labels.column("frame").to_numpy() % protocol.frame_step == 0
    codes, code_of_row = np.unique(sequence_codes(labels), return_inverse=True)
    dropped = [sequence_of_code(int(code)).recording in protocol.dropped_recordings for code in codes]
    covered &= ~np.array(dropped, bool)[code_of_row]
    rows = np.flatnonzero(covered)
    rows = rows[np.argsort(keys[rows], kind="stable")]
    if (np.diff(keys[rows]) == 0).any():
        raise H36MError("labels: some frames of a sequence are there twice; write them again with `h36m labels`")
    if protocol.complete_instants_only:
        camera_bits = 0xF << 32  # where pose_tables.row_keys keeps the camera
        _, instant, views = np.unique(keys[rows] & ~camera_bits, return_inverse=True, return_counts=True)
        rows = rows[views[instant] == len(protocol.cameras)]
    if protocol.batch_remainder > 1:
        rows = _whole_batches(rows, word_codes(labels, "action")[rows], protocol.batch_remainder)
    return rows


def _whole_batches(rows: np.ndarray, actions: np.ndarray, batch: int) -> np.ndarray:
    kept = np.ones(len(rows), bool)
    for action in np.unique(actions):
        places = np.flatnonzero(actions == action)
        kept[places[len(places) - len(places) % batch :]] = False
    return rows[kept]


def match(predicted: pa.Table, labels: pa.Table, protocol: Protocol) -> Matched:
    """The rows of two tables that a protocol compares; an H36MError if there are none."""
    label_keys, predicted_keys = row_keys(labels), row_keys(predicted)
    covered = covered_rows(labels, label_keys, protocol)
    if not len(covered):
        batches = f" and whole batches of {protocol.batch_remainder} per action" if protocol.batch_remainder > 1 else ""
        raise H36MError(
            f"labels: none for protocol {protocol.name}, which scores {', '.join(protocol.subjects)}{batches}; "
            "use the split of those subjects, or Protocol.for_subjects"
        )
    wanted = label_keys[covered]
    unique, first_row = np.unique(predicted_keys, return_index=True)
    place = np.minimum(np.searchsorted(unique, wanted), max(len(unique) - 1, 0))
    found = unique[place] == wanted if len(unique) else np.zeros(len(wanted), bool)
    if not found.any():
        raise H36MError(f"no prediction is of a frame that protocol {protocol.name} scores; are they of another split?")

    unlabelled = ~np.isin(unique, label_keys, assume_unique=True)
    problems = []
    if not found.all():
        first = row_name(labels, int(covered[(~found).argmax()]))
        problems.append(f"{(~found).sum()} of {len(wanted)} frames have no prediction, the first is {first}")
    if unlabelled.any():
        first = row_name(predicted, int(first_row[unlabelled.argmax()]))
        problems.append(f"{unlabelled.sum()} predictions are of frames without a label, the first is {first}")
    if len(unique) < len(predicted_keys):
        problems.append(f"{len(predicted_keys) - len(unique)} predictions repeat a frame; the first of each counts")
    for column, words in (("subject", protocol.subjects), ("camera", protocol.cameras)):
        present = {getattr(sequence_of_code(int(code)), column) for code in np.unique(wanted >> 32)}
        absent = [word for word in words if word not in present]
        if absent:
            problems.append(f"the labels have no {column} {', '.join(absent)}")
    return Matched(
        keys=wanted[found],
        label_rows=covered[found],
        prediction_rows=first_row[place[found]],
        expected=len(wanted),
        ignored=int(len(unique) - unlabelled.sum() - found.sum()),
        problems=tuple(problems),
    )
