"""Detections of one's own as a table: Parquet or CSV, one row a sequence and frame, pixels.

Columns: `subject` (S1), `action` (the metadata's name or VideoPose3D's: TakingPhoto or Photo), `subaction` (1 or 2),
`camera` (54138969), `frame` (from 0), and `x_<joint>`, `y_<joint>` for each joint of a skeleton, by its names, in any
order; in Parquet also our own `joints_2d`. Confidences, 0 or more: `c_<joint>` for each joint, or, beside `joints_2d`,
a column `confidences`. Rows may come in any order. Every frame from the first, or every n-th.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from h36m_toolbox.detections.files import DetectedSequence
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import KEYS, pose_field
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, SUBJECTS, Sequence, sequences
from h36m_toolbox.skeletons import H36M_16, H36M_17, SH_16, Skeleton

POSE_COLUMN = "joints_2d"
CONFIDENCE_COLUMN = "confidences"

_SKELETONS = (H36M_17, H36M_16, SH_16)
_CANONICAL_ACTIONS = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}
_ACTION_WORDS = (*ACTIONS, *_CANONICAL_ACTIONS)
_BATCH_ROWS = 1 << 16
_LAST_FRAME = (1 << 31) - 1  # what the tables' int32 holds


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class DetectionTable:
    """The table read: rows sorted by sequence and frame, frames of each sequence every `step`-th from 0, no gaps.

    `starts` are the first rows of the sequences in `order`; `notes` say which columns are not used, and the step.
    """

    skeleton: Skeleton
    notes: tuple[str, ...]
    order: tuple[Sequence, ...]
    starts: np.ndarray  # (sequences,)
    joints_2d: np.ndarray  # (rows, joints, 2), px float32
    confidences: np.ndarray | None  # (rows, joints), float32, 0 or more
    step: int

    def sequences(self) -> Iterator[DetectedSequence]:
        """The detections by sequence, in the data set's loop order."""
        for sequence, start, end in zip(self.order, self.starts, (*self.starts[1:], len(self.joints_2d)), strict=True):
            confidences = None if self.confidences is None else self.confidences[start:end]
            yield DetectedSequence(sequence, self.joints_2d[start:end], confidences)


@dataclass(frozen=True)
class _Columns:
    """Which columns are read, and what they mean; `joints` is empty for the one column of poses.

    `confidences` names no column, one a joint, or the one column of them all.
    """

    skeleton: Skeleton
    joints: tuple[str, ...]
    confidences: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def read(self) -> list[str]:
        return [*KEYS, *(self.joints or (POSE_COLUMN,)), *self.confidences]


@dataclass(frozen=True, eq=False)
class _Block:
    """Some neighbouring rows of a file; messages call the first of them `word` `first`."""

    path: Path
    batch: pa.RecordBatch
    word: str
    first: int

    def place(self, row: int) -> str:
        return f"{self.path}: {self.word} {self.first + row}"


