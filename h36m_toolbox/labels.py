"""The label table: one row per (sequence, frame), 17 joints, in every coordinate frame; and its Parquet files.

`DATA/labels/parquet/{train,val}.parquet`, one row group a sequence, in H36M-Toolbox's loop order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.pose_parquet import open_writer, pose_row_groups, read_pose_parquet
from h36m_toolbox.pose_tables import (
    PoseField,
    sequence_codes,
    sequence_of_code,
    sequence_table,
    table_schema,
)
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.raw.completeness import derived_kinds
from h36m_toolbox.selection import in_h36m_fetch
from h36m_toolbox.sequences import FPS, SPLITS, Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.files import sha256_of, written_whole

LABEL_FIELDS = (
    PoseField("joints_2d", H36M_17, 2, "px", "image"),
    PoseField("joints_3d_world", H36M_17, 3, "mm", "world"),
    PoseField("joints_3d_camera", H36M_17, 3, "mm", "camera"),
    PoseField("joints_3d_universal", H36M_17, 3, "mm", "universal camera", may_lack=True),
)
LABEL_SCHEMA = table_schema(LABEL_FIELDS).append(pa.field("in_h36m_fetch", pa.bool_(), nullable=True))
_POSE_SOURCES = {
    "joints_2d": "image",
    "joints_3d_world": "world",
    "joints_3d_camera": "camera",
    "joints_3d_universal": "universal",
}


def label_table(poses: SequencePoses) -> pa.Table:
    """The rows of one sequence, cut to the frames that all of its arrays have.

    Without universal poses `joints_3d_universal` is NaN and `in_h36m_fetch` null.
    """
    n = poses.frames
    has_universal = poses.universal is not None
    columns = {}
    for name, source in _POSE_SOURCES.items():
        array = getattr(poses, source)
        absent = array is None
        columns[name] = np.full((n, len(H36M_17), 3), np.nan) if absent else H36M_32.select(array[:n], H36M_17.joints)
    table = sequence_table(poses.sequence, np.arange(n), columns, table_schema(LABEL_FIELDS))
    selected = pa.array(in_h36m_fetch(poses)) if has_universal else pa.nulls(n, pa.bool_())
    return table.append_column(LABEL_SCHEMA.field("in_h36m_fetch"), selected)


def label_metadata(files: list[PoseFiles]) -> dict[str, str]:
    """What the Parquet file says of itself; `derived`: kinds of poses that RAW lacks, with the sequences concerned."""
    facts = {"table": "labels", "version": 1, "fps": FPS, "derived": derived_kinds(files)}
    return {"h36m": json.dumps(facts)}


@dataclass(frozen=True)
class LabelReport:
    """What `write_labels` wrote for one split, and where lengths disagree.

    `cut`: sequences whose arrays differ in length, with each length. `short_videos`: sequences whose extracted video
    has fewer frames than poses. `damaged`: sequences left out because a file could not be read. `without_universal`:
    sequences whose columns `joints_3d_universal` and `in_h36m_fetch` are empty (NaN and null).
    """

    path: Path
    sequences: int
    rows: int
    cut: dict[str, dict[str, int]]
    short_videos: dict[str, dict[str, int]]
    damaged: tuple[str, ...]
    without_universal: tuple[str, ...] = ()

    def differences(self) -> list[str]:
        """One line for each sequence whose lengths disagree, one for all that lack universal poses."""
        cut = [f"{name}: cut to {found['kept']} frames, it has {_listed(found)}" for name, found in self.cut.items()]
        short = [f"{name}: fewer images than poses, {_listed(found)}" for name, found in self.short_videos.items()]
        return cut + short + ([self._without_universal()] if self.without_universal else [])

    def _without_universal(self) -> str:
        first, count = self.without_universal[0], len(self.without_universal)
        which = first if count == 1 else f"{count} sequences ({first}, ...)"
        return (
            f"{which}: D3_Positions_mono_universal is not there and cannot be derived; "
            "joints_3d_universal and in_h36m_fetch are empty"
        )


def _listed(lengths: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in lengths.items() if name != "kept")


def write_labels(
    files: list[PoseFiles], data: Path, split: str, jobs: int = 1, progress: Callable[[Sequence], None] | None = None
) -> LabelReport | None:
    """Stream the label table of a split to `DATA/labels/parquet/<split>.parquet`; None where there is none of it.

    Poses that are not there are derived, which the file's metadata say (`label_metadata`). Rows are cut to the shortest
    of a sequence's pose arrays. Sequences with a damaged file are left out and reported.
    Memory stays at a few sequences.
    """
    work = [item for item in files if item.sequence.subject in SPLITS[split]]
    if not work:
        return None
    path = labels_path(data, split)
    count, rows = 0, 0
    cut: dict[str, dict[str, int]] = {}
    short_videos: dict[str, dict[str, int]] = {}
    damaged: list[str] = []
    schema = LABEL_SCHEMA.with_metadata(label_metadata(work))
    with written_whole(path) as temporary, open_writer(temporary, schema) as writer:
        for item, result in zip(work, map_in_order(_read_rows, work, jobs), strict=True):
            if isinstance(result, str):
                damaged.append(result)
            else:
                table, lengths = result
                writer.write_table(table, row_group_size=max(1, len(table)))
                count, rows = count + 1, rows + len(table)
                if len(set(lengths.values())) > 1:
                    cut[str(item.sequence)] = {**lengths, "kept": len(table)}
                manifest = read_manifest(data, item.sequence)
                if manifest and manifest.decoded_frames < len(table):
                    lengths = {"poses": len(table), "video": manifest.decoded_frames}
                    short_videos[str(item.sequence)] = lengths
            if progress:
                progress(item.sequence)
    without = tuple(str(item.sequence) for item in work if item.universal is None)
    return LabelReport(path, count, rows, cut, short_videos, tuple(damaged), without)


def _read_rows(files: PoseFiles) -> tuple[pa.Table, dict[str, int]] | str:
    try:
        poses = files.read()
    except H36MError as error:
        return str(error)
    return label_table(poses), poses.lengths


def labels_path(data: Path, split: str) -> Path:
    """Where the label table of a split lies in a DATA folder."""
    if split not in SPLITS:
        raise H36MError(f"no split {split}; the splits are {' and '.join(SPLITS)}")
    return data / "labels" / "parquet" / f"{split}.parquet"


def read_labels(data: Path, split: str, columns: list[str] | None = None) -> pa.Table:
    """The label table of a split ("train" or "val"): key columns and `columns` (default: all).

    Raises H36MError where `h36m labels` has not been run or the file is damaged.
    """
    path = labels_path(data, split)
    _check_there(path, data, split)
    return read_pose_parquet(path, columns)


def _check_there(path: Path, data: Path, split: str) -> None:
    if not path.is_file():
        raise H36MError(f"{path}: no labels of the {split} split; run `h36m labels RAW --out {data}` first")


def label_sequences(data: Path, split: str, columns: list[str]) -> Iterator[tuple[Sequence, pa.Table]]:
    """The label table of a split sequence after sequence, without holding it all. Raises as `read_labels`."""
    path = labels_path(data, split)
    _check_there(path, data, split)
    for table in pose_row_groups(path, columns):
        yield sequence_of_code(int(sequence_codes(table.slice(0, 1))[0])), table


def data_fingerprint(data: Path, split: str) -> str:
    """What identifies the labels a number was computed on: the sha256 of the split's Parquet file."""
    return sha256_of(labels_path(data, split))
