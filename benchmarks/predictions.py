"""Predictions files: one pose a row in Parquet, keyed like the labels, with the provenance in the file's metadata.

Columns are those of `pose_tables.KEY_FIELDS` and `joints_3d` (mm, camera frame, joints named in the field's metadata);
the file's metadata key `h36m` holds the `Provenance` as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import (
    KEYS,
    PoseField,
    pose_array,
    pose_field,
    row_keys,
    sequence_codes,
    sequence_of_code,
    table_schema,
)
from h36m_toolbox.sequences import SUBACTIONS
from h36m_toolbox.skeletons import Skeleton
from h36m_toolbox.storage.files import sha256_of, written_whole

PREDICTION_COLUMN = "joints_3d"
METADATA_KEY = "h36m"
ROOTS = ("relative", "absolute")

# stands where the hash of the weights would, for a freshly initialised network
UNTRAINED = "untrained"
# stands for weights, detections and device of predictions that somebody else's program made
UNKNOWN = "unknown"

_ROW_GROUP = 1 << 16

_WHERE_KNOWN = {"parameters", "images_per_s", "waiting_share", "peak_memory_mb"}  # of its provenance


@dataclass(frozen=True)
class Provenance:
    """Where predictions come from: all that is needed to make them again."""

    model: str
    options: dict[str, Any]  # of the model, of the test and of its execution; of a foreign file, how it was read
    weights_sha256: str  # or UNTRAINED, UNKNOWN
    detections: str  # name of the 2D input, "" for models that see images, or UNKNOWN
    detections_sha256: str
    data_fingerprint: str
    protocol: str  # the one they were made for, "" if none
    h36m_version: str
    torch_version: str
    numpy_version: str
    python_version: str
    device: str
    created: str  # ISO 8601, UTC
    seconds: float
    poses_per_s: float
    root: str  # "relative": poses are relative to the root joint; "absolute": in the camera frame
    parameters: int | None = None  # trainable numbers of the model, None if unknown
    images_per_s: float | None = None  # inputs of the network: images, or 2D poses; None if unknown
    waiting_share: float | None = None  # of the time, in which the network had no data; None if unknown
    peak_memory_mb: float | None = None  # of the GPU; None on the CPU or if unknown

    @property
    def speed(self) -> str:
        """How fast the model ran, in words; "" where that is unknown."""
        if self.images_per_s is None or self.waiting_share is None:
            return ""
        held = "" if self.peak_memory_mb is None else f", {self.peak_memory_mb:,.0f} MB of GPU memory"
        return (
            f"{self.device}: {self.images_per_s:,.1f} inputs/s, {100 * self.waiting_share:.0f} % of the time waiting "
            f"for data{held}"
        )


@dataclass(frozen=True, eq=False)  # tables have no cheap ==
class Predictions:
    """A predictions file in memory: `table` has the key columns and `joints_3d`, `sha256` is the file's."""

    table: pa.Table
    provenance: Provenance
    sha256: str
    path: Path

    @property
    def skeleton(self) -> Skeleton:
        """The joints that were predicted."""
        return pose_field(self.table.schema, PREDICTION_COLUMN).skeleton


def prediction_schema(skeleton: Skeleton) -> pa.Schema:
    """The columns of a predictions table whose poses have these joints; `pose_tables.sequence_table` fills it."""
    return table_schema((PoseField(PREDICTION_COLUMN, skeleton, 3, "mm", "camera"),))


def write_predictions(path: Path, table: pa.Table, provenance: Provenance) -> None:
    """Write a table of `prediction_schema` with its provenance, whole or not at all; checked as on reading."""
    _check_provenance(provenance, path)
    check_table(table, path)
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(asdict(provenance), allow_nan=False)})
    with written_whole(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=1,
            use_dictionary=list(KEYS),
            use_byte_stream_split=[f"{PREDICTION_COLUMN}.list.element"],  # mantissas compress only with bytes split
            row_group_size=_ROW_GROUP,
        )


def read_predictions(path: Path) -> Predictions:
    """Read and check a predictions file; an H36MError says what is wrong with it."""
    if not path.is_file():
        raise H36MError(f"{path}: no such file; expected predictions as Parquet, such as `h36m bench` writes")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is no UTF-8
        raise H36MError(f"{path}: no readable Parquet file ({error}); write it with write_predictions") from error
    provenance = provenance_of_schema(table.schema, path)
    check_table(table, path)
    return Predictions(table, provenance, sha256_of(path), path)