def read_detection_table(path: Path) -> DetectionTable:
    """Read a table of detections, `.csv` or `.parquet`, block by block; only its float32 poses are held.

    Raises H36MError naming the line (CSV, the header is line 1) or row (Parquet, from 0) of an unknown name, a value
    that is no finite number, a duplicate, or a gap in the frames; and for missing or unknown joints. Other columns are
    not used, and the notes say so.
    """
    csv = path.suffix.lower() == ".csv"
    word, first = ("line", 2) if csv else ("row", 0)
    key_blocks, pose_blocks, confidence_blocks, count = [np.empty(0, np.int64)], [], [], 0
    with _opened_csv(path) if csv else _opened_parquet(path) as (columns, batches):
        for batch in batches:
            block = _Block(path, batch, word, first + count)
            key_blocks.append(_keys(block))
            pose_blocks.append(_poses(block, columns))
            if columns.confidences:
                confidence_blocks.append(_confidences(block, columns))
            count += len(batch)
    if not count:
        raise H36MError(f"{path}: has columns but no rows; expected a row for each sequence and frame")
    keys, joints_2d = np.concatenate(key_blocks), np.concatenate(pose_blocks)
    confidences = np.concatenate(confidence_blocks) if confidence_blocks else None
    pose_blocks.clear()  # as large as all that follows
    order = np.argsort(keys, kind="stable")
    if np.any(order[1:] < order[:-1]):
        keys, joints_2d = keys[order], joints_2d[order]
        confidences = None if confidences is None else confidences[order]
    codes, starts = np.unique(keys >> 32, return_index=True)
    step = _frame_step(path, keys, starts, word, order + first)
    notes = [f"{path.name}: {', '.join(columns.unused)}: columns without use, left out"] if columns.unused else []
    notes += [f"{path.name}: one frame in {step}, those that {step} divides"] if step > 1 else []
    order_of_sequences = sequences()
    in_order = tuple(order_of_sequences[code] for code in codes)
    return DetectionTable(columns.skeleton, tuple(notes), in_order, starts, joints_2d, confidences, step)


def _frame_step(path: Path, keys: np.ndarray, starts: np.ndarray, word: str, numbers: np.ndarray) -> int:
    """The step at which sorted `keys` count each sequence's frames from 0, one for the whole file.

    `numbers` are their rows in the file; H36MError for a frame given twice and for one left out.
    """
    same = np.flatnonzero(keys[1:] == keys[:-1])
    if len(same):
        here, there = numbers[same[0]], numbers[same[0] + 1]
        raise H36MError(
            f"{path}: {word} {there}: {_named(keys[same[0]])} is already in {word} {here}; expected each frame once"
        )
    frames = keys & 0xFFFFFFFF
    step = max(1, int(np.gcd.reduce(frames)))
    expected = (np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))) * step
    gaps = np.flatnonzero(frames != expected)
    if len(gaps):
        key, frame = keys[gaps[0]], expected[gaps[0]]
        raise H36MError(
            f"{path}: {word} {numbers[gaps[0]]}: {_named(key)}, but no row has its frame {frame}; frames count from 0 "
            "without gaps, as many as you have: all, or every n-th with one n for the file"
        )
    return step


def _named(key: np.integer) -> str:
    return f"{sequences()[int(key) >> 32]} frame {int(key) & 0xFFFFFFFF}"


@contextmanager
def _opened_csv(path: Path) -> Iterator[tuple[_Columns, Iterator[pa.RecordBatch]]]:
    options = {
        "read_options": pyarrow.csv.ReadOptions(use_threads=False),  # with threads, errors do not tell the line
        "parse_options": pyarrow.csv.ParseOptions(ignore_empty_lines=False),  # lines are counted
    }
    try:
        with pyarrow.csv.open_csv(path, **options) as header:
            columns = _columns(path, header.schema)
        words = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(columns.read, pa.string()), include_columns=columns.read
        )
        with pyarrow.csv.open_csv(path, convert_options=words, **options) as reader:
            yield columns, reader
    except (pa.ArrowException, OSError) as error:
        raise H36MError(f"{path}: cannot be read as CSV, comma-separated UTF-8 with a header ({error})") from error


@contextmanager
def _opened_parquet(path: Path) -> Iterator[tuple[_Columns, Iterator[pa.RecordBatch]]]:
    try:
        with pq.ParquetFile(path) as file:
            columns = _columns(path, file.schema_arrow)
            yield columns, file.iter_batches(_BATCH_ROWS, columns=columns.read)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        raise H36MError(f"{path}: cannot be read as Parquet ({error}); make it again") from error


