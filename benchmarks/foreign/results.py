"""The official results pickles of learnable triangulation and ContextPose.

A dict with `keypoints_3d` (n, 17 or 16, 3), world, mm, multi-view joint order, and `indexes` (n,), places in the test
set that the multi-view label table defines: its rows (an instant each), or, single-view, its rows' cameras that have a
box. With or without the three displaced recordings of S9; the number of poses tells which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.benchmarks.foreign.poses import Facts, ForeignPoses, as_array, checked_poses, row_keys_of
from h36m_toolbox.errors import H36MError
from h36m_toolbox.known_bad import DISPLACED_RECORDINGS
from h36m_toolbox.sequences import CAMERA_IDS, SPLITS, Recording
from h36m_toolbox.skeletons import MULTIVIEW_17, SH_16
from h36m_toolbox.storage.safe_pickle import read_object_npy

_CONVENTIONS = {len(skeleton): skeleton.name for skeleton in (SH_16, MULTIVIEW_17)}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Instants:
    """Rows of a label table, in its order; `seen` says which of the row keys `keys` exist, both (n, cameras)."""

    keys: np.ndarray
    seen: np.ndarray
    displaced: np.ndarray  # (n,)


def poses_of_results(path: Path, values: dict[str, Any], labels: Path, split: str) -> ForeignPoses:
    """The poses of a results pickle's dict, once for every view of an instant that the label table has a box for.

    Raises H36MError where arrays are missing or of another shape, `indexes` are no order, or the number of poses is
    none that the table at `labels` gives.
    """
    absent = [name for name in ("keypoints_3d", "indexes") if name not in values]
    if absent:
        raise H36MError(f"{path}: has no {', '.join(absent)}; a results pickle has keypoints_3d and indexes")
    poses = checked_poses(values["keypoints_3d"], f"{path}: keypoints_3d")
    if poses.shape[1] not in _CONVENTIONS:
        raise H36MError(f"{path}: keypoints_3d has {poses.shape[1]} joints; official results have 17, or 16 as in MPII")
    poses = poses[_order(path, as_array(values["indexes"], f"{path}: indexes"), len(poses))]
    layout, keys, sample = _samples(path, len(poses), _instants(labels, split), labels, split)
    usual = Facts(_CONVENTIONS[poses.shape[1]], "mm", "absolute", "world")
    return ForeignPoses(f"results pickle, {layout}", keys, poses[sample], Facts(), usual)


def _order(path: Path, indexes: np.ndarray, count: int) -> np.ndarray:
    """The poses' order: by index, or as in the file where each process of a distributed run counted from 0."""
    if indexes.shape != (count,) or indexes.dtype.kind not in "iuf":
        raise H36MError(f"{path}: indexes are {indexes.dtype} {indexes.shape}; expected one for each of {count} poses")
    order = np.argsort(indexes, kind="stable")
    if np.array_equal(indexes[order], np.arange(count)):
        return order
    starts = np.flatnonzero(indexes == 0)
    if len(starts) and starts[0] == 0:
        counted_anew = np.arange(count) - np.repeat(starts, np.diff(starts, append=count))
        if np.array_equal(indexes, counted_anew):
            return np.arange(count)
    raise H36MError(
        f"{path}: indexes are neither 0 to {count - 1}, each once, nor counted from 0 by each process; poses are "
        "missing or repeated, so evaluate again"
    )


def _samples(
    path: Path, count: int, instants: _Instants, labels: Path, split: str
) -> tuple[str, np.ndarray, np.ndarray]:
    """What the poses are samples of, the row key of every view, and the place of its pose."""
    choices = list(_choices(instants))
    for name, kept, by_view in choices:
        seen = instants.seen[kept]
        if count == (seen.sum() if by_view else len(seen)):
            rows, _ = np.nonzero(seen)
            return name, instants.keys[kept][seen], np.arange(count) if by_view else rows
    counts = ", ".join(f"{_count(instants, kept, by_view)} {name}" for name, kept, by_view in choices)
    raise H36MError(
        f"{path}: {count} poses; the {split} rows of {labels} are {counts}; give the label file of that run with "
        "--labels, or its split"
    )


def _choices(instants: _Instants) -> Iterator[tuple[str, np.ndarray, bool]]:
    for by_view, unit in ((False, "instants"), (True, "views")):
        yield unit, np.ones(len(instants.keys), bool), by_view
        yield f"{unit} without the displaced recordings", ~instants.displaced, by_view


def _count(instants: _Instants, kept: np.ndarray, by_view: bool) -> int:
    return int(instants.seen[kept].sum() if by_view else kept.sum())


def _instants(path: Path, split: str) -> _Instants:
    if not path.is_file():
        raise H36MError(
            f"{path}: no multi-view label table, by which a results pickle counts; write it with `h36m labels RAW "
            "--format multiview`, or give that of the run with --labels"
        )
    labels = read_object_npy(path)
    try:
        table = labels["table"]
        takes = np.stack([table["subject_idx"], table["action_idx"]], axis=1).astype(int)
        if tuple(labels["camera_names"]) != CAMERA_IDS:
            raise ValueError(f"its cameras are {labels['camera_names']}, expected {', '.join(CAMERA_IDS)}")
        seen = (table["bbox_by_camera_tlbr"] != 0).any(axis=2)
        if seen.shape != (len(table), len(CAMERA_IDS)) or (table["frame_idx"] < 0).any():
            raise ValueError("its boxes are not those of four cameras, or frames do not count from 0")
        keys = np.zeros((len(table), len(CAMERA_IDS)), np.int64)
        kept, displaced = np.zeros(len(table), bool), np.zeros(len(table), bool)
        for subject, action in np.unique(takes, axis=0):
            name, _, subaction = str(labels["action_names"][action]).rpartition("-")
            recording = Recording(str(labels["subject_names"][subject]), name, int(subaction))
            rows = (takes == (subject, action)).all(axis=1)
            kept[rows] = recording.subject in SPLITS[split]
            displaced[rows] = recording in DISPLACED_RECORDINGS
            for view in recording.views:
                keys[rows, view.camera_index] = row_keys_of(view, table["frame_idx"][rows])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise H36MError(
            f"{path}: no multi-view label table ({error}); expected the npy that learnable "
            "triangulation and ContextPose read"
        ) from error
    return _Instants(keys[kept], seen[kept], displaced[kept])
