"""The annotation files: `annot.mat` of the training set (MATLAB 5), `annot_data.mat` of the test set (MATLAB 7.3).

Millimetres in the camera's frame (x right, y down, z forward), pixels of the whole image. `univ_annot3` is scaled to
one skeleton's height; only `annot3` projects onto `annot2`. Row k belongs to image k + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.matlab5 import is_matlab73, read_matlab5
from h36m_toolbox.mpi_inf_3dhp.sequences import ACTIVITIES, CAMERA_COUNT
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28

_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError)  # what h5py makes of a damaged file
_POSES = {"annot2": 2, "annot3": 3, "univ_annot3": 3}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ViewAnnotations:
    """What one camera of a training sequence sees, float64, 28 joints."""

    image: np.ndarray  # (frames, 28, 2), px
    camera: np.ndarray  # (frames, 28, 3), mm: annot3
    universal: np.ndarray  # (frames, 28, 3), mm: univ_annot3


@dataclass(frozen=True, eq=False)
class TestAnnotations:
    """A test sequence, float64, 17 joints in the order of the evaluation."""

    __test__ = False  # no test class, whatever pytest makes of the name

    sequence: str  # TS1 to TS6
    image: np.ndarray  # (frames, 17, 2), px
    camera: np.ndarray  # (frames, 17, 3), mm: annot3
    universal: np.ndarray  # (frames, 17, 3), mm: univ_annot3
    valid: np.ndarray  # (frames,) bool: what is evaluated
    activity: np.ndarray  # (frames,) int64, 1 to 7; 0 for any other label: of no activity


def read_train_annotations(path: Path, cameras: tuple[int, ...]) -> dict[int, ViewAnnotations]:
    """The annotations of these cameras, by number, which the file's own `cameras` tells.

    Each view has as many rows as its shortest array. Raises H36MError for a file that is no `annot.mat` or lacks one of
    the cameras.
    """
    numbers = read_camera_numbers(path)
    absent = [camera for camera in cameras if camera not in numbers]
    if absent:
        raise H36MError(f"{path}: has no camera {', '.join(map(str, absent))}; it has {', '.join(map(str, numbers))}")
    poses = {name: _cells(path, name, dims, numbers, cameras) for name, dims in _POSES.items()}
    views = {}
    for camera in cameras:
        arrays = [poses[name][camera] for name in _POSES]
        rows = min(map(len, arrays))
        views[camera] = ViewAnnotations(*(array[:rows] for array in arrays))
    return views


def read_camera_numbers(path: Path) -> list[int]:
    """Which camera each cell of a training annotation file is of; raises as `read_train_annotations`."""
    stored = read_matlab5(path, ("cameras",)).get("cameras")
    if stored is None or stored.dtype.kind not in "uif" or not np.isin(stored, range(CAMERA_COUNT)).all():
        raise H36MError(f"{path}: has no list `cameras` of numbers 0 to 13; expected annot.mat of a training sequence")
    return [int(number) for number in stored.ravel()]


def _cells(path: Path, name: str, dims: int, numbers: list[int], wanted: tuple[int, ...]) -> dict[int, np.ndarray]:
    """One variable at a time: together they are three times as large."""
    joints = len(MPI_INF_3DHP_28)
    cells = read_matlab5(path, (name,)).get(name)
    if cells is None or cells.dtype != object or cells.size != len(numbers):
        raise H36MError(f"{path}: {name} is no cell array with one cell for each of {len(numbers)} cameras")
    found = {}
    for camera, cell in zip(numbers, cells.ravel(), strict=True):
        if camera in wanted:
            if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "uif" or cell.shape[1:] != (joints * dims,):
                raise H36MError(f"{path}: {name} of camera {camera} is no matrix of {joints * dims} columns")
            found[camera] = cell.astype(np.float64).reshape(-1, joints, dims)
    return found


def read_test_annotations(path: Path, sequence: str) -> TestAnnotations:
    """The annotations of a test sequence; H36MError for a file that is no `annot_data.mat` or is damaged."""
    if not is_matlab73(path):
        raise H36MError(f"{path}: is no MATLAB 7.3 file; expected annot_data.mat of the test set, get it again")
    try:
        with h5py.File(path, "r") as file:
            poses = {name: _poses(file, name, dims) for name, dims in _POSES.items()}
            flags = {name: _numbers(file, name).ravel() for name in ("valid_frame", "activity_annotation")}
    except _DAMAGE as error:
        raise H36MError(
            f"{path}: damaged or no annotations of MPI-INF-3DHP ({error}); unpack the test set again"
        ) from error
    lengths = {name: len(array) for name, array in {**poses, **flags}.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise H36MError(f"{path}: its variables disagree in length ({listed}); unpack the test set again")
    activity = flags["activity_annotation"]
    return TestAnnotations(
        sequence,
        poses["annot2"],
        poses["annot3"],
        poses["univ_annot3"],
        valid=flags["valid_frame"] == 1,
        activity=np.where(np.isin(activity, tuple(ACTIVITIES)), activity, 0).astype(np.int64),
    )


def _numbers(file: h5py.File, name: str) -> np.ndarray:
    variable = file[name]
    if not isinstance(variable, h5py.Dataset) or variable.dtype.kind not in "uifb":
        raise ValueError(f"{name} is no numeric array")
    return np.asarray(variable[()], np.float64)


def _poses(file: h5py.File, name: str, dims: int) -> np.ndarray:
    """MATLAB's dims x 17 x 1 x frames; HDF5 has the axes in reverse."""
    joints = len(MPI_INF_3DHP_17)
    shape = file[name].shape
    if len(shape) != 4 or shape[1:] != (1, joints, dims):
        raise ValueError(f"{name} is {shape}, not frames x 1 x {joints} x {dims}")
    return _numbers(file, name).reshape(-1, joints, dims)
