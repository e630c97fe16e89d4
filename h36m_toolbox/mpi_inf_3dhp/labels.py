"""The label table of MPI-INF-3DHP: one row per (sequence, camera, frame), float64 as annotated; its Parquet files.

`DATA/mpi-inf-3dhp/labels/parquet/{train,test}.parquet`, one row group a view. The training table has the 28 annotated
joints, the test table the 17 that are evaluated; a column's metadata name them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.jobs import Jobs, map_in_order
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations, read_test_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import Archive, TestSequence, TrainSequence
from h36m_toolbox.mpi_inf_3dhp.calibration import read_test_camera, read_train_cameras
from h36m_toolbox.mpi_inf_3dhp.frames import read_manifest, view_name
from h36m_toolbox.mpi_inf_3dhp.sequences import CAMERA_SETS, SPLITS, TRAIN_RECORDINGS, image_size
from h36m_toolbox.mpi_inf_3dhp.views import prepared_path, read_views
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28, Skeleton
from h36m_toolbox.storage.files import written_whole

_POSE_COLUMNS = {
    "joints_2d": (2, "px", "image"),
    "joints_3d_camera": (3, "mm", "camera"),
    "joints_3d_universal": (3, "mm", "universal camera"),
}
SKELETON_OF_SPLIT = {"train": MPI_INF_3DHP_28, "test": MPI_INF_3DHP_17}


def label_schema(split: str) -> pa.Schema:
    """The columns of a split's table; `camera` and `activity` are null where the data set does not tell them."""
    skeleton = SKELETON_OF_SPLIT[split]
    poses = [
        pa.field(
            name,
            pa.list_(pa.float64(), len(skeleton) * dims),
            nullable=False,
            metadata={"joints": json.dumps(skeleton.joints), "unit": unit, "coordinate_frame": frame},
        )
        for name, (dims, unit, frame) in _POSE_COLUMNS.items()
    ]
    keys = [
        pa.field("sequence", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("camera", pa.int8()),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("activity", pa.int8()),
    ]
    return pa.schema([*keys, *poses])


@dataclass(frozen=True)
class LabelReport:
    """What `write_labels` wrote of a split, and where lengths disagree.

    `cut`: annotated rows of sequences that are officially shorter. `short_videos`: views whose extracted video has
    fewer frames (second) than the table has of it (first).
    """

    path: Path
    views: int
    rows: int
    cut: dict[str, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    short_videos: dict[str, tuple[int, int]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The report as text."""
        cut = [
            f"{name}: {rows} annotated rows cut to {TRAIN_RECORDINGS[name].frames}" for name, rows in self.cut.items()
        ]
        short = [f"{view}: {rows} poses, {frames} video frames" for view, (rows, frames) in self.short_videos.items()]
        return [f"wrote {self.path}: {self.views} views, {self.rows:,} rows", *cut, *short, *self.damaged]


@dataclass(frozen=True, eq=False)
class _Rows:
    name: str
    tables: tuple[pa.Table, ...]  # one a view
    cameras: dict[str, Any]
    cut: int = 0  # annotated rows, where some were cut
    problem: str = ""


def write_labels(
    archive: Archive,
    data: Path,
    split: str,
    cameras: tuple[int, ...] = CAMERA_SETS["vnect"],
    every: int = 1,
    jobs: Jobs = 1,
    progress: Callable[[str], None] | None = None,
) -> LabelReport | None:
    """Write the table of a split; None where the archive has none of it.

    `cameras` and `every` (each n-th frame from the first) choose training rows; a test table is always whole, since its
    evaluation is. A sequence with a damaged file is left out and reported. Memory stays at a few sequences.
    """
    work: list[Any] = list(archive.train if split == "train" else archive.test)
    if not work:
        return None
    read = partial(_train_rows, cameras, every) if split == "train" else _test_rows
    path, schema = labels_path(data, split), label_schema(split)
    views, rows = 0, 0
    damaged: list[str] = []
    short_videos: dict[str, tuple[int, int]] = {}
    cut: dict[str, int] = {}
    calibrations: dict[str, Any] = {}
    with written_whole(path) as temporary, _writer(temporary, schema) as writer:
        for result in map_in_order(read, work, jobs):
            if result.problem:
                damaged.append(result.problem)
            for table in result.tables:
                writer.write_table(table, row_group_size=max(1, len(table)))
                views, rows = views + 1, rows + len(table)
                short_videos.update(_short_video(data, result.name, table))
            calibrations[result.name] = result.cameras
            cut.update({result.name: result.cut} if result.cut else {})
            if progress:
                progress(result.name)
        writer.add_key_value_metadata({"h36m": json.dumps(_facts(split, every, calibrations))})
    return LabelReport(path, views, rows, cut, tuple(damaged), short_videos)


def _short_video(data: Path, name: str, table: pa.Table) -> dict[str, tuple[int, int]]:
    if not len(table):
        return {}
    view = view_name(name, table.column("camera")[0].as_py())
    manifest = read_manifest(prepared_path(data, "images", view))
    last = table.column("frame")[-1].as_py() + 1
    return {view: (last, manifest.frames)} if manifest and manifest.frames < last else {}


def _facts(split: str, every: int, calibrations: dict[str, Any]) -> dict[str, Any]:
    skeleton = SKELETON_OF_SPLIT[split]
    fps = {name: recording.fps for name, recording in TRAIN_RECORDINGS.items() if name in calibrations}
    return {
        **{"table": "labels of MPI-INF-3DHP", "version": 1, "every": every, "joints": skeleton.joints},
        **{"fps": fps, "cameras": calibrations},
    }


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    keys = [name for name in schema.names if name not in _POSE_COLUMNS]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in keys if name != "valid"],
        use_byte_stream_split=[f"{name}.list.element" for name in _POSE_COLUMNS],
        write_statistics=keys,
    )


def _train_rows(cameras: tuple[int, ...], every: int, sequence: TrainSequence) -> _Rows:
    try:
        found = read_views(sequence, cameras)
        calibrated = read_train_cameras(sequence.calibration)
    except H36MError as error:
        return _Rows(sequence.name, (), {}, problem=str(error))
    tables = []
    for camera, view in found.views.items():
        frames = np.arange(0, len(view.image), every)
        poses = {"joints_2d": view.image, "joints_3d_camera": view.camera, "joints_3d_universal": view.universal}
        chosen = {name: array[frames] for name, array in poses.items()}
        n = len(frames)
        keys = {"camera": pa.array(np.full(n, camera, np.int8)), "activity": pa.nulls(n, pa.int8())}
        tables.append(_table("train", sequence.name, frames, np.ones(n, bool), keys, chosen))
    is_cut = found.rows > TRAIN_RECORDINGS[sequence.name].frames
    facts = {str(camera): _camera_facts(calibrated[camera]) for camera in cameras if camera in calibrated}
    return _Rows(sequence.name, tuple(tables), facts, found.rows if is_cut else 0)


def _test_rows(sequence: TestSequence) -> _Rows:
    try:
        found = read_test_annotations(sequence.annotations, sequence.name)
        calibrated = (
            read_test_camera(sequence.calibration, image_size(sequence.name))
            if sequence.calibration.is_file()
            else None
        )
    except H36MError as error:
        return _Rows(sequence.name, (), {}, problem=str(error))
    n = len(found.valid)
    poses = {"joints_2d": found.image, "joints_3d_camera": found.camera, "joints_3d_universal": found.universal}
    activity = pa.array(found.activity.astype(np.int8))
    keys = {"camera": pa.nulls(n, pa.int8()), "activity": activity}
    table = _table("test", sequence.name, np.arange(n), found.valid, keys, poses)
    lens = {"opencv_distortion": calibrated.distortion.tolist()} if calibrated else {}
    facts = {"0": {**_camera_facts(calibrated.camera), **lens}} if calibrated else {}
    return _Rows(sequence.name, (table,), facts)


def _camera_facts(camera: Camera) -> dict[str, Any]:
    return {
        "rotation": camera.rotation.tolist(),
        "center_mm": camera.center.tolist(),
        "focal_px": camera.focal.tolist(),
        "principal_px": camera.principal.tolist(),
        "size_px": list(camera.size),
    }


def _table(
    split: str,
    name: str,
    frames: np.ndarray,
    valid: np.ndarray,
    keys: dict[str, pa.Array],
    poses: dict[str, np.ndarray],
) -> pa.Table:
    schema = label_schema(split)
    columns = {
        "sequence": pa.DictionaryArray.from_arrays(np.zeros(len(frames), np.int8), pa.array([name])),
        "frame": pa.array(frames.astype(np.int32)),
        "valid": pa.array(valid),
        **keys,
    }
    for column, array in poses.items():
        flat = pa.array(np.ascontiguousarray(array, np.float64).reshape(-1))
        columns[column] = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(column).type)
    return pa.table([columns[column] for column in schema.names], schema=schema)


def labels_path(data: Path, split: str) -> Path:
    """Where the label table of "train" or "test" lies in a DATA folder."""
    if split not in SPLITS:
        raise H36MError(f"MPI-INF-3DHP has no split {split}; it has {' and '.join(SPLITS)}")
    return prepared_path(data, "labels", "parquet", f"{split}.parquet")


def read_label_views(data: Path, split: str) -> Iterator[pa.Table]:
    """The rows of a split view after view; H36MError where there is no table or it is damaged."""
    path = labels_path(data, split)
    if not path.is_file():
        raise H36MError(f"{path}: no labels of MPI-INF-3DHP; run `h36m labels RAW --out {data}` on its folder first")
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(label_schema(split)):
                raise H36MError(f"{path}: has other columns than this version writes; make it again")
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                if len(table):
                    yield table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise H36MError(f"{path}: cannot be read as Parquet ({error}); make it again") from error


def read_test_cameras(data: Path) -> dict[str, Camera]:
    """The calibrated camera of each test sequence, without its lens, world y up, mm; none where there was no file.

    Raises H36MError as `read_label_views`.
    """
    for _ in read_label_views(data, "test"):  # refuses what is no such table
        break
    with pq.ParquetFile(labels_path(data, "test")) as file:
        facts = json.loads((file.metadata.metadata or {}).get(b"h36m", b"{}"))
    return {name: _camera_of(cameras["0"]) for name, cameras in facts.get("cameras", {}).items() if "0" in cameras}


def _camera_of(facts: dict[str, Any]) -> Camera:
    width, height = facts["size_px"]
    return Camera(
        rotation=np.array(facts["rotation"]),
        center=np.array(facts["center_mm"]),
        focal=np.array(facts["focal_px"]),
        principal=np.array(facts["principal_px"]),
        radial=np.zeros(3),
        tangential=np.zeros(2),
        size=(width, height),
    )


def label_poses(table: pa.Table, column: str, skeleton: Skeleton = MPI_INF_3DHP_17) -> np.ndarray:
    """A pose column (rows, joints, dims), float64, restricted to a skeleton's joints."""
    metadata = table.schema.field(column).metadata
    joints = tuple(json.loads(metadata[b"joints"]))
    whole = next(known for known in SKELETON_OF_SPLIT.values() if known.joints == joints)
    flat = table.column(column).combine_chunks().flatten().to_numpy()
    return whole.select(flat.reshape(len(table), len(joints), -1), skeleton.joints)


def read_test_labels(data: Path) -> list[TestAnnotations]:
    """The test set as its evaluation needs it, from the label table; raises as `read_label_views`."""
    found = []
    for table in read_label_views(data, "test"):
        found.append(
            TestAnnotations(
                table.column("sequence")[0].as_py(),
                label_poses(table, "joints_2d"),
                label_poses(table, "joints_3d_camera"),
                label_poses(table, "joints_3d_universal"),
                table.column("valid").to_numpy(zero_copy_only=False),
                table.column("activity").to_numpy().astype(np.int64),
            )
        )
    return found
