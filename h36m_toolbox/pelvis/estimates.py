"""Pelvis estimates, one an instant: `DATA/pelvis/{train,val}.parquet`, and how far they are from the ground truth.

ContextPose (Ma et al. 2021) and learnable triangulation (Iskakov et al. 2019) centre their volumes on such estimates.
The joint is H36M-17's Hip, joint 6 of the multi-view order. Where estimates come from: `pelvis_sources`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import label_sequences, labels_path
from h36m_toolbox.pose_parquet import open_writer
from h36m_toolbox.pose_tables import (
    ACTION_WORDS,
    KEY_FIELDS,
    SUBJECT_WORDS,
    PoseField,
    pose_array,
    pose_field,
    sequence_codes,
    sequence_of_code,
    sequence_table,
    table_schema,
)
from h36m_toolbox.sequences import CAMERA_IDS, SPLITS, Recording
from h36m_toolbox.skeletons import PELVIS
from h36m_toolbox.storage.files import written_whole

JOINT = "Hip"
COLUMN = "pelvis"

_FIELD = PoseField(COLUMN, PELVIS, 3, "mm", "world")
SCHEMA = pa.schema(
    [
        *(item for item in KEY_FIELDS if item.name != "camera"),
        _FIELD.arrow,
        pa.field("source", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("n_views", pa.int8(), nullable=False),
    ]
)


@dataclass(frozen=True)
class PelvisSource:
    """Where estimates come from; kept in the file's metadata.

    `kind` is "detections", "predictions" or "results", `name` what the column `source` says, `file` and `sha256` the
    file that was read, `joints` its convention, `settings` how the estimates were made from it.
    """

    kind: str
    name: str
    file: str
    sha256: str
    joints: str
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class RecordingPelvis:
    """The estimates of one recording, ascending in `frames`; frames without an estimate are left out."""

    recording: Recording
    frames: np.ndarray  # (n,), from 0
    pelvis: np.ndarray  # (n, 3), world, mm
    n_views: np.ndarray  # (n,), views that an estimate was made from
    without: int = 0  # instants of the source that gave no estimate


@dataclass(frozen=True)
class PelvisReport:
    """What was written, by split; `without` are the recordings in which instants had no estimate, and how many."""

    paths: dict[str, Path]
    rows: dict[str, int]
    without: dict[str, int]

    def lines(self) -> list[str]:
        """What to tell a user: instants that gave no estimate, then what was written."""
        lost = [f"{name}: {count} instants without an estimate" for name, count in self.without.items()]
        return [*lost, *(f"{self.rows[split]:,} instants in {path}" for split, path in self.paths.items())]


def pelvis_path(data: Path, split: str) -> Path:
    """Where the pelvis estimates of a split lie in a DATA folder."""
    if split not in SPLITS:
        raise H36MError(f"no split {split}; the splits are {' and '.join(SPLITS)}")
    return data / "pelvis" / f"{split}.parquet"


def write_pelvis(
    data: Path,
    source: PelvisSource,
    estimates: Iterable[RecordingPelvis],
    progress: Callable[[Recording], None] | None = None,
) -> PelvisReport:
    """Stream estimates, a row group a recording, to the files of the splits that their subjects belong to.

    `estimates` come in the data set's loop order. The file of a split that they have nothing of stays as it was; a
    pickle made from the estimates that are replaced is removed. Raises H36MError where there is no estimate at all or a
    subject has no split.
    """
    facts = {"table": "pelvis", "version": 1, "joint": JOINT, "source": asdict(source)}
    split_of = {subject: split for split, subjects in SPLITS.items() for subject in subjects}
    writers: dict[str, pq.ParquetWriter] = {}
    rows: dict[str, int] = {}
    without: dict[str, int] = {}
    with ExitStack() as stack:
        for item in estimates:
            split = split_of.get(item.recording.subject, "")
            if not split:
                raise H36MError(f"{source.file}: {item.recording.subject} belongs to no split, it has no public poses")
            if progress:
                progress(item.recording)
            if item.without:
                without[f"{item.recording.subject}/{item.recording.stem}"] = item.without
            if not len(item.frames):
                continue
            if split not in writers:
                temporary = stack.enter_context(written_whole(pelvis_path(data, split)))
                writers[split] = stack.enter_context(open_writer(temporary, SCHEMA))
                writers[split].add_key_value_metadata({"h36m": json.dumps(facts)})
            writers[split].write_table(_table(item, source.name), row_group_size=len(item.frames))
            rows[split] = rows.get(split, 0) + len(item.frames)
        for split in writers:
            pelvis_path(data, split).with_suffix(".pkl").unlink(missing_ok=True)
    if not rows:
        raise H36MError(f"{source.file}: no pelvis estimate came of it; nothing was written")
    return PelvisReport({split: pelvis_path(data, split) for split in rows}, rows, without)


def _table(item: RecordingPelvis, name: str) -> pa.Table:
    n = len(item.frames)
    poses = {COLUMN: item.pelvis[:, None]}
    any_view = item.recording.view(CAMERA_IDS[0])
    keyed = sequence_table(any_view, item.frames, poses, table_schema((_FIELD,))).drop_columns("camera")
    columns = {
        "source": pa.DictionaryArray.from_arrays(np.zeros(n, np.int8), pa.array([name])),
        "n_views": pa.array(item.n_views.astype(np.int8)),
    }
    for column, values in columns.items():
        keyed = keyed.append_column(SCHEMA.field(column), values)
    return keyed.cast(SCHEMA)


def read_pelvis(data: Path, split: str) -> pa.Table:
    """The pelvis estimates of a split, columns of `SCHEMA`; `pelvis_array` gives the points.

    Raises H36MError where `h36m pelvis` has not been run for it or the file is damaged.
    """
    path = pelvis_path(data, split)
    if not path.is_file():
        raise H36MError(
            f"{path}: no pelvis estimates of the {split} split; make them with `h36m pelvis {data} --detections NAME`"
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise H36MError(f"{path}: cannot be read as Parquet ({error}); make it again with `h36m pelvis`") from error
    if not table.schema.equals(SCHEMA, check_metadata=False):
        raise H36MError(
            f"{path}: its columns are {', '.join(table.schema.names)}; expected {', '.join(SCHEMA.names)} as "
            f"`h36m pelvis {data}` writes them"
        )
    return table


def pelvis_array(table: pa.Table) -> np.ndarray:
    """The points (rows, 3) of a table of `SCHEMA`, float32, mm, world."""
    return pose_array(table, COLUMN)[:, 0]


def instant_keys(table: pa.Table) -> np.ndarray:
    """One int64 per row of a pelvis, label or predictions table, equal within an instant whatever the camera.

    Sorts by subject, action, sub-action, frame.
    """
    if "camera" in table.schema.names:
        codes = sequence_codes(table) >> 4
    else:
        first = pa.DictionaryArray.from_arrays(np.zeros(len(table), np.int8), pa.array(CAMERA_IDS))
        codes = sequence_codes(table.append_column("camera", first)) >> 4
    return (codes << 32) | table.column("frame").to_numpy().astype(np.int64)


def recording_code(recording: Recording) -> int:
    """The upper half of the `instant_keys` of a recording."""
    subject, action = SUBJECT_WORDS.index(recording.subject), ACTION_WORDS.index(recording.action)
    return subject << 12 | action << 4 | recording.subaction


def averaged(keys: np.ndarray, points: np.ndarray) -> Iterator[RecordingPelvis]:
    """Mean of the points (rows, 3), world, mm, that have the same `instant_keys`, recording by recording."""
    order = np.argsort(keys, kind="stable")
    instants, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
    means = np.add.reduceat(points[order], starts, axis=0) / counts[:, None] if len(instants) else points
    codes = instants >> 32
    for code in np.unique(codes):
        here = codes == code
        recording = sequence_of_code(int(code) << 4).recording
        yield RecordingPelvis(recording, instants[here] & 0xFFFFFFFF, means[here], counts[here])


@dataclass(frozen=True, eq=False)
class PelvisErrors:
    """Distances to the ground truth, mm, by subject; `labelled` counts the instants that the labels have."""

    split: str
    by_subject: dict[str, np.ndarray]
    labelled: int

    def lines(self) -> list[str]:
        """A Markdown table: mean, median and 90th percentile by subject and over all."""
        everything = {**self.by_subject, "all": np.concatenate(list(self.by_subject.values()))}
        lines = [
            f"error of {len(everything['all']):,} of {self.labelled:,} labelled instants, {self.split}",
            "| subject | instants | mean, mm | median, mm | 90th percentile, mm |",
            "|---|---|---|---|---|",
        ]
        for subject, errors in everything.items():
            figures = " | ".join(f"{x:.2f}" for x in (errors.mean(), np.median(errors), np.percentile(errors, 90)))
            lines.append(f"| {subject} | {len(errors):,} | {figures} |")
        return lines


def pelvis_errors(data: Path, split: str) -> PelvisErrors | None:
    """Distances of a split's estimates to the labels' Hip; None where there are no labels of any of its instants."""
    if not labels_path(data, split).is_file():
        return None
    table = read_pelvis(data, split)
    keys, points = instant_keys(table), pelvis_array(table).astype(np.float64)
    by_subject: dict[str, list[np.ndarray]] = {}
    labelled = 0
    for recording, frames_keys, truth in _true_pelvis(data, split):
        labelled += len(frames_keys)
        place = np.minimum(np.searchsorted(keys, frames_keys), len(keys) - 1)
        there = keys[place] == frames_keys
        if there.any():
            errors = np.linalg.norm(points[place[there]] - truth[there], axis=-1)
            by_subject.setdefault(recording.subject, []).append(errors)
    if not by_subject:
        return None
    return PelvisErrors(split, {subject: np.concatenate(parts) for subject, parts in by_subject.items()}, labelled)


def _true_pelvis(data: Path, split: str) -> Iterator[tuple[Recording, np.ndarray, np.ndarray]]:
    """Each recording of the labels with its instants' keys and their Hip (instants, 3), from its first view."""
    seen: set[Recording] = set()
    for sequence, rows in label_sequences(data, split, ["joints_3d_world"]):
        if sequence.recording not in seen:
            seen.add(sequence.recording)
            skeleton = pose_field(rows.schema, "joints_3d_world").skeleton
            hips = skeleton.select(pose_array(rows, "joints_3d_world"), (JOINT,))[:, 0]
            yield sequence.recording, instant_keys(rows), hips