def _columns(path: Path, schema: pa.Schema) -> _Columns:
    names = schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise H36MError(f"{path}: has the column {', '.join(twice)} more than once")
    absent = [name for name in KEYS if name not in names]
    if absent:
        raise H36MError(f"{path}: lacks the column {', '.join(absent)}; it has {', '.join(names)}")
    coordinates = tuple(name for name in names if name.startswith(("x_", "y_")))
    if POSE_COLUMN in names:
        if coordinates:
            raise H36MError(f"{path}: has {POSE_COLUMN} and {coordinates[0]}; expected one kind of them")
        skeleton = _pose_skeleton(path, schema)
        column = _confidence_column(path, schema, skeleton)
        return _Columns(skeleton, (), column, _unused(names, (POSE_COLUMN, *column)))
    skeleton = _named_skeleton(path, coordinates)
    joints = tuple(f"{axis}_{joint}" for joint in skeleton.joints for axis in "xy")
    confidences = tuple(f"c_{joint}" for joint in skeleton.joints)
    absent = [name for name in confidences if name not in names]
    if absent and len(absent) < len(confidences):
        raise H36MError(f"{path}: lacks the column {', '.join(absent)}; expected confidences of all joints, or of none")
    confidences = () if absent else confidences
    return _Columns(skeleton, joints, confidences, _unused(names, (*joints, *confidences)))


def _confidence_column(path: Path, schema: pa.Schema, skeleton: Skeleton) -> tuple[str, ...]:
    if CONFIDENCE_COLUMN not in schema.names:
        return ()
    type_ = schema.field(CONFIDENCE_COLUMN).type
    if not pa.types.is_fixed_size_list(type_) or type_.list_size != len(skeleton):
        raise H36MError(
            f"{path}: {CONFIDENCE_COLUMN} holds {type_}; expected lists of {len(skeleton)} numbers, one for each joint "
            f"of {skeleton.name}"
        )
    return (CONFIDENCE_COLUMN,)


def _unused(names: list[str], used: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in KEYS and name not in used)


def _pose_skeleton(path: Path, schema: pa.Schema) -> Skeleton:
    try:
        field = pose_field(schema, POSE_COLUMN)
    except H36MError as error:
        raise H36MError(f"{path}: {error}; or give columns x_<joint> and y_<joint>") from error
    size = schema.field(POSE_COLUMN).type.list_size
    if field.skeleton not in _SKELETONS or size != 2 * len(field.skeleton):
        raise H36MError(
            f"{path}: {POSE_COLUMN} holds {size} numbers for the joints of {field.skeleton.name}; expected x and y of "
            f"{', '.join(skeleton.name for skeleton in _SKELETONS)}"
        )
    return field.skeleton


def _named_skeleton(path: Path, coordinates: tuple[str, ...]) -> Skeleton:
    """The skeleton whose joints the columns name; h36m-16 and sh-16 have the same joints, so their order decides."""
    joints = tuple(name.removeprefix("x_") for name in coordinates if name.startswith("x_"))
    unknown = [name for name in coordinates if name[2:] not in H36M_17.joints]
    if unknown:
        raise H36MError(f"{path}: column {', '.join(unknown)} names no joint; joints are {', '.join(H36M_17.joints)}")
    wanted = H36M_17 if any(name.endswith("_Neck/Nose") for name in coordinates) else H36M_16
    missing = [f"{axis}_{joint}" for joint in wanted.joints for axis in "xy" if f"{axis}_{joint}" not in coordinates]
    if missing:
        raise H36MError(
            f"{path}: lacks the column {', '.join(missing)}; expected x_ and y_ of every joint of h36m-17, or of "
            "h36m-16 and sh-16, which have no Neck/Nose"
        )
    return SH_16 if joints == SH_16.joints else wanted


def _keys(block: _Block) -> np.ndarray:
    """One int64 a row: the place of its sequence in the data set's loops, then its frame."""
    subject = _codes(block, "subject", SUBJECTS)
    words = _codes(block, "action", _ACTION_WORDS)
    action = np.array([ACTIONS.index(_CANONICAL_ACTIONS.get(word, word)) for word in _ACTION_WORDS])[words]
    subaction = _numbers(block, "subaction", pa.int64())
    camera = _codes(block, "camera", CAMERA_IDS)
    frame = _numbers(block, "frame", pa.int64())
    _refuse(block, "subaction", ~np.isin(subaction, SUBACTIONS), "1 or 2")
    _refuse(block, "frame", (frame < 0) | (frame > _LAST_FRAME), "a number from 0")
    take = (subject * len(ACTIONS) + action) * len(SUBACTIONS) + subaction - SUBACTIONS[0]
    return (take * len(CAMERA_IDS) + camera) << 32 | frame


