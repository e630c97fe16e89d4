"""Tables of poses of one's own: Parquet or CSV, one row a sequence and frame.

Columns: `subject` (S9), `action` (the metadata's name or VideoPose3D's: TakingPhoto or Photo), `subaction` (1 or 2),
`camera` (54138969), `frame` (from 0), and the pose: a column of lists (`joints_3d`, or the only one there is; flat or
a list a joint), or `x_<joint>`, `y_<joint>`, `z_<joint>` with our joint names or numbers from 0.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from h36m_toolbox.benchmarks.foreign.poses import FRAME_BITS, Facts, ForeignPoses
from h36m_toolbox.benchmarks.predictions import PREDICTION_COLUMN
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import ACTION_WORDS, KEYS, SUBJECT_WORDS
from h36m_toolbox.sequences import CAMERA_IDS, SUBACTIONS
from h36m_toolbox.skeletons import SKELETONS, Skeleton, skeleton_of

_OTHER_ACTIONS = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog", "WalkTogether": "WalkingTogether"}
_LAST_FRAME = (1 << 31) - 1  # what the tables' int32 holds


def read_foreign_table(path: Path) -> ForeignPoses:
    """Read a table, CSV where the file is called so, else Parquet.

    Joints, unit and coordinates are taken from the metadata of the list column (`joints`, `unit`, `coordinate_frame`)
    or the names of the columns, where they say so. Raises H36MError naming the column, and the row (from 0) of a value
    that is no key.
    """
    table = _read(path)
    absent = [name for name in KEYS if name not in table.schema.names]
    if absent:
        raise H36MError(f"{path}: lacks the column {', '.join(absent)}; it has {', '.join(table.schema.names)}")
    if not len(table):
        raise H36MError(f"{path}: has columns but no rows; expected a row for each sequence and frame")
    column = _list_column(path, table.schema)
    poses, says = _of_list(path, table, column) if column else _of_columns(path, table)
    return ForeignPoses("CSV table" if _is_csv(path) else "Parquet table", _keys(path, table), poses, says)


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _read(path: Path) -> pa.Table:
    words = pa.csv.ConvertOptions(column_types=dict.fromkeys(("subject", "action", "camera"), pa.string()))
    try:
        table = pa.csv.read_csv(path, convert_options=words) if _is_csv(path) else pq.read_table(path)
        names = table.schema.names
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is no UTF-8
        kind = "CSV, comma-separated UTF-8 with a header" if _is_csv(path) else "Parquet"
        raise H36MError(f"{path}: cannot be read as {kind} ({error})") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise H36MError(f"{path}: has the column {', '.join(twice)} more than once")
    return table


def _keys(path: Path, table: pa.Table) -> np.ndarray:
    actions = (*ACTION_WORDS, *_OTHER_ACTIONS)
    subject = _codes(path, table, "subject", SUBJECT_WORDS)
    words = _codes(path, table, "action", actions)
    action = np.array([ACTION_WORDS.index(_OTHER_ACTIONS.get(word, word)) for word in actions])[words]
    camera = _codes(path, table, "camera", CAMERA_IDS)
    subaction, frame = _numbers(path, table, "subaction", pa.int64()), _numbers(path, table, "frame", pa.int64())
    _refuse(path, table, "subaction", ~np.isin(subaction, SUBACTIONS), "1 or 2")
    _refuse(path, table, "frame", (frame < 0) | (frame > _LAST_FRAME), "a number from 0")
    return (((subject << 8 | action) << 4 | subaction) << 4 | camera) << FRAME_BITS | frame


def _codes(path: Path, table: pa.Table, name: str, words: tuple[str, ...]) -> np.ndarray:
    try:
        column = table.column(name).cast(pa.string())
    except pa.ArrowException as error:
        raise H36MError(f"{path}: column {name} holds {table.column(name).type}, expected words ({error})") from error
    codes = pc.index_in(column, value_set=pa.array(words)).fill_null(-1).to_numpy()
    _refuse(path, table, name, codes < 0, f"one of {', '.join(words)}")
    return codes.astype(np.int64)


def _numbers(path: Path, table: pa.Table, name: str, type_: pa.DataType) -> np.ndarray:
    column = table.column(name)
    _refuse(path, table, name, column.is_null().to_numpy(), "a number in every row")
    try:
        return column.cast(type_).to_numpy()
    except pa.ArrowException as error:
        kind = "whole numbers" if pa.types.is_integer(type_) else "numbers"
        raise H36MError(f"{path}: column {name} holds {column.type}, expected {kind} ({error})") from error


def _refuse(path: Path, table: pa.Table, name: str, wrong: np.ndarray, expected: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        try:
            value = repr(table.column(name)[int(rows[0])].as_py())
        except UnicodeDecodeError:
            value = "no UTF-8 text"
        raise H36MError(f"{path}: row {rows[0]} of the table, from 0: {name} is {value}; expected {expected}")


def _is_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def _list_column(path: Path, schema: pa.Schema) -> str:
    lists = [field.name for field in schema if _is_list(field.type) and field.name not in KEYS]
    if PREDICTION_COLUMN in lists or len(lists) == 1:
        return PREDICTION_COLUMN if PREDICTION_COLUMN in lists else str(lists[0])
    if lists:
        raise H36MError(f"{path}: columns {', '.join(lists)} hold lists; call the one of the poses {PREDICTION_COLUMN}")
    return ""


def _of_list(path: Path, table: pa.Table, name: str) -> tuple[np.ndarray, Facts]:
    """The poses of a column of lists, and what its metadata say."""
    field, values = table.schema.field(name), table.column(name)
    _refuse(path, table, name, values.is_null().to_numpy(), "a pose")
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1:
            found = ", ".join(map(str, sorted(lengths, key=str)))
            raise H36MError(f"{path}: column {name} holds lists of {found} values; expected one length")
        values = pc.list_flatten(values)
    if not pa.types.is_floating(values.type):
        raise H36MError(f"{path}: column {name} holds {values.type}; expected floating-point numbers")
    flat = values.to_numpy()
    size = len(flat) // len(table)
    if not size or size % 3:
        raise H36MError(f"{path}: column {name} holds {size} numbers a row; expected x, y, z of every joint")
    try:
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        joints = skeleton_of(tuple(json.loads(metadata["joints"]))).name if "joints" in metadata else ""
    except (ValueError, TypeError, H36MError) as error:
        raise H36MError(f"{path}: the metadata of column {name} name no known joints ({error})") from error
    says = Facts(joints, metadata.get("unit", ""), coordinates=metadata.get("coordinate_frame", ""))
    return flat.reshape(len(table), size // 3, 3), says


def _of_columns(path: Path, table: pa.Table) -> tuple[np.ndarray, Facts]:
    """The poses of x_, y_, z_ columns; names of joints say their convention, numbers do not."""
    names = tuple(name.removeprefix("x_") for name in table.schema.names if name.startswith("x_"))
    if not names:
        raise H36MError(
            f"{path}: no poses in it; expected a column {PREDICTION_COLUMN} of lists, or columns x_<joint>, y_<joint>, "
            f"z_<joint>; it has {', '.join(table.schema.names)}"
        )
    numbered = all(name.isdecimal() for name in names)
    order = tuple(map(str, range(len(names)))) if numbered else _skeleton_with(path, names).joints
    columns = [f"{axis}_{joint}" for joint in order for axis in "xyz"]
    absent = [name for name in columns if name not in table.schema.names]
    if absent:
        raise H36MError(f"{path}: lacks the column {', '.join(absent)}; every joint has x_, y_ and z_")
    poses = np.empty((len(table), len(columns)))
    for place, name in enumerate(columns):
        poses[:, place] = _numbers(path, table, name, pa.float64())
    says = Facts() if numbered else Facts(joints=_skeleton_with(path, names).name)
    return poses.reshape(len(table), len(order), 3), says


def _skeleton_with(path: Path, joints: tuple[str, ...]) -> Skeleton:
    for skeleton in SKELETONS.values():
        if set(skeleton.joints) == set(joints):
            return skeleton
    known = [f"{skeleton.name} has {', '.join(skeleton.joints)}" for skeleton in SKELETONS.values()]
    raise H36MError(f"{path}: the joints {', '.join(joints)} are those of no known convention; {'; '.join(known)}")
