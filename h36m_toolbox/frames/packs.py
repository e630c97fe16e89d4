"""Frames inside Parquet: a shard holds the JPEG files of one sequence, a row a frame, in small row groups.

The `image` column is what Hugging Face `datasets` takes for an Image, and the `huggingface` entry of the file's
metadata says so. JPEG bytes are stored as they are: they do not compress.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import Box
from h36m_toolbox.sequences import FPS, Sequence
from h36m_toolbox.storage.files import written_whole

FRAMES_A_GROUP = 64
SIDES = ("left", "top", "right", "bottom")
_WORDS = ("subject", "action", "camera")
# Words are plain strings, which all readers take: `datasets` has no Arrow dictionaries.
KEY_FIELDS = [
    pa.field("subject", pa.string()),
    pa.field("action", pa.string()),
    pa.field("subaction", pa.int8()),
    pa.field("camera", pa.string()),
    pa.field("frame", pa.int32()),
]
_IMAGE = pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))
BOX_FIELDS = [pa.field(side, pa.float64()) for side in SIDES]


@dataclass(frozen=True)
class PackedImage:
    """One row of a shard: a frame (from 0), its JPEG file and the name of that file; `box` of a crop, else None."""

    frame: int
    jpeg: bytes
    name: str
    box: Box | None = None


class PackWriter:
    """Takes the frames of one sequence in ascending order and writes them group by group."""

    def __init__(self, writer: pq.ParquetWriter, sequence: Sequence) -> None:
        self._writer, self._sequence = writer, sequence
        self._rows: list[PackedImage] = []

    def add(self, row: PackedImage) -> None:
        """Append one frame."""
        self._rows.append(row)
        if len(self._rows) == FRAMES_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the frames that wait as one row group."""
        if self._rows:
            self._writer.write_table(_shard_table(self._sequence, self._rows, self._writer.schema))
            self._rows = []


@contextmanager
def pack_written_whole(
    path: Path, sequence: Sequence, about: dict[str, str | int], boxes: bool
) -> Iterator[PackWriter]:
    """A writer of a sequence's shard, which is at `path` when all went well and is not there otherwise.

    `about` (the store, the JPEG quality) goes into the file's `h36m` metadata; `boxes`: rows have a box.
    """
    with shard_written_whole(path, pack_schema(about, boxes)) as file:
        writer = PackWriter(file, sequence)
        yield writer
        writer.flush()


@contextmanager
def shard_written_whole(path: Path, schema: pa.Schema, **options: Any) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file with the keys of the labels and bytes that are stored as they are.

    The file is at `path` when all went well and is not there otherwise; further `options` are the writer's.
    """
    with (
        written_whole(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="none",
            use_dictionary=list(_WORDS),
            write_statistics=[field.name for field in KEY_FIELDS],
            **options,
        ) as file,
    ):
        yield file


def pack_schema(about: dict[str, str | int], boxes: bool) -> pa.Schema:
    """Columns of a shard: the keys of the labels, `image` (bytes, path) and, of crops, the box's sides."""
    fields = [*KEY_FIELDS, _IMAGE, *(BOX_FIELDS if boxes else [])]
    facts = {"table": "frames", "version": 1, "fps": FPS, "unit": "px", "coordinate_frame": "image", **about}
    features: dict[str, dict[str, str]] = {
        field.name: {"dtype": str(field.type).replace("double", "float64"), "_type": "Value"} for field in fields
    }
    features["image"] = {"_type": "Image"}
    hub = {"info": {"features": features}}
    return pa.schema(fields, {"h36m": json.dumps(facts), "huggingface": json.dumps(hub)})


def _shard_table(sequence: Sequence, rows: list[PackedImage], schema: pa.Schema) -> pa.Table:
    columns = key_columns(sequence, [row.frame for row in rows])
    columns["image"] = pa.array([{"bytes": row.jpeg, "path": row.name} for row in rows], _IMAGE.type)
    if SIDES[0] in schema.names:
        columns |= box_columns([row.box for row in rows if row.box is not None])
    return pa.table(columns, schema)


