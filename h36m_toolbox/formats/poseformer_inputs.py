"""Context-Aware PoseFormer's pickles made into a DATA folder: labels, detections, and its own inputs digit for digit.

Read once, as a stream; a note in `DATA/labels/poseformer` says of which pickles, so that the next call ends at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.detections.bundles import GROUND_TRUTH, write_detections
from h36m_toolbox.detections.files import DetectionSource
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.imports import (
    column_values,
    detected_sequences,
    imported_rows,
    is_from_elsewhere,
    link_images,
)
from h36m_toolbox.formats.pickle_records import as_stored, millimetres, pair, pickled_sequences, screen_pixels
from h36m_toolbox.formats.toolbox import PICKLE_NAMES
from h36m_toolbox.frames.stores import WHOLE_FRAMES
from h36m_toolbox.labels import LABEL_SCHEMA, labels_path
from h36m_toolbox.pose_parquet import open_writer, pose_row_groups
from h36m_toolbox.pose_tables import (
    PoseField,
    row_keys,
    sequence_table,
    table_schema,
)
from h36m_toolbox.sequences import FPS, SPLITS, Sequence
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.files import sha256_of, written_whole

DETECTIONS = "cpn"
SOURCE = "pickle"  # where the label table says that it was made of one
_PIXELS = PoseField("joints_2d_cpn", H36M_17, 2, "px", "image")
_OFFICIAL = (
    PoseField("joints_2d_cpn_screen", H36M_17, 2, "half an image's width", "image"),
    PoseField("joints_2d_cpn_crop", H36M_17, 2, "px", "crop"),
    PoseField("joints_3d", H36M_17, 3, "m", "camera"),
)
_COLUMNS = {
    "joints_2d": screen_pixels("joints_2d_gt"),
    "joints_3d_camera": millimetres("joints_3d"),
    "joints_2d_cpn": screen_pixels("joints_2d_cpn"),
    "joints_2d_cpn_screen": as_stored("joints_2d_cpn"),
    "joints_2d_cpn_crop": as_stored("joints_2d_cpn_crop"),
    "joints_3d": as_stored("joints_3d"),
    "center": pair("center"),
    "scale": pair("scale"),
}


@dataclass(frozen=True)
class PickleImport:
    """Rows by split of what was read; none where DATA had it all."""

    data: Path
    rows: dict[str, int]

    def lines(self) -> list[str]:
        """What was written."""
        return [f"{split}: {rows:,} frames in {labels_path(self.data, split)}" for split, rows in self.rows.items()]


def inputs_path(data: Path, split: str) -> Path:
    """Where the official inputs of a split lie in DATA, if it was made from pickles."""
    return data / "labels" / "poseformer" / f"{split}.parquet"


def import_pickles(
    pickles: Path, data: Path, images: Path | None = None, progress: Callable[[Sequence], None] | None = None
) -> PickleImport:
    """Make DATA from the folder with `h36m_train.pkl` and `h36m_validation.pkl`, whichever are there.

    Labels (world poses are derived, universal ones are NaN), detections gt and cpn, and what the official loader takes
    (`read_official_inputs`). `images`, or else the folder of that name beside the pickles, becomes `DATA/images`, as a
    link. Raises H36MError for files of another form, for DATA with labels from elsewhere and without images.
    """
    found = {split: pickles / name for split, name in PICKLE_NAMES.items() if (pickles / name).is_file()}
    if not found:
        raise H36MError(
            f"{pickles}: holds neither {' nor '.join(PICKLE_NAMES.values())}; give the folder where Context-Aware "
            "PoseFormer's generate_labels_h36m.py left them"
        )
    link_images(images or pickles / WHOLE_FRAMES.name, data)
    note = inputs_path(data, "train").with_name("pickles.json")
    known = json.loads(note.read_text()) if note.is_file() else {}
    if known.keys() == {path.name for path in found.values()} and all(
        _is_same(path, known[path.name]) for path in found.values()
    ):
        return PickleImport(data, {})
    if not note.is_file() and (theirs := [split for split in SPLITS if is_from_elsewhere(data, split, SOURCE)]):
        raise H36MError(
            f"{labels_path(data, theirs[0])}: labels that were not made from {pickles}; give another --data, or leave "
            "--pickles out and use these"
        )
    note.unlink(missing_ok=True)
    facts = {path.name: _facts(path) for path in found.values()}
    rows = {split: _write_split(path, data, split, facts, progress) for split, path in found.items()}
    for source, column, table in ((GROUND_TRUTH, "joints_2d", labels_path), (_cpn(facts), _PIXELS.name, inputs_path)):
        tables = [table(data, split) for split in found]
        lengths = {item.sequence: len(item.joints_2d) for item in detected_sequences(tables, column)}
        write_detections(data, source, detected_sequences(tables, column), lengths)
    with written_whole(note) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))
    return PickleImport(data, rows)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class OfficialInputs:
    """What the pickles say of some frames, as they say it; center and scale in their own precision."""

    centers: np.ndarray  # (frames, 2) px
    scales: np.ndarray  # (frames, 2) box size / 200 px
    joints_2d: np.ndarray  # (frames, 17, 2) float32, screen units
    joints_crop: np.ndarray  # (frames, 17, 2) float32, px of the crop
    joints_3d: np.ndarray  # (frames, 17, 3) float32, camera axes, m


def read_official_inputs(data: Path, keys: np.ndarray) -> OfficialInputs | None:
    """Inputs of frames by their `row_keys`; None where DATA was not made from pickles.

    Raises H36MError where it was, and lacks some of the frames.
    """
    paths = [path for split in SPLITS if (path := inputs_path(data, split)).is_file()]
    if not paths:
        return None
    order = np.argsort(keys, kind="stable")
    ordered, there = keys[order], np.zeros(len(keys), bool)
    arrays: dict[str, np.ndarray] = {}
    for path in paths:
        for table in pose_row_groups(path):
            theirs = row_keys(table)
            places = np.minimum(np.searchsorted(ordered, theirs), max(len(keys) - 1, 0))
            wanted = np.flatnonzero(ordered[places] == theirs) if len(keys) else np.empty(0, np.intp)
            if not len(wanted):
                continue
            rows = order[places[wanted]]
            there[rows] = True
            for name in ("center", "scale", *(field.name for field in _OFFICIAL)):
                values = column_values(table, name)
                if name not in arrays:
                    arrays[name] = np.empty((len(keys), *values.shape[1:]), values.dtype)
                arrays[name][rows] = values[wanted]
    if not there.all():
        raise H36MError(f"{paths[0].parent}: lacks {int((~there).sum())} of {len(keys)} frames; read the pickles again")
    return OfficialInputs(arrays["center"], arrays["scale"], *(arrays[field.name] for field in _OFFICIAL))


def _write_split(
    path: Path, data: Path, split: str, facts: dict[str, Any], progress: Callable[[Sequence], None] | None
) -> int:
    """Labels and official inputs of one pickle; the number of rows."""
    rows, seen = 0, set()
    labels_to, inputs_to = labels_path(data, split), inputs_path(data, split)
    with ExitStack() as stack:
        labels, inputs = (stack.enter_context(written_whole(each)) for each in (labels_to, inputs_to))
        label_writer = stack.enter_context(open_writer(labels, LABEL_SCHEMA))
        input_writer: pq.ParquetWriter | None = None
        for sequence, frames, columns in pickled_sequences(path, _COLUMNS):
            if sequence in seen or (np.diff(frames) <= 0).any() or sequence.subject not in SPLITS[split]:
                raise H36MError(
                    f"{path}: the frames of {sequence} do not follow each other, or are not of the {split} split; "
                    "expected the order of generate_labels_h36m.py"
                )
            seen.add(sequence)
            label_writer.write_table(_label_rows(sequence, frames, columns), row_group_size=len(frames))
            table = _input_rows(sequence, frames, columns)
            if input_writer is None:
                input_writer = stack.enter_context(open_writer(inputs, table.schema))
            input_writer.write_table(table.cast(input_writer.schema), row_group_size=len(frames))
            rows += len(frames)
            if progress:
                progress(sequence)
        if input_writer is None:
            raise H36MError(f"{path}: an empty list; expected the records of the {split} split")
        derived = {"D3_Positions": sorted(map(str, seen))}
        about = {"table": "labels", "version": 1, "fps": FPS, "derived": derived, SOURCE: facts[path.name]}
        label_writer.add_key_value_metadata({"h36m": json.dumps(about)})
    return rows


def _label_rows(sequence: Sequence, frames: np.ndarray, columns: dict[str, np.ndarray]) -> pa.Table:
    in_camera = columns["joints_3d_camera"]
    world = h36m_camera(sequence.subject, sequence.camera).camera_to_world(in_camera.astype(np.float64))
    return imported_rows(sequence, frames, columns["joints_2d"], world, in_camera)


def _input_rows(sequence: Sequence, frames: np.ndarray, columns: dict[str, np.ndarray]) -> pa.Table:
    fields = (_PIXELS, *_OFFICIAL)
    table = sequence_table(sequence, frames, {each.name: columns[each.name] for each in fields}, table_schema(fields))
    for name in ("center", "scale"):
        flat = pa.array(columns[name].ravel())
        table = table.append_column(
            pa.field(name, pa.list_(flat.type, 2), False), pa.FixedSizeListArray.from_arrays(flat, 2)
        )
    return table


def _cpn(facts: dict[str, Any]) -> DetectionSource:
    hashes = "+".join(each["sha256"] for each in facts.values())
    return DetectionSource(DETECTIONS, ", ".join(facts), hashes, H36M_17)


def _facts(path: Path) -> dict[str, Any]:
    state = path.stat()
    return {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": sha256_of(path)}


def _is_same(path: Path, known: dict[str, Any]) -> bool:
    state = path.stat()
    if state.st_size != known["bytes"]:
        return False
    return state.st_mtime_ns == known["mtime_ns"] or sha256_of(path) == known["sha256"]
