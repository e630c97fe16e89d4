"""VideoPose3D's `data_3d_h36m.npz` and `data_2d_h36m_gt.npz`: pickled dicts by subject and action in compressed npz.

Format: dataprep facts as observed in facebookresearch/VideoPose3D, data/prepare_data_h36m.py. The order of the dicts,
there that of the file system, is the data set's loop order here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.positions_npz import write_positions_npz
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import S11_DIRECTIONS
from h36m_toolbox.poses import read_pose_file
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, Recording, Sequence, recording_of_stem
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.pickle_stream import pickled_part
from h36m_toolbox.storage.safe_pickle import read_object_npz
from h36m_toolbox.videopose3d import ground_truth_2d

FILE_3D = "data_3d_h36m.npz"
FILE_2D = "data_2d_h36m_gt.npz"

_RECORDINGS = len(ACTIONS) * len(SUBACTIONS)  # of one subject
_METADATA = {
    "num_joints": len(H36M_17),
    "keypoints_symmetry": [list(np.array(side)) for side in (H36M_17.left, H36M_17.right)],  # numpy's integers
}


@dataclass(frozen=True)
class PositionsReport:
    """One written file: `sequences` are recordings in 3D and views in 2D, `rows` their poses.

    `lacking`: lines about recordings that are dropped and subjects of which some are missing.
    """

    path: Path
    sequences: int
    rows: int
    lacking: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    def differences(self) -> list[str]:
        """One line for each recording dropped and each subject with fewer recordings than the data set has."""
        return list(self.lacking)


@dataclass(frozen=True)
class _Job:
    recording: Recording
    world: Path


@dataclass(frozen=True)
class _Made:
    """What one recording contributes to a file: a pickled value, or what went wrong."""

    recording: Recording
    sequences: int
    rows: int
    stream: bytes
    damage: str = ""


def write_videopose3d(
    archive: RawArchive, data: Path, jobs: int = 1, progress: Callable[[Sequence], None] | None = None
) -> dict[str, PositionsReport]:
    """Write both files below `DATA/labels/videopose3d`, from the world poses alone; a report a file, "3d" and "2d".

    `positions_3d[subject][name]` is float32 (frames, 32, 3), world, metres; `positions_2d[subject][name]` a list of
    four float32 (frames, 17, 2), px, projected with VideoPose3D's constants, distortion included. Names are canonical
    (Photo and WalkDog for every subject), nothing is cut, S11 Directions is dropped; a subject that is not there has an
    empty dict, as officially. Readable with numpy 1 and 2; memory stays at a few recordings. Damaged
    files are left out and reported. Raises H36MError where there are no world poses.
    """
    found = {sequence.recording: archive.path(sequence, Kind.WORLD) for sequence in archive.sequences((Kind.WORLD,))}
    if not found:
        raise H36MError(
            f"{archive.root}: no world poses; expected S1/MyPoseFeatures/{Kind.WORLD.value}/*.cdf, which "
            f"{Kind.WORLD.archive_name}_S1.tgz of the official site holds"
        )
    lacking = tuple(_lacking(found))
    work = [_Job(recording, path) for recording, path in found.items() if recording != S11_DIRECTIONS]
    folder = data / "labels" / "videopose3d"
    made = map_in_order(partial(_make, _metres, False), work, jobs)
    report_3d = _write(folder / FILE_3D, "positions_3d", made, {}, lacking, progress)
    made = map_in_order(partial(_make, _pixels, True), work, jobs)
    report_2d = _write(folder / FILE_2D, "positions_2d", made, {"metadata": _METADATA}, lacking, progress)
    return {"3d": report_3d, "2d": report_2d}


def _lacking(found: Iterable[Recording]) -> Iterator[str]:
    for subject, group in groupby(found, lambda recording: recording.subject):
        recordings = list(group)
        if len(recordings) < _RECORDINGS:
            yield f"{subject}: {len(recordings)} of {_RECORDINGS} recordings; VideoPose3D's own script demands all"
        if S11_DIRECTIONS in recordings:
            yield f"{subject}/{S11_DIRECTIONS.stem}: left out, as VideoPose3D leaves it out"


def _metres(world: np.ndarray, subject: str) -> list[np.ndarray]:
    return [world / np.float32(1000)]


def _pixels(world: np.ndarray, subject: str) -> list[np.ndarray]:
    return [ground_truth_2d(world, subject, camera) for camera in CAMERA_IDS]


def _make(positions: Callable[[np.ndarray, str], list[np.ndarray]], a_list: bool, job: _Job) -> _Made:
    try:
        world = read_pose_file(job.world, 3)
    except H36MError as error:
        return _Made(job.recording, 0, 0, b"", str(error))
    made = [np.ascontiguousarray(array) for array in positions(world, job.recording.subject)]
    stream = pickled_part([made] if a_list else made).stream
    return _Made(job.recording, len(made), sum(map(len, made)), stream)


def _write(
    path: Path,
    key: str,
    made: Iterable[_Made],
    further: dict[str, Any],
    lacking: tuple[str, ...],
    progress: Callable[[Sequence], None] | None,
) -> PositionsReport:
    sequences = rows = 0
    damaged = []

    def entries() -> Iterator[tuple[Recording, bytes]]:
        nonlocal sequences, rows
        for item in made:
            sequences, rows = sequences + item.sequences, rows + item.rows
            if item.damage:
                damaged.append(item.damage)
            else:
                yield item.recording, item.stream
            if progress:
                progress(item.recording.views[0])

    write_positions_npz(path, key, entries(), further)
    return PositionsReport(path, sequences, rows, lacking, tuple(damaged))


def read_positions_3d(path: Path) -> dict[Recording, np.ndarray]:
    """World poses (frames, 32, 3), **mm** float32, of a `data_3d_h36m.npz`, which holds metres, by recording.

    Recordings that the data set does not have are left out. Raises H36MError for a file without `positions_3d`, with
    arrays of another shape, or that is not what it claims to be; nothing in it is run.
    """
    values = read_object_npz(path)
    positions = values.get("positions_3d")
    if not isinstance(positions, dict):
        raise H36MError(f"{path}: has {', '.join(values) or 'nothing'} but no positions_3d; expected {_EXPECTED}")
    found: dict[Recording, np.ndarray] = {}
    for subject, actions in positions.items():
        if not isinstance(actions, dict):
            raise H36MError(f"{path}: positions_3d[{subject!r}] is no dict of actions; expected {_EXPECTED}")
        for name, poses in actions.items():
            recording = recording_of_stem(str(subject), str(name))
            if recording is not None:
                found[recording] = _millimetres(poses, f"{path}: {subject} {name}")
    return found


_EXPECTED = "a VideoPose3D file: positions_3d[subject][action] = a float array (frames, 32, 3), world, m"


def _millimetres(poses: Any, where: str) -> np.ndarray:
    array = np.asarray(poses)
    if array.shape[1:] != (len(H36M_32), 3) or array.dtype.kind != "f":
        raise H36MError(f"{where} is {array.dtype} {array.shape}; expected {_EXPECTED}")
    return array.astype(np.float32, copy=False) * np.float32(1000)