def write_boxes(path: Path, sequence: Sequence, boxes: dict[int, Box], about: dict[str, str | int]) -> None:
    """Write the boxes of loose crops, by frame, as a table of their own: a shard's columns without `image`."""
    facts = {"table": "boxes", "version": 1, "unit": "px", "coordinate_frame": "image", **about}
    columns = key_columns(sequence, list(boxes)) | box_columns(list(boxes.values()))
    pq.write_table(pa.table(columns, pa.schema([*KEY_FIELDS, *BOX_FIELDS], {"h36m": json.dumps(facts)})), path)


def key_columns(sequence: Sequence, frames: list[int]) -> dict[str, pa.Array]:
    """The columns `KEY_FIELDS` of some frames (from 0) of a sequence."""
    n = len(frames)
    return {
        "subject": pa.array([sequence.subject] * n),
        "action": pa.array([sequence.action] * n),
        "subaction": pa.array([sequence.subaction] * n, pa.int8()),
        "camera": pa.array([sequence.camera] * n),
        "frame": pa.array(frames, pa.int32()),
    }


def box_columns(boxes: list[Box]) -> dict[str, pa.Array]:
    """The columns `BOX_FIELDS`."""
    return {side: pa.array([box[i] for box in boxes], pa.float64()) for i, side in enumerate(SIDES)}


def read_boxes(path: Path) -> dict[int, Box]:
    """The boxes by frame of a shard of crops or of the table beside loose ones; H36MError for any other file."""
    with _readable(path):
        rows = pq.read_table(path, columns=["frame", *SIDES]).to_pydict()
        return dict(zip(rows["frame"], zip(*(rows[side] for side in SIDES), strict=True), strict=True))


@dataclass(frozen=True, eq=False)
class PackedImages:
    """A shard that was opened: its frames, and any JPEG file of it for the price of one row group."""

    path: Path
    frames: tuple[int, ...]  # from 0, ascending
    group_starts: tuple[int, ...] = field(repr=False)  # first row of each row group
    _last: list[tuple[int, pa.ChunkedArray]] = field(default_factory=list, repr=False)  # the group read last, if any

    @classmethod
    def open(cls, path: Path) -> PackedImages:
        """Read the index of a shard; H36MError for a file that is none."""
        with _readable(path), pq.ParquetFile(path) as file:
            frames = file.read(["frame"]).column("frame").to_pylist()
            if not pa.types.is_struct(file.schema_arrow.field("image").type):
                raise KeyError("image is no struct of bytes and path")
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        return cls(path, tuple(frames), tuple(accumulate(sizes[:-1], initial=0)))

    def __contains__(self, frame: int) -> bool:
        return frame in self._rows

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {frame: row for row, frame in enumerate(self.frames)}

    def jpeg(self, frame: int) -> bytes:
        """The JPEG file of a frame (from 0) that is in the shard."""
        row = self._rows[frame]
        group = bisect_right(self.group_starts, row) - 1
        value = self._group(group)[row - self.group_starts[group]].as_py()
        if value is None:
            raise H36MError(f"{self.path}: frame {frame} (from 0) has no bytes; extract the sequence again")
        return bytes(value)

    def _group(self, group: int) -> pa.ChunkedArray:
        if not self._last or self._last[0][0] != group:
            with _readable(self.path), pq.ParquetFile(self.path) as file:
                column = file.read_row_group(group, ["image.bytes"], use_threads=False).column("image")
            self._last[:] = [(group, pa.chunked_array([chunk.field("bytes") for chunk in column.chunks]))]
        return self._last[0][1]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as error:
        raise H36MError(
            f"{path}: cannot be read as a Parquet file of frames ({error}); remove it and run `h36m extract` again"
        ) from error
