"""The official results pickle as a source of pelvis estimates, and estimates as the pickle ContextPose reads.

A dict with `keypoints_3d` (rows, 17, 3) float32, world, mm, multi-view joint order, and `indexes` (rows,), their places
among the rows of one split of the multi-view label table. Its readers sort by `indexes` and take joint 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pelvis.estimates import (
    JOINT,
    PelvisSource,
    RecordingPelvis,
    averaged,
    instant_keys,
    pelvis_array,
    pelvis_path,
    read_pelvis,
    recording_code,
)
from h36m_toolbox.pose_tables import sequence_of_code
from h36m_toolbox.sequences import Recording
from h36m_toolbox.skeletons import MULTIVIEW_17, SH_16
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.storage.pickle_stream import write_pickled_value
from h36m_toolbox.storage.safe_pickle import read_plain_pickle
from h36m_toolbox.views.labels import MultiviewLabels, read_label_table

_JOINT_COUNTS = (len(SH_16), len(MULTIVIEW_17))  # of learnable triangulation's kinds mpii and human36m


def _recording(code: int) -> Recording:
    return sequence_of_code(code << 4).recording


def pelvis_of_results(
    path: Path, labels: Path, split: str | None = None
) -> tuple[PelvisSource, Iterator[RecordingPelvis]]:
    """Joint 6 of the official results pickle, whose rows are those of one split of the label table at `labels`.

    Which split is told by the number of rows: training, test, or test without the three displaced recordings of S9, as
    an official run with `with_damaged_actions: false` leaves them; `split` decides where that is not enough. Raises
    H36MError for a file that is damaged, asks for anything but numpy arrays, or does not fit the table.
    """
    instants = read_label_table(labels)
    pelvis = _sorted_pelvis(path)
    rows = _fitting_rows(path, len(pelvis), instants, split)
    source = PelvisSource("results", path.stem, path.name, sha256_of(path), MULTIVIEW_17.name)
    return source, _with_views(pelvis, rows, instants)


def _with_views(pelvis: np.ndarray, rows: np.ndarray, instants: MultiviewLabels) -> Iterator[RecordingPelvis]:
    n_views = dict(zip(instants.keys[rows].tolist(), instants.seen[rows].sum(axis=1).tolist(), strict=True))
    for item in averaged(instants.keys[rows], pelvis):
        code = recording_code(item.recording)
        counts = np.array([n_views[code << 32 | int(frame)] for frame in item.frames])
        yield RecordingPelvis(item.recording, item.frames, item.pelvis, counts)


def _sorted_pelvis(path: Path) -> np.ndarray:
    """Joint 6 (rows, 3), mm, of a results pickle, in the order of its indexes."""
    if not path.is_file():
        raise H36MError(f"{path}: no such file; expected an official results pickle")
    results = read_plain_pickle(path)
    poses, indexes = _arrays(path, results)
    if poses.ndim != 3 or poses.shape[1] not in _JOINT_COUNTS or poses.shape[2] != 3 or poses.dtype.kind != "f":
        raise H36MError(
            f"{path}: keypoints_3d is {poses.dtype} {poses.shape}; expected floats (rows, 17, 3), world, mm"
        )
    if indexes.shape != (len(poses),) or not np.array_equal(np.sort(indexes), np.arange(len(poses))):
        raise H36MError(
            f"{path}: indexes are not 0 to {len(poses) - 1}, each once; a run on several processes counts anew on "
            "each, so evaluate again on one"
        )
    pelvis = poses[np.argsort(indexes), MULTIVIEW_17.joints.index(JOINT)].astype(np.float64)
    if not np.isfinite(pelvis).all():
        raise H36MError(f"{path}: joint 6 is no finite number in {(~np.isfinite(pelvis).all(axis=-1)).sum()} rows")
    return pelvis


def _arrays(path: Path, results: Any) -> tuple[np.ndarray, np.ndarray]:
    names = ("keypoints_3d", "indexes")
    if not isinstance(results, dict) or not all(isinstance(results.get(name), np.ndarray) for name in names):
        raise H36MError(f"{path}: expected a dict with the arrays keypoints_3d and indexes, as official runs save it")
    return results["keypoints_3d"], results["indexes"]


def _fitting_rows(path: Path, count: int, instants: MultiviewLabels, split: str | None) -> np.ndarray:
    """The rows of the table that a pickle with `count` rows speaks of."""
    test = instants.of_split("val")
    kept = test[~instants.displaced[test]]
    choices = {"train": [("train", instants.of_split("train"))], "val": [("val", test)]}
    if len(kept) < len(test):
        choices["val"].append(("val without the displaced recordings", kept))
    among = [choice for name, part in choices.items() if split in (None, name) for choice in part]
    fitting = [rows for _, rows in among if len(rows) == count]
    if len(fitting) != 1:
        lengths = ", ".join(f"{name} {len(rows)}" for name, rows in among)
        why = "; name its split" if fitting else ", so it was made from another table"
        raise H36MError(f"{path}: has {count} rows; {instants.path} has {lengths}{why}")
    return fitting[0]


@dataclass(frozen=True)
class ResultsReport:
    """A written results pickle: its rows, and how many of them have no estimate (NaN)."""

    path: Path
    rows: int
    without: int


def write_results(data: Path, split: str, labels: Path, allow_missing: bool = False) -> ResultsReport:
    """Write `DATA/pelvis/{split}.pkl` from the Parquet file: a row for every row of the split in the label table.

    `keypoints_3d` (rows, 17, 3) float32, world, mm: joint 6 is the estimate, the other joints, which nobody estimated
    and ContextPose does not read, are NaN; `indexes` int64 counts from 0. Raises H36MError where rows have no estimate,
    unless `allow_missing` lets them be NaN.
    """
    estimates = read_pelvis(data, split)
    there, pelvis = instant_keys(estimates), pelvis_array(estimates)
    instants = read_label_table(labels)
    wanted = instants.keys[instants.of_split(split)]
    if not len(wanted):
        raise H36MError(f"{labels}: has no rows of the {split} split; write it again with those subjects")
    place = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
    found = there[place] == wanted
    if not found.all() and not allow_missing:
        raise H36MError(_missing(data, split, labels, wanted, found))
    keypoints = np.full((len(wanted), len(MULTIVIEW_17), 3), np.nan, np.float32)
    keypoints[found, MULTIVIEW_17.joints.index(JOINT)] = pelvis[place[found]]
    path = pelvis_path(data, split).with_suffix(".pkl")
    write_pickled_value(path, {"keypoints_3d": keypoints, "indexes": np.arange(len(wanted))})
    return ResultsReport(path, len(wanted), int((~found).sum()))


def _missing(data: Path, split: str, labels: Path, wanted: np.ndarray, found: np.ndarray) -> str:
    codes = wanted >> 32
    lines = []
    for code in np.unique(codes[~found]):
        recording = _recording(int(code))
        here = codes == code
        lines.append(f"  {recording.subject}/{recording.stem}: {(here & ~found).sum()} of {here.sum()} instants")
    more = f"\n  and {len(lines) - 8} more recordings" if len(lines) > 8 else ""
    return (
        f"{pelvis_path(data, split)}: lacks {(~found).sum()} of the {len(found)} rows of {labels}:\n"
        + "\n".join(lines[:8])
        + more
        + "\nmake the estimates from complete detections, or let those rows be NaN with --allow-missing"
    )
