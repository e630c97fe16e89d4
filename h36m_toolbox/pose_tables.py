"""The Arrow tables that labels, detections and predictions share: one row per (sequence, frame).

Every table starts with the same five key columns; pose columns are fixed-size lists whose field metadata tell joints,
unit and coordinate frame, and which view as numpy without a copy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTION_IDS, CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import Skeleton, skeleton_of

_WORDS = pa.dictionary(pa.int8(), pa.string())
KEY_FIELDS = (
    pa.field("subject", _WORDS, nullable=False),
    pa.field("action", _WORDS, nullable=False),
    pa.field("subaction", pa.int8(), nullable=False),
    pa.field("camera", _WORDS, nullable=False),
    pa.field("frame", pa.int32(), nullable=False),
)
KEYS = tuple(field.name for field in KEY_FIELDS)

# One dictionary for all tables: codes agree between row groups, files and kinds of table.
SUBJECT_WORDS = tuple(f"S{number}" for number in range(1, 12))
ACTION_WORDS = tuple(ACTION_IDS)
_DICTIONARIES = {"subject": SUBJECT_WORDS, "action": ACTION_WORDS, "camera": CAMERA_IDS}


@dataclass(frozen=True)
class PoseField:
    """What a pose column holds: `dims` numbers for each joint of `skeleton`, in `unit`, in a coordinate `frame`."""

    name: str
    skeleton: Skeleton
    dims: int
    unit: str  # "mm" or "px"
    frame: str  # "world", "camera", "universal camera", "image"
    may_lack: bool = False  # rows without a pose hold NaN: older readers cannot read null lists of a fixed size

    @property
    def arrow(self) -> pa.Field:
        """The Arrow field, float32, with joints, unit and frame as its metadata."""
        metadata = {"joints": json.dumps(self.skeleton.joints), "unit": self.unit, "coordinate_frame": self.frame}
        if self.may_lack:
            metadata["without_pose"] = "NaN"
        size = len(self.skeleton) * self.dims
        return pa.field(self.name, pa.list_(pa.float32(), size), False, metadata)


def table_schema(fields: tuple[PoseField, ...], metadata: dict[str, str] | None = None) -> pa.Schema:
    """Key columns, then these pose columns; `metadata` is kept in the Parquet file."""
    return pa.schema([*KEY_FIELDS, *(field.arrow for field in fields)], metadata=metadata)


def column_metadata(schema: pa.Schema) -> dict[str, str]:
    """What a table's pose columns hold, for a whole file: only Arrow's readers see the metadata of a field."""
    fields = [pose_field(schema, field.name) for field in schema if b"joints" in (field.metadata or {})]
    columns = {
        field.name: {"joints": field.skeleton.joints, "unit": field.unit, "coordinate_frame": field.frame}
        | ({"without_pose": "NaN"} if field.may_lack else {})
        for field in fields
    }
    return {"columns": json.dumps(columns)}


def sequence_table(sequence: Sequence, frames: np.ndarray, poses: dict[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    """The rows of one sequence: `frames` (n,) count from 0, `poses` are (n, joints, dims) by column name."""
    n = len(frames)
    words = {"subject": sequence.subject, "action": sequence.action, "camera": sequence.camera}
    columns: dict[str, pa.Array] = {
        name: pa.DictionaryArray.from_arrays(
            np.full(n, _DICTIONARIES[name].index(word), np.int8), pa.array(_DICTIONARIES[name])
        )
        for name, word in words.items()
    }
    columns["subaction"] = pa.array(np.full(n, sequence.subaction, np.int8))
    columns["frame"] = pa.array(np.asarray(frames, np.int32))
    for name, values in poses.items():
        columns[name] = pose_column(values, schema.field(name).type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def pose_column(poses: np.ndarray, type_: pa.DataType) -> pa.Array:
    """Poses (n, joints, dims) as a fixed-size-list array of `type_`."""
    flat = np.ascontiguousarray(poses, np.float32).reshape(-1)
    if len(flat) != len(poses) * type_.list_size:
        raise H36MError(f"poses of shape {poses.shape} do not fill a column of {type_.list_size} numbers a row")
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=type_)


def pose_array(table: pa.Table, column: str) -> np.ndarray:
    """A pose column as float32 (rows, joints, dims); without a copy where the column is one chunk.

    H36MError where rows have no pose, as `joints_3d_universal` of sequences without universal poses.
    """
    field = pose_field(table.schema, column)
    chunks = [
        chunk.flatten().to_numpy().reshape(len(chunk), len(field.skeleton), field.dims)
        for chunk in table.column(column).chunks
    ]
    if not chunks:
        return np.empty((0, len(field.skeleton), field.dims), np.float32)
    poses = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    if field.may_lack:
        _check_all_there(table, column, np.isnan(poses[:, 0, 0]))
    return poses


def _check_all_there(table: pa.Table, column: str, absent: np.ndarray) -> None:
    if absent.any():
        first = table.slice(int(absent.argmax()), 1).select(KEYS)
        sequence = sequence_of_code(int(sequence_codes(first)[0]))
        raise H36MError(
            f"column {column} has no values in {absent.sum():,} of {len(table):,} rows, the first of {sequence}: RAW "
            "lacks what it is made from; get the missing archives and make the labels again, or leave these sequences "
            "out"
        )


def pose_field(schema: pa.Schema, column: str) -> PoseField:
    """What a pose column holds, from the metadata of its field; an H36MError if it does not say."""
    if column not in schema.names:
        raise H36MError(f"the table has no column {column}; it has {', '.join(schema.names)}")
    field = schema.field(column)
    try:
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        joints = tuple(str(joint) for joint in json.loads(metadata.get("joints", "")))
    except (ValueError, TypeError):  # no text, no JSON, no list
        joints = ()
    if not joints or not pa.types.is_fixed_size_list(field.type):
        raise H36MError(f"column {column} is no pose column: a fixed-size list whose field metadata name its joints")
    skeleton = skeleton_of(joints)
    return PoseField(
        column,
        skeleton,
        field.type.list_size // len(skeleton),
        metadata.get("unit", ""),
        metadata.get("coordinate_frame", ""),
        metadata.get("without_pose") == "NaN",
    )


def word_codes(table: pa.Table, column: str) -> np.ndarray:
    """Codes (rows,) of a subject, action or camera column: its place in SUBJECT_WORDS, ACTION_WORDS or CAMERA_IDS."""
    words = _DICTIONARIES[column]
    codes = [np.empty(0, np.int64)]
    for chunk in table.column(column).chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        unknown = [word for word in encoded.dictionary.to_pylist() if word not in words]
        if unknown:
            raise H36MError(f"column {column} holds {', '.join(map(str, unknown))}; expected one of {', '.join(words)}")
        places = np.array([words.index(word) for word in encoded.dictionary.to_pylist()], np.int64)
        codes.append(places[encoded.indices.to_numpy()])
    return np.concatenate(codes)


def row_keys(table: pa.Table) -> np.ndarray:
    """One int64 per row that is equal for equal (subject, action, subaction, camera, frame) and sorts in that order."""
    return (sequence_codes(table) << 32) | table.column("frame").to_numpy().astype(np.int64)


def sequence_codes(table: pa.Table) -> np.ndarray:
    """One int64 per row that is equal within a sequence and sorts by subject, action, sub-action, camera."""
    codes = word_codes(table, "subject")
    codes = codes << 8 | word_codes(table, "action")
    codes = codes << 4 | table.column("subaction").to_numpy().astype(np.int64)
    return codes << 4 | word_codes(table, "camera")


def sequence_code(sequence: Sequence) -> int:
    """The one of `sequence_codes` that stands for this sequence."""
    code = SUBJECT_WORDS.index(sequence.subject) << 8 | ACTION_WORDS.index(sequence.action)
    return (code << 4 | sequence.subaction) << 4 | CAMERA_IDS.index(sequence.camera)


def keyed_table(keys: np.ndarray, poses: dict[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    """Rows of any sequences: `keys` (n,) as `row_keys` gives them, `poses` (n, joints, dims) by column name."""
    codes = keys >> 32
    words = {"subject": codes >> 16, "action": codes >> 8 & 0xFF, "camera": codes & 0xF}
    columns: dict[str, pa.Array] = {
        name: pa.DictionaryArray.from_arrays(places.astype(np.int8), pa.array(_DICTIONARIES[name]))
        for name, places in words.items()
    }
    columns["subaction"] = pa.array((codes >> 4 & 0xF).astype(np.int8))
    columns["frame"] = pa.array((keys & 0xFFFFFFFF).astype(np.int32))
    for name, values in poses.items():
        columns[name] = pose_column(values, schema.field(name).type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def sequence_of_code(code: int) -> Sequence:
    """The sequence behind one of `sequence_codes`."""
    return Sequence(
        SUBJECT_WORDS[code >> 16], ACTION_WORDS[code >> 8 & 0xFF], int(code >> 4 & 0xF), CAMERA_IDS[code & 0xF]
    )
