"""Predictions files of every kind, as ours: who knows nothing of h36m can be scored too.

Read are our Parquet, anybody's Parquet or CSV table, npy and npz arrays, VideoPose3D's positions and the official
results pickles; the format is told by the content. Whatever is read becomes a predictions file in millimetres and the
camera frame, with a provenance that says how the original was understood.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox import __version__
from h36m_toolbox.benchmarks.foreign.arrays import poses_of_arrays
from h36m_toolbox.benchmarks.foreign.plausibility import (
    check_no_trajectory,
    check_reading,
    check_unit,
    judged_root,
    root_of,
)
from h36m_toolbox.benchmarks.foreign.poses import Facts, ForeignPoses, LabelledFrames, Statement
from h36m_toolbox.benchmarks.foreign.results import poses_of_results
from h36m_toolbox.benchmarks.foreign.tables import read_foreign_table
from h36m_toolbox.benchmarks.foreign.world_views import world_to_views
from h36m_toolbox.benchmarks.predictions import (
    METADATA_KEY,
    PREDICTION_COLUMN,
    UNKNOWN,
    Predictions,
    Provenance,
    check_table,
    prediction_schema,
    read_predictions,
    write_predictions,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.multiview import label_table_path
from h36m_toolbox.labels import data_fingerprint
from h36m_toolbox.pose_tables import keyed_table
from h36m_toolbox.skeletons import SKELETONS, Skeleton
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.storage.safe_pickle import read_object_npy, read_object_npz, read_plain_pickle

_CHOICES = {"unit": ("mm", "m"), "root": ("relative", "absolute"), "coordinates": ("camera", "world")}
_MM = {"mm": 1.0, "m": 1000.0}
_KINDS = "Parquet, CSV, npz, npy or pickle file"


def converted(
    path: Path, into: Path, data: Path, labels: pa.Table, labelled: LabelledFrames, statement: Statement, model: str
) -> Predictions:
    """Any predictions file as ours: read where it is ours already, else written to `into` and read from there.

    `labels` has the key columns and `joints_3d_camera` of the split, `labelled` its frames, `model` is the label in the
    provenance. Raises H36MError for a file that cannot be read or understood, and for poses that are not what they are
    said to be.
    """
    if not path.is_file():
        raise H36MError(f"{path}: no such file; expected predictions: a {_KINDS}")
    if _is_ours(path):
        if statement != Statement() or model:
            raise H36MError(f"{path}: written by h36m, it says itself what it holds; leave out all that says it again")
        return read_predictions(path)
    foreign = _read(path, data, labelled, statement)
    facts, skeleton = _settled(path, foreign, statement.facts)
    schema = prediction_schema(skeleton)
    check_table(keyed_table(foreign.keys, {PREDICTION_COLUMN: foreign.poses}, schema), path)
    if not statement.as_stated:
        _check_plausible(path, foreign, facts, skeleton, labels)
    poses, root = _in_camera(path, foreign, facts, skeleton, statement)
    read_as = {"file": path.name, "sha256": sha256_of(path), "format": foreign.layout, **_words(facts, statement)}
    if foreign.left_out:
        read_as["left_out"] = ", ".join(foreign.left_out)
    provenance = foreign_provenance(path, model, read_as, data_fingerprint(data, labelled.split), root)
    write_predictions(into, keyed_table(foreign.keys, {PREDICTION_COLUMN: poses}, schema), provenance)
    return replace(read_predictions(into), path=path)


def _is_ours(path: Path) -> bool:
    if _start(path, 4) != b"PAR1":
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is no UTF-8
        raise H36MError(f"{path}: no readable Parquet file ({error}); get it again") from error
    return METADATA_KEY.encode() in metadata


def _start(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _read(path: Path, data: Path, labelled: LabelledFrames, statement: Statement) -> ForeignPoses:
    start = _start(path, 6)
    if start.startswith(b"PAR1") or path.suffix.lower() == ".csv":
        _no_frames(path, statement)
        if statement.labels:
            raise H36MError(f"{path}: a table needs no multi-view labels; leave out --labels")
        return read_foreign_table(path)
    if start.startswith(b"PK"):
        values: Any = read_object_npz(path)
    elif start.startswith(b"\x93NUMPY"):
        values = {"": read_object_npy(path)}
    elif start.startswith(pickle.PROTO):
        values = read_plain_pickle(path)
    else:
        raise H36MError(f"{path}: no readable {_KINDS}; see datasets.md for what is accepted")
    if isinstance(values, dict) and isinstance(values.get(""), dict):
        values = values[""]  # an npy of one pickled dict
    if isinstance(values, np.ndarray):
        values = {"": values}
    if not isinstance(values, dict):
        raise H36MError(f"{path}: holds a {type(values).__name__}; expected an array, or a dict of them by name")
    if "keypoints_3d" in values or statement.labels:
        _no_frames(path, statement)
        return poses_of_results(path, values, statement.labels or label_table_path(data), labelled.split)
    return poses_of_arrays(path, values, labelled, statement.frames)


def _no_frames(path: Path, statement: Statement) -> None:
    if statement.frames:
        raise H36MError(f"{path}: its rows say which frames they are of; leave out --frames")


def _settled(path: Path, foreign: ForeignPoses, stated: Facts) -> tuple[Facts, Skeleton]:
    """What holds of the poses by the user, else the file, else its format; an H36MError for what nobody says."""
    for name in stated.differences(foreign.says):
        ours, theirs = getattr(stated, name), getattr(foreign.says, name)
        raise H36MError(
            f"{path}: {name} is {theirs} by the file and {ours} by the option; leave out --{name}, or correct the file"
        )
    facts = stated.completed(foreign.says).completed(foreign.usual).completed(Facts(coordinates="camera"))
    joints = foreign.poses.shape[1]
    if facts.joints not in SKELETONS or len(SKELETONS[facts.joints]) != joints:
        known = [name for name, skeleton in SKELETONS.items() if len(skeleton) == joints]
        fitting = ", ".join(known) or "none; select the joints of one of " + ", ".join(SKELETONS)
        said = f"but {facts.joints} is no such convention" if facts.joints else "and nothing says in which order"
        raise H36MError(
            f"{path}: its poses have {joints} joints, {said}; say --joints, with {joints} there is {fitting}"
        )
    for name, choices in _CHOICES.items():
        value = getattr(facts, name)
        if value not in choices and not (name == "root" and not value):
            found = f"{name} is {value!r}" if value else f"nothing says its {name}"
            raise H36MError(f"{path}: {found}; say --{name} {' or '.join(choices)}")
    return facts, SKELETONS[facts.joints]


def _in_camera(
    path: Path, foreign: ForeignPoses, facts: Facts, skeleton: Skeleton, statement: Statement
) -> tuple[np.ndarray, str]:
    """The poses in millimetres and the camera frame, and whether they are relative or absolute."""
    poses = foreign.poses * _MM[facts.unit]
    stated = facts.root if statement.as_stated else ""
    root = stated or judged_root(path, poses, skeleton, facts.root)
    if facts.coordinates == "world":
        poses = world_to_views(foreign.keys, poses, relative=root == "relative")
    if statement.subtract_root:
        poses, root = poses - root_of(poses, skeleton)[:, None], "relative"
    return poses, root


def _check_plausible(path: Path, foreign: ForeignPoses, facts: Facts, skeleton: Skeleton, labels: pa.Table) -> None:
    """Size, row 0 and joint order are checked first: what a wrong order has for a pelvis says nothing of the root."""
    check_unit(path, foreign.poses, facts.unit)
    poses = foreign.poses * _MM[facts.unit]
    check_no_trajectory(path, poses)
    in_camera = world_to_views(foreign.keys, poses, relative=True) if facts.coordinates == "world" else poses
    check_reading(path, foreign.keys, in_camera, skeleton, labels)


def _words(facts: Facts, statement: Statement) -> dict[str, str]:
    """How the file was understood, for its provenance."""
    words = {"joints": facts.joints, "unit": facts.unit, "coordinates": facts.coordinates}
    if statement.subtract_root:
        words["root"] = "subtracted"
    if statement.as_stated:
        words["checks"] = "left out"
    return words


def foreign_provenance(path: Path, model: str, read_as: dict[str, str], fingerprint: str, root: str) -> Provenance:
    """Of a foreign model little is known; its date is the file's, so that reading it again gives the same bytes."""
    changed = datetime.fromtimestamp(int(path.stat().st_mtime), timezone.utc)
    return Provenance(
        model=model or path.stem,
        options=read_as,
        weights_sha256=UNKNOWN,
        detections=UNKNOWN,
        detections_sha256="",
        data_fingerprint=fingerprint,
        protocol="",
        h36m_version=__version__,
        torch_version="",
        numpy_version="",
        python_version="",
        device=UNKNOWN,
        created=changed.isoformat(timespec="seconds"),
        seconds=0.0,
        poses_per_s=0.0,
        root=root,
    )
