"""Pose tables as Parquet files, one row group a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import KEYS, column_metadata


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer for pose tables: the mantissas of coordinates compress only when their bytes are split.

    The file's metadata say under `columns` what the pose columns hold.
    """
    poses = [f"{field.name}.list.element" for field in schema if pa.types.is_fixed_size_list(field.type)]
    writer = pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in schema.names if name in KEYS],
        use_byte_stream_split=poses,
        write_statistics=[name for name in schema.names if name in KEYS],
    )
    writer.add_key_value_metadata(column_metadata(schema))
    return writer


def read_pose_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file of poses as one table, keys first; H36MError for a damaged file or a missing column."""
    with _opened(path, columns) as (file, wanted):
        return file.read(wanted)


def pose_row_groups(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file of poses that hold rows, keys first; raises as `read_pose_parquet`."""
    with _opened(path, columns) as (file, wanted):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, wanted)
            if len(table):
                yield table


@contextmanager
def _opened(path: Path, columns: list[str] | None) -> Iterator[tuple[pq.ParquetFile, list[str] | None]]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            absent = [name for name in (*KEYS, *(columns or ())) if name not in names]
            if absent:
                raise H36MError(f"{path}: lacks the column {', '.join(absent)}; it has {', '.join(names)}")
            yield file, None if columns is None else [*KEYS, *(name for name in columns if name not in KEYS)]
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        raise H36MError(f"{path}: cannot be read as Parquet ({error}); make it again") from error
