"""What it takes to make a DATA folder of somebody else's prepared files: label rows, ground truth, a link to frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.detections.files import DetectedSequence
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import WHOLE_FRAMES
from h36m_toolbox.labels import LABEL_FIELDS, LABEL_SCHEMA, labels_path
from h36m_toolbox.pose_parquet import pose_row_groups
from h36m_toolbox.pose_tables import sequence_codes, sequence_of_code, sequence_table, table_schema
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_17


def imported_rows(
    sequence: Sequence, frames: np.ndarray, joints_2d: np.ndarray, world: np.ndarray, in_camera: np.ndarray
) -> pa.Table:
    """Rows of the label table of poses (frames, 17, ...), px and mm; universal poses, which nobody gave, are NaN."""
    poses = {
        "joints_2d": joints_2d,
        "joints_3d_world": world,
        "joints_3d_camera": in_camera,
        "joints_3d_universal": np.full(in_camera.shape, np.nan),
    }
    table = sequence_table(sequence, frames, poses, table_schema(LABEL_FIELDS))
    return table.append_column(LABEL_SCHEMA.field("in_h36m_fetch"), pa.nulls(len(frames), pa.bool_()))


def detected_sequences(tables: list[Path], column: str) -> Iterator[DetectedSequence]:
    """Detections from the first frame on, NaN where a frame is not there."""
    for path in tables:
        for table in pose_row_groups(path, [column]):
            frames = table.column("frame").to_numpy()
            points = np.full((frames[-1] + 1, len(H36M_17), 2), np.nan, np.float32)
            points[frames] = column_values(table, column)
            yield DetectedSequence(sequence_of_code(int(sequence_codes(table.slice(0, 1))[0])), points)


def column_values(table: pa.Table, name: str) -> np.ndarray:
    """A column of poses (rows, 17, dims), or of pairs (rows, 2)."""
    column = table.column(name).combine_chunks()
    joints = len(H36M_17) if name not in ("center", "scale") else 0
    values = column.flatten().to_numpy()
    return values.reshape(len(column), joints, -1) if joints else values.reshape(len(column), -1)


def is_from_elsewhere(data: Path, split: str, source: str) -> bool:
    """Whether DATA has labels of a split that do not say `source` of themselves."""
    path = labels_path(data, split)
    if not path.is_file():
        return False
    about = pq.read_metadata(path).metadata.get(b"h36m", b"{}")
    return source not in json.loads(about)


def link_images(images: Path, data: Path) -> None:
    """Make a folder of frames DATA's; an H36MError where there is none, or DATA has others."""
    if not images.is_dir():
        raise H36MError(f"{images}: no folder with the frames; give it with --images FOLDER")
    place = data / WHOLE_FRAMES.name
    if place.exists():
        if not place.samefile(images):
            raise H36MError(f"{place}: other frames than those in {images}; give another --data, or these --images")
        return
    data.mkdir(parents=True, exist_ok=True)
    place.symlink_to(images.resolve(), target_is_directory=True)
