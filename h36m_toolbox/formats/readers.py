"""Every exported format read back as a table keyed like the labels: 17 joints in our order, mm and px, float32.

One reader a format, each a function of the DATA folder and the splits wanted; `formats.read_format` finds them by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa

from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.h36m_fetch import processed_folder
from h36m_toolbox.formats.integral import integral_folder, integral_meta_path, read_integral_meta
from h36m_toolbox.formats.mmpose import NPZ_NAMES
from h36m_toolbox.formats.multiview import label_table_path
from h36m_toolbox.formats.pickle_records import (
    MM_PER_M,
    ColumnOf,
    as_stored,
    millimetres,
    pickled_sequences,
    screen_pixels,
)
from h36m_toolbox.formats.toolbox import PICKLE_NAMES
from h36m_toolbox.formats.videopose3d import FILE_2D, FILE_3D, read_positions_3d
from h36m_toolbox.labels import LABEL_FIELDS, labels_path, read_labels
from h36m_toolbox.pose_tables import PoseField, sequence_table, table_schema
from h36m_toolbox.sequences import (
    CAMERA_IDS,
    FPS,
    SPLITS,
    Recording,
    Sequence,
    recording_of_stem,
    sequences,
)
from h36m_toolbox.skeletons import H36M_17, H36M_32, MULTIVIEW_17
from h36m_toolbox.storage.safe_pickle import read_object_npz
from h36m_toolbox.videopose3d import read_positions_2d
from h36m_toolbox.views.labels import read_label_table

FIELDS = {
    **{field.name: field for field in LABEL_FIELDS},
    "joints_2d_cpn": PoseField("joints_2d_cpn", H36M_17, 2, "px", "image"),
}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ReadSequence:
    """Rows of one sequence: `frames` (n,) from 0, `poses` by column, each (n, 17, dims), mm or px."""

    sequence: Sequence
    frames: np.ndarray
    poses: dict[str, np.ndarray]


def format_table(read: Iterable[ReadSequence], columns: tuple[str, ...]) -> pa.Table:
    """Key columns and these pose columns of `FIELDS`, the sequences one after the other."""
    schema = table_schema(tuple(FIELDS[column] for column in columns))
    parts = [sequence_table(item.sequence, item.frames, item.poses, schema) for item in read]
    return pa.concat_tables([schema.empty_table(), *parts])


def _read_parquet(data: Path, splits: tuple[str, ...]) -> pa.Table:
    there = [split for split in splits if labels_path(data, split).is_file()]
    return pa.concat_tables([read_labels(data, split) for split in there or splits])


def _read_toolbox(data: Path, splits: tuple[str, ...]) -> pa.Table:
    columns = {
        "joints_2d": as_stored("joints_2d"),
        "joints_3d_camera": as_stored("joints_3d_camera"),
        "joints_3d_universal": as_stored("joints_3d"),
    }
    return _read_pickles(data / "labels" / "toolbox", splits, columns)


def _read_poseformer(data: Path, splits: tuple[str, ...]) -> pa.Table:
    columns = {
        "joints_2d": screen_pixels("joints_2d_gt"),
        "joints_2d_cpn": screen_pixels("joints_2d_cpn"),
        "joints_3d_camera": millimetres("joints_3d"),
    }
    return _read_pickles(data / "labels" / "poseformer", splits, columns)


def _read_pickles(folder: Path, splits: tuple[str, ...], columns: dict[str, ColumnOf]) -> pa.Table:
    paths = _existing([folder / PICKLE_NAMES[split] for split in splits], folder)
    read = (ReadSequence(*item) for path in paths for item in pickled_sequences(path, columns))
    return format_table(read, tuple(columns))


def _read_videopose3d(data: Path, splits: tuple[str, ...]) -> pa.Table:
    folder = data / "labels" / "videopose3d"
    _existing([folder / FILE_3D], folder)
    _existing([folder / FILE_2D], folder)
    world, image = read_positions_3d(folder / FILE_3D), read_positions_2d(folder / FILE_2D).by_recording

    def read() -> Iterator[ReadSequence]:
        for recording, poses in world.items():
            selected = H36M_32.select(poses, H36M_17.joints)
            for camera, joints_2d in image.get(recording, {}).items():
                if len(joints_2d) != len(selected):
                    raise H36MError(
                        f"{folder}: {recording.view(camera)} has {len(selected)} poses in {FILE_3D} and "
                        f"{len(joints_2d)} in {FILE_2D}; write both again"
                    )
                columns = {"joints_2d": joints_2d, "joints_3d_world": selected}
                yield ReadSequence(recording.view(camera), np.arange(len(selected)), columns)

    wanted = _subjects(splits)
    return format_table((item for item in read() if item.sequence.subject in wanted), ("joints_2d", "joints_3d_world"))


_FETCH_DATASETS = {"joints_2d": "pose/2d", "joints_3d_camera": "pose/3d", "joints_3d_universal": "pose/3d-univ"}


def _read_h36m_fetch(data: Path, splits: tuple[str, ...]) -> pa.Table:
    folder = processed_folder(data)
    recordings = list(dict.fromkeys(sequence.recording for sequence in sequences(_subjects(splits))))
    paths = {
        recording: folder / recording.subject / f"{recording.action}-{recording.subaction}" / "annot.h5"
        for recording in recordings
    }
    there = _existing(list(paths.values()), folder)

    def read() -> Iterator[ReadSequence]:
        for recording, path in paths.items():
            if path in there:
                yield from _read_annotations(path, recording)

    return format_table(read(), tuple(_FETCH_DATASETS))


def _read_annotations(path: Path, recording: Recording) -> Iterator[ReadSequence]:
    try:
        with h5py.File(path, "r") as file:
            frames, cameras = file["frame"][:], file["camera"][:]
            poses = {column: file[name][:] for column, name in _FETCH_DATASETS.items()}
    except (OSError, RuntimeError, KeyError, AttributeError, ValueError, TypeError) as error:  # h5py's of damaged files
        raise H36MError(f"{path}: cannot be read as h36m-fetch's annotations ({error}); make it again") from error
    shapes = {name: poses[column].shape for column, name in _FETCH_DATASETS.items()}
    if shapes != {name: (len(frames), len(H36M_32), 2 if name == "pose/2d" else 3) for name in shapes} or (
        cameras.shape != frames.shape
    ):
        raise H36MError(f"{path}: {len(frames)} frames, {cameras.shape} cameras, {shapes} do not fit; make it again")
    for camera in CAMERA_IDS:
        rows = np.flatnonzero(cameras == int(camera))
        if len(rows):
            selected = {column: H36M_32.select(array[rows], H36M_17.joints) for column, array in poses.items()}
            yield ReadSequence(recording.view(camera), frames[rows] - 1, selected)


def _read_multiview(data: Path, splits: tuple[str, ...]) -> pa.Table:
    """One row an instant and view that has a box."""
    labels = read_label_table(label_table_path(data))
    parts = [labels.taken(labels.of_split(split)) for split in splits]

    def read() -> Iterator[ReadSequence]:
        for part in parts:
            for view, rows in part.rows_of_views():
                world = MULTIVIEW_17.select(part.joints_3d[rows], H36M_17.joints)
                yield ReadSequence(view, part.frames[rows], {"joints_3d_world": world})

    return format_table(read(), ("joints_3d_world",))


_IMGNAME = re.compile(r"(?P<subject>S\d+)/(?P=subject)_(?P<stem>[^/.]+)\.(?P<camera>\d{8})/[^/]+_(?P<frame>\d{6})\.jpg")


def _read_mmpose(data: Path, splits: tuple[str, ...]) -> pa.Table:
    """The files of the highest frame rate there; those of lower rates repeat its rows."""
    folder = data / "labels" / "mmpose" / "annotation_body3d"
    rates = [int(path.name[3:]) for path in folder.glob("fps*") if path.name[3:].isdecimal()]
    highest = folder / f"fps{max(rates, default=FPS)}"

    def read() -> Iterator[ReadSequence]:
        for path in _existing([highest / NPZ_NAMES[split] for split in splits], folder):
            yield from _read_mmpose_file(path)

    return format_table(read(), ("joints_2d", "joints_3d_camera"))


def _read_mmpose_file(path: Path) -> Iterator[ReadSequence]:
    arrays = read_object_npz(path)
    absent = [name for name in ("imgname", "part", "S") if name not in arrays]
    if absent:
        raise H36MError(f"{path}: lacks {', '.join(absent)}; expected mmpose's labels; make it again")
    names, part, joints = (arrays[name] for name in ("imgname", "part", "S"))
    if names.ndim != 1 or part.shape[1:] != (17, 3) or joints.shape != (len(part), 17, 4):
        raise H36MError(f"{path}: imgname {names.shape}, part {part.shape}, S {joints.shape}; expected mmpose's labels")
    image, metres = part[..., :2], joints[..., :3]
    if len(names) != len(metres):
        raise H36MError(
            f"{path}: {len(names)} image names for {len(metres)} rows, misaligned as officially: nobody can tell which "
            "row is whose; write it again without --mmpose-misaligned"
        )
    start = 0
    for sequence, group in groupby(names.tolist(), lambda name: _named_sequence(path, name)):
        frames = np.array([int(name[-10:-4]) - 1 for name in group])
        rows = slice(start, start + len(frames))
        start = rows.stop
        poses = {"joints_2d": image[rows], "joints_3d_camera": metres[rows].astype(np.float32) * MM_PER_M}
        yield ReadSequence(sequence, frames, poses)


def _named_sequence(path: Path, name: str) -> Sequence:
    match = _IMGNAME.fullmatch(name)
    recording = recording_of_stem(match["subject"], match["stem"]) if match else None
    if match is None or recording is None or match["camera"] not in CAMERA_IDS:
        raise H36MError(f"{path}: {name!r} is no image of the data set; expected S1/S1_Walking.54138969/...")
    return recording.view(match["camera"])


def _read_integral(data: Path, splits: tuple[str, ...]) -> pa.Table:
    folder = integral_folder(data) / "annot"
    wanted = [view for view in sequences(_subjects(splits)) if integral_meta_path(data, view).is_file()]
    _existing([integral_meta_path(data, view) for view in wanted], folder)

    def read() -> Iterator[ReadSequence]:
        for view in wanted:
            meta = read_integral_meta(integral_meta_path(data, view))
            world = meta.world[:, list(meta.joints)]
            yield ReadSequence(view, np.arange(len(world)), {"joints_3d_world": world})

    return format_table(read(), ("joints_3d_world",))


def _subjects(splits: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(subject for split in splits for subject in SPLITS[split])


def _existing(paths: list[Path], folder: Path) -> list[Path]:
    """Those of the files that are there; an H36MError where none is."""
    there = [path for path in paths if path.is_file()]
    if not there:
        raise H36MError(f"{folder}: has none of the files wanted; write them with `h36m labels RAW --format ...`")
    return there


READERS: dict[str, Callable[[Path, tuple[str, ...]], pa.Table]] = {
    "parquet": _read_parquet,
    "toolbox": _read_toolbox,
    "poseformer": _read_poseformer,
    "videopose3d": _read_videopose3d,
    "h36m-fetch": _read_h36m_fetch,
    "multiview": _read_multiview,
    "mmpose": _read_mmpose,
    "integral": _read_integral,
}