def _codes(block: _Block, name: str, words: tuple[str, ...]) -> np.ndarray:
    column = block.batch.column(name)
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    codes = pc.index_in(column, value_set=pa.array(words)).fill_null(-1).to_numpy(zero_copy_only=False)
    _refuse(block, name, codes < 0, f"one of {', '.join(words)}")
    return codes.astype(np.int64)


def _numbers(block: _Block, name: str, type_: pa.DataType) -> np.ndarray:
    column = block.batch.column(name)
    try:
        numbers = column.cast(type_)
    except pa.ArrowInvalid:
        wrong = np.array([not _is_a(value, type_) for value in column])
        _refuse(block, name, wrong, "a number" if pa.types.is_floating(type_) else "a whole number")
        raise
    _refuse(block, name, numbers.is_null().to_numpy(zero_copy_only=False), "a number")
    return numbers.to_numpy(zero_copy_only=False)


def _is_a(value: pa.Scalar, type_: pa.DataType) -> bool:
    try:
        value.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True


def _refuse(block: _Block, name: str, wrong: np.ndarray, expected: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        value = block.batch.column(name)[int(rows[0])].as_py()
        raise H36MError(f"{block.place(rows[0])}: {name} is {value!r}; expected {expected}")


def _poses(block: _Block, columns: _Columns) -> np.ndarray:
    """(rows, joints, 2), px float32."""
    count, skeleton = len(block.batch), columns.skeleton
    if columns.joints:
        poses = np.empty((count, len(skeleton) * 2), np.float32)
        for place, name in enumerate(columns.joints):
            poses[:, place] = _numbers(block, name, pa.float32())
    else:
        column = block.batch.column(POSE_COLUMN)
        _refuse(block, POSE_COLUMN, column.is_null().to_numpy(zero_copy_only=False), "a pose")
        numbers = column.flatten().to_numpy(zero_copy_only=False)  # a null becomes NaN
        poses = numbers.astype(np.float32, copy=False).reshape(count, len(skeleton) * 2)
    wrong = np.argwhere(~np.isfinite(poses))
    if len(wrong):
        row, place = wrong[0]
        what = f"{'xy'[place % 2]} of {skeleton.joints[place // 2]}"
        raise H36MError(f"{block.place(row)}: {what} is {poses[row, place]}; expected every joint of every frame, px")
    return poses.reshape(count, len(skeleton), 2)


def _confidences(block: _Block, columns: _Columns) -> np.ndarray:
    """(rows, joints), float32."""
    joints = columns.skeleton.joints
    if columns.confidences == (CONFIDENCE_COLUMN,):
        numbers = block.batch.column(CONFIDENCE_COLUMN).flatten().to_numpy(zero_copy_only=False)
        told = numbers.astype(np.float32, copy=False)
        told = told.reshape(-1, len(joints)) if len(told) == len(block.batch) * len(joints) else told[:0]
    else:
        told = np.stack([_numbers(block, name, pa.float32()) for name in columns.confidences], axis=1)
    if len(told) != len(block.batch):
        raise H36MError(f"{block.path}: {CONFIDENCE_COLUMN} has rows without a value; expected one of every joint")
    wrong = np.argwhere(~(np.isfinite(told) & (told >= 0)))
    if len(wrong):
        row, place = wrong[0]
        what = f"confidence of {joints[place]}"
        raise H36MError(f"{block.place(row)}: {what} is {told[row, place]}; expected a number from 0 upwards")
    return told