def provenance_of_schema(schema: pa.Schema, path: Path) -> Provenance:
    """The provenance in a predictions file's metadata; H36MError where there is none of this version."""
    text = (schema.metadata or {}).get(METADATA_KEY.encode())
    if text is None:
        raise H36MError(f"{path}: no `{METADATA_KEY}` metadata, so its model is unknown; use write_predictions")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise H36MError(f"{path}: its `{METADATA_KEY}` metadata is no JSON ({error}); use write_predictions") from error
    known = {field.name for field in fields(Provenance)}
    given = set(record) if isinstance(record, dict) else set()
    missing, unknown = sorted(known - _WHERE_KNOWN - given), sorted(given - known)
    if missing or unknown:
        raise H36MError(
            f"{path}: provenance lacks {', '.join(missing) or 'nothing'}, unknown: {', '.join(unknown) or 'none'}; "
            "it comes from another version of h36m, predict again"
        )
    provenance = Provenance(**record)
    _check_provenance(provenance, path)
    return provenance


def _check_provenance(provenance: Provenance, path: Path) -> None:
    if provenance.root not in ROOTS:
        raise H36MError(f"{path}: provenance root is {provenance.root!r}, expected one of {', '.join(ROOTS)}")
    if not np.isfinite([provenance.seconds, provenance.poses_per_s]).all():
        raise H36MError(f"{path}: provenance seconds or poses_per_s is no finite number")


def check_table(table: pa.Table, path: Path) -> None:
    """An H36MError, beginning with `path`, where a table is none of predictions: columns, keys, NaN, repetitions."""
    try:
        _check_columns(table)
        _check_rows(table)
    except H36MError as error:
        raise H36MError(f"{path}: {error}") from error


def _check_columns(table: pa.Table) -> None:
    missing = [name for name in (*KEYS, PREDICTION_COLUMN) if name not in table.schema.names]
    if missing:
        raise H36MError(f"no column {', '.join(missing)}; predictions have {', '.join((*KEYS, PREDICTION_COLUMN))}")
    for name in ("subaction", "frame"):
        if not pa.types.is_integer(table.schema.field(name).type):
            raise H36MError(f"column {name} holds {table.schema.field(name).type}, expected whole numbers")
    empty = [name for name in (*KEYS, PREDICTION_COLUMN) if table.column(name).null_count]
    if empty:
        raise H36MError(f"column {', '.join(empty)} has rows without a value; every row needs its keys and a pose")
    field, type_ = pose_field(table.schema, PREDICTION_COLUMN), table.schema.field(PREDICTION_COLUMN).type
    if type_.list_size != 3 * len(field.skeleton) or not pa.types.is_floating(type_.value_type):
        raise H36MError(
            f"column {PREDICTION_COLUMN} holds {type_.list_size} {type_.value_type} a row; the {len(field.skeleton)} "
            f"joints of {field.skeleton.name} need {3 * len(field.skeleton)} floating-point numbers"
        )
    if (field.unit, field.frame) != ("mm", "camera"):
        raise H36MError(
            f"column {PREDICTION_COLUMN} is in {field.unit or 'no unit'}, frame {field.frame or 'not named'}; "
            "expected mm, camera"
        )


def _check_rows(table: pa.Table) -> None:
    if not len(table):
        raise H36MError("no predictions in it")
    subactions, frames = table.column("subaction").to_numpy(), table.column("frame").to_numpy()
    if not np.isin(subactions, SUBACTIONS).all() or frames.min() < 0:
        raise H36MError("sub-actions must be 1 or 2 and frames count from 0; other numbers found")
    keys = row_keys(table)
    order = np.argsort(keys, kind="stable")
    repeated = order[1:][keys[order][1:] == keys[order][:-1]]
    if len(repeated):
        raise H36MError(
            f"{len(repeated)} rows repeat an earlier one, the first is {row_name(table, int(repeated.min()))}"
        )
    wrong = ~np.isfinite(pose_array(table, PREDICTION_COLUMN)).all(axis=(1, 2))
    if wrong.any():
        first = row_name(table, int(wrong.argmax()))
        raise H36MError(f"{wrong.sum()} of {len(table)} poses have NaN or infinite numbers, the first is {first}")


def row_name(table: pa.Table, row: int) -> str:
    """A row's sequence and frame in words: "S9/Directions 1.54138969 frame 12"."""
    one = table.slice(row, 1)
    return f"{sequence_of_code(int(sequence_codes(one)[0]))} frame {one.column('frame')[0].as_py()}"
