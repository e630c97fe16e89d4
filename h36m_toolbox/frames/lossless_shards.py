"""Crops without loss inside Parquet: a shard holds those of one sequence, and any of them is read by itself.

A row is a frame: the keys of the labels, `pixels`, the box and the CRC-32 of the whole frame's JPEG file, so that crops
of other boxes or other images are noticed. Values of a column that is neither compressed nor null lie in the file one
after the other, each behind its length (Parquet's PLAIN encoding): with `pixels_bytes` their places are known, and
training in any order reads no more than it wants, from files that need not stay open.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import Box
from h36m_toolbox.frames.lossless import CODEC, packed_pixels, unpacked_pixels
from h36m_toolbox.frames.packs import (
    BOX_FIELDS,
    FRAMES_A_GROUP,
    KEY_FIELDS,
    SIDES,
    box_columns,
    key_columns,
    shard_written_whole,
)
from h36m_toolbox.sequences import FPS, Sequence

_PIXELS = [
    pa.field("pixels", pa.binary(), nullable=False),
    pa.field("pixels_bytes", pa.int32(), nullable=False),
    pa.field("jpeg_crc32", pa.uint32(), nullable=False),
]
_ONE_PAGE = 1 << 30  # bytes, more than a group's pixels
_PREFIX = 4  # bytes of a value's length, little-endian


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class LosslessCrop:
    """One row: a frame (from 0), its crop (height, width, 3) uint8 RGB, the crop's box and its image's CRC-32."""

    frame: int
    image: np.ndarray
    box: Box
    jpeg_crc32: int


class LosslessWriter:
    """Takes the crops of one sequence in ascending order of frames and writes them group by group."""

    def __init__(self, writer: pq.ParquetWriter, sequence: Sequence) -> None:
        self._writer, self._sequence = writer, sequence
        self._crops: list[LosslessCrop] = []  # that wait, without their images
        self._packed: list[bytes] = []

    def add(self, crop: LosslessCrop) -> None:
        """Append one crop."""
        self._packed.append(packed_pixels(crop.image))
        self._crops.append(replace(crop, image=np.empty((0, 0, 3), np.uint8)))
        if len(self._crops) == FRAMES_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the crops that wait as one row group."""
        if not self._crops:
            return
        columns = key_columns(self._sequence, [crop.frame for crop in self._crops])
        columns["pixels"] = pa.array(self._packed, pa.binary())
        columns["pixels_bytes"] = pa.array(map(len, self._packed), pa.int32())
        columns["jpeg_crc32"] = pa.array([crop.jpeg_crc32 for crop in self._crops], pa.uint32())
        columns |= box_columns([crop.box for crop in self._crops])
        self._writer.write_table(pa.table(columns, self._writer.schema))
        self._crops, self._packed = [], []


@contextmanager
def lossless_written_whole(
    path: Path, sequence: Sequence, size: tuple[int, int], about: dict[str, str | int]
) -> Iterator[LosslessWriter]:
    """A writer of a shard of crops of `size` (width, height), which is at `path` when all went well.

    `about` (the store, what it was made of) goes into the file's `h36m` metadata.
    """
    facts = {"table": "lossless crops", "version": 1, "fps": FPS, "unit": "px", "coordinate_frame": "image"}
    facts |= {"width": size[0], "height": size[1], "pixels": CODEC, **about}
    schema = pa.schema([*KEY_FIELDS, *_PIXELS, *BOX_FIELDS], {"h36m": json.dumps(facts)})
    with shard_written_whole(path, schema, data_page_size=_ONE_PAGE) as file:
        writer = LosslessWriter(file, sequence)
        yield writer
        writer.flush()


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class LosslessCrops:
    """A shard that was opened: some 50 bytes a frame, no file. Any number of threads may read."""

    path: Path
    size: tuple[int, int]  # width, height, px
    about: dict[str, str | int]  # the file's metadata
    numbers: np.ndarray = field(repr=False)  # (crops,) frames from 0, ascending
    boxes: np.ndarray = field(repr=False)  # (crops, 4) left, top, right, bottom, px
    jpeg_crc32: np.ndarray = field(repr=False)  # (crops,) of the whole frames' JPEG files
    _places: np.ndarray = field(repr=False)  # (crops,) where in the file the length of `pixels` stands
    _bytes: np.ndarray = field(repr=False)  # (crops,) of `pixels`

    @classmethod
    def open(cls, path: Path) -> LosslessCrops:
        """Read all but the pixels; H36MError for a file that is no such shard."""
        try:
            with pq.ParquetFile(path) as file:
                table = file.read(["frame", "pixels_bytes", "jpeg_crc32", *SIDES])
                facts = json.loads(file.schema_arrow.metadata[b"h36m"])
                lengths = table.column("pixels_bytes").to_numpy().astype(np.int64)
                return cls(
                    path,
                    (int(facts["width"]), int(facts["height"])),
                    facts,
                    table.column("frame").to_numpy(),
                    np.stack([table.column(side).to_numpy() for side in SIDES], axis=1),
                    table.column("jpeg_crc32").to_numpy(),
                    _places(file, lengths),
                    lengths,
                )
        except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
            raise _unreadable(path, error) from error

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames, from 0, ascending."""
        return tuple(self.numbers.tolist())

    def __contains__(self, frame: int) -> bool:
        return self._row(frame) is not None

    def image(self, frame: int, box: np.ndarray | None = None) -> np.ndarray:
        """The crop (height, width, 3), uint8 RGB, of a frame (from 0) that is in the shard.

        Raises H36MError where it shows another box than `box` (left, top, right, bottom px), and for a damaged file.
        """
        row = self._row(frame)
        if row is None:
            raise H36MError(f"{self.path}: no crop of frame {frame} (from 0)")
        if box is not None and not np.array_equal(self.boxes[row], box):
            raise H36MError(
                f"{self.path}: its crop of frame {frame} (from 0) shows {_said(self.boxes[row])}, not the box "
                f"{_said(box)} of the labels; make the crops again, or remove the file"
            )
        try:
            return unpacked_pixels(self._packed(row), *self.size)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def _packed(self, row: int) -> bytes:
        length = int(self._bytes[row])
        with self.path.open("rb", buffering=0) as file:
            file.seek(int(self._places[row]))
            found = file.read(_PREFIX + length)
        if found[:_PREFIX] != length.to_bytes(_PREFIX, "little"):
            raise ValueError("its pixels are not where they were written")
        return found[_PREFIX:]

    def _row(self, frame: int) -> int | None:
        row = int(np.searchsorted(self.numbers, frame))
        return row if row < len(self.numbers) and self.numbers[row] == frame else None


def _places(file: pq.ParquetFile, lengths: np.ndarray) -> np.ndarray:
    """Where each value of `pixels` (its length first) stands: a group's values end where its one page does."""
    metadata, column = file.metadata, file.schema_arrow.get_field_index("pixels")
    places, first = np.empty(len(lengths), np.int64), 0
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(column)
        last = first + metadata.row_group(group).num_rows
        end = chunk.data_page_offset + chunk.total_compressed_size
        places[first:last] = end - np.cumsum((lengths[first:last] + _PREFIX)[::-1])[::-1]
        first = last
    return places


def _said(box: np.ndarray) -> str:
    return ", ".join(f"{side:.2f}" for side in box.tolist())


def _unreadable(path: Path, error: Exception) -> H36MError:
    return H36MError(
        f"{path}: cannot be read as a Parquet file of lossless crops ({error}); remove it and make it again"
    )
