"""The official results pickles of learnable triangulation and ContextPose.

A dict with `keypoints_3d` (n, 17 or 16, 3), world, mm, multi-view joint order, and `indexes` (n,), places in the test
set that the multi-view label table defines: its rows (an instant each), or, single-view, its rows' cameras that have a
box. With or without the three displaced recordings of S9; the number of poses tells which.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.benchmarks.foreign.poses import Facts, ForeignPoses, as_array, checked_poses
from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import MULTIVIEW_17, SH_16
from h36m_toolbox.views.labels import MultiviewLabels, read_label_table

_CONVENTIONS = {len(skeleton): skeleton.name for skeleton in (SH_16, MULTIVIEW_17)}


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
    table = read_label_table(labels)
    layout, keys, sample = _samples(path, len(poses), table.taken(table.of_split(split)), split)
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


def _samples(path: Path, count: int, instants: MultiviewLabels, split: str) -> tuple[str, np.ndarray, np.ndarray]:
    """What the poses are samples of, the row key of every view, and the place of its pose."""
    choices = list(_choices(instants))
    for name, kept, by_view in choices:
        seen = instants.seen[kept]
        if count == (seen.sum() if by_view else len(seen)):
            rows, _ = np.nonzero(seen)
            return name, instants.view_keys[kept][seen], np.arange(count) if by_view else rows
    counts = ", ".join(f"{_count(instants, kept, by_view)} {name}" for name, kept, by_view in choices)
    raise H36MError(
        f"{path}: {count} poses; the {split} rows of {instants.path} are {counts}; give the label file of that run "
        "with --labels, or its split"
    )


def _choices(instants: MultiviewLabels) -> Iterator[tuple[str, np.ndarray, bool]]:
    for by_view, unit in ((False, "instants"), (True, "views")):
        yield unit, np.ones(len(instants.keys), bool), by_view
        yield f"{unit} without the displaced recordings", ~instants.displaced, by_view


def _count(instants: MultiviewLabels, kept: np.ndarray, by_view: bool) -> int:
    return int(instants.seen[kept].sum() if by_view else kept.sum())
