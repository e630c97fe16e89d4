"""Predictions that are not what they are said to be: each a refusal that names what to do."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from synthetic_data import FRAMES, VIEWS, done, refused

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import KEYS, pose_array
from h36m_toolbox.skeletons import H36M_16, H36M_17, MULTIVIEW_17, SH_16

ROWS = 2 * VIEWS * FRAMES  # S9 and S11
LABEL_ORDER = ("--frames", "all", "--unit", "mm", "--joints", "h36m-17")


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels of S9 and S11, relative to the hip, in their order."""

    data: Path
    keys: dict[str, list]
    absolute: np.ndarray

    @property
    def poses(self) -> np.ndarray:
        return self.absolute - self.absolute[:, :1]


@pytest.fixture(scope="module")
def truth(synthetic_data: Path) -> Truth:
    table = read_labels(synthetic_data, "val", ["joints_3d_camera"])
    keys = {name: table.column(name).to_pylist() for name in KEYS}
    return Truth(synthetic_data, keys, pose_array(table, "joints_3d_camera").astype(np.float64))


def refusal(path: Path, truth: Truth, *options: object) -> str:
    return refused("eval", path, "--data", truth.data, "--protocol", "strict", *options)


def facing(truth: Truth) -> np.ndarray:
    """The poses on the axes of the world."""
    views = zip(truth.keys["subject"], truth.keys["camera"], truth.poses, strict=True)
    return np.stack([pose @ h36m_camera(subject, camera).rotation for subject, camera, pose in views])


def with_nan(poses: np.ndarray) -> np.ndarray:
    poses = poses.copy()
    poses[[3, 4, 9], 5, 2] = np.nan
    return poses


def mirrored(poses: np.ndarray) -> np.ndarray:
    poses = poses.copy()
    poses[:, [*H36M_17.left, *H36M_17.right]] = poses[:, [*H36M_17.right, *H36M_17.left]]
    return poses


# What an array in label order holds and what is said of it; what the refusal says.
ARRAYS: dict[str, tuple[Callable[[Truth], np.ndarray], tuple[str, ...], str]] = {
    "metres as millimetres": (lambda t: t.poses / 1000, LABEL_ORDER, "they are m: say --unit m"),
    "millimetres as metres": (
        lambda t: t.poses,
        ("--frames", "all", "--unit", "m", "--joints", "h36m-17"),
        "they are mm: say --unit mm",
    ),
    "no size of a person": (lambda t: t.poses * 30, LABEL_ORDER, "they are neither mm nor m"),
    "no unit": (lambda t: t.poses, ("--frames", "all", "--joints", "h36m-17"), "nothing says its unit; say --unit mm"),
    "no joint order": (
        lambda t: t.poses,
        ("--frames", "all", "--unit", "mm"),
        "17 joints, and nothing says in which order; say --joints, with 17 there is h36m-17, multiview-17",
    ),
    "an unknown joint order": (
        lambda t: t.poses,
        ("--frames", "all", "--unit", "mm", "--joints", "coco"),
        "coco is no such convention",
    ),
    "another number of joints": (lambda t: t.poses[:, :15], LABEL_ORDER, "its poses have 15 joints"),
    "another joint order of 17": (
        lambda t: H36M_17.select(t.poses, MULTIVIEW_17.joints),
        LABEL_ORDER,
        "say --joints multiview-17",
    ),
    "another joint order of 16": (
        lambda t: H36M_17.select(t.poses, H36M_16.joints),
        ("--frames", "all", "--unit", "mm", "--joints", SH_16.name),
        "say --joints h36m-16",
    ),
    "sides exchanged": (lambda t: mirrored(t.poses), LABEL_ORDER, "left and right joints exchanged"),
    "an image mirrored": (lambda t: t.poses * (-1, 1, 1), LABEL_ORDER, "x mirrored"),
    "y pointing up": (lambda t: t.poses * (1, -1, 1), LABEL_ORDER, "y pointing up instead of down"),
    "OpenGL's axes": (lambda t: t.poses * (1, -1, -1), LABEL_ORDER, "z towards the viewer (OpenGL)"),
    "world axes as the camera's": (facing, LABEL_ORDER, "say --coordinates world"),
    "camera axes as the world's": (
        lambda t: t.poses,
        (*LABEL_ORDER, "--coordinates", "world"),
        "say --coordinates camera",
    ),
    "rows in another order": (
        lambda t: t.poses[np.random.default_rng(0).permutation(ROWS)],
        LABEL_ORDER,
        "its rows are not of the frames they are said to be",
    ),
    "absolute as relative": (lambda t: t.absolute, (*LABEL_ORDER, "--root", "relative"), "say --root absolute"),
    "relative as absolute": (lambda t: t.poses, (*LABEL_ORDER, "--root", "absolute"), "say --root relative"),
    "the trajectory in row 0": (
        lambda t: np.concatenate([t.absolute[:, :1], t.poses[:, 1:]], axis=1),
        LABEL_ORDER,
        "row 0 holds the trajectory",
    ),
    "too few rows": (
        lambda t: t.poses[:-3],
        LABEL_ORDER,
        f"{ROWS - 3} poses, but --frames all are {ROWS} frames of the val labels",
    ),
    "rows of no stated frames": (
        lambda t: t.poses,
        LABEL_ORDER[2:],
        f"say of which frames with --frames: scored ({ROWS - 4 * FRAMES}), all ({ROWS}), or every N-th, such as 64",
    ),
    "NaN": (lambda t: with_nan(t.poses), LABEL_ORDER, f"3 of {ROWS} poses have NaN or infinite numbers, the first is"),
    "nothing but NaN": (lambda t: t.poses * np.nan, LABEL_ORDER, f"{ROWS} of {ROWS} poses have NaN"),
    "flat rows": (lambda t: t.poses.reshape(ROWS, 51), LABEL_ORDER, "expected floating-point poses of shape"),
    "four numbers a joint": (lambda t: np.zeros((ROWS, 17, 4)), LABEL_ORDER, "expected floating-point poses of shape"),
    "whole numbers": (lambda t: t.poses.astype(int), LABEL_ORDER, "int64 of shape"),
}


@pytest.mark.parametrize("wrong", ARRAYS)
def test_an_array_that_is_not_what_is_said_of_it_is_refused(truth: Truth, tmp_path: Path, wrong: str) -> None:
    make, options, message = ARRAYS[wrong]
    np.save(tmp_path / "p.npy", make(truth))
    said = refusal(tmp_path / "p.npy", truth, *options, "--out", tmp_path / "out")
    assert said.startswith(f"Error: {tmp_path / 'p.npy'}: ")
    assert message in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", ["no size of a person", "sides exchanged", "y pointing up", "rows in another order"])
def test_what_looks_wrong_is_scored_where_the_user_insists(truth: Truth, tmp_path: Path, wrong: str) -> None:
    make, options, _ = ARRAYS[wrong]
    np.save(tmp_path / "p.npy", make(truth))
    words = ("--data", truth.data, "--protocol", "strict", "--out", tmp_path / "out")
    done("eval", tmp_path / "p.npy", *words, *options, "--as-stated")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["headline"]["mpjpe"] > 50
    assert report["provenance"]["options"]["checks"] == "left out"


def test_constant_poses_are_bad_but_no_mistake(truth: Truth, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.repeat(truth.poses.mean(axis=0, keepdims=True), ROWS, axis=0) + 0.0)
    words = ("--frames", "all", "--unit", "mm", "--joints", "h36m-17")
    assert "MPJPE" in done("eval", tmp_path / "p.npy", "--data", truth.data, "--protocol", "strict", *words)


def table(truth: Truth, **columns: object) -> pa.Table:
    pose = pa.array(list(truth.poses.reshape(ROWS, -1)))
    return pa.table({**truth.keys, "pose": pose, **columns})


TABLES: dict[str, tuple[Callable[[Truth], pa.Table], str]] = {
    "no camera": (lambda t: table(t).drop_columns(["camera"]), "lacks the column camera; it has subject"),
    "no rows": (lambda t: table(t).slice(0, 0), "has columns but no rows"),
    "no poses": (lambda t: table(t).drop_columns(["pose"]), "no poses in it; expected a column joints_3d of lists"),
    "two lists": (lambda t: table(t, box=[[1.0]] * ROWS), "columns pose, box hold lists; call the one of the poses"),
    "an unknown subject": (
        lambda t: table(t, subject=["S9"] * 7 + ["Bob"] * (ROWS - 7)),
        "row 7 of the table, from 0: subject is 'Bob'; expected one of S1",
    ),
    "an unknown action": (lambda t: table(t, action=["Dancing"] * ROWS), "action is 'Dancing'; expected one of Direc"),
    "sub-action 0": (lambda t: table(t, subaction=[0] * ROWS), "subaction is 0; expected 1 or 2"),
    "a negative frame": (lambda t: table(t, frame=[-1] * ROWS), "frame is -1; expected a number from 0"),
    "half a frame": (lambda t: table(t, frame=[0.5] * ROWS), "column frame holds double, expected whole numbers"),
    "a frame without a number": (
        lambda t: table(t, frame=[None] + [1] * (ROWS - 1)),
        "row 0 of the table, from 0: frame",
    ),
    "a row twice": (lambda t: pa.concat_tables([table(t), table(t).slice(5, 1)]), "1 rows repeat an earlier one"),
    "a row without a pose": (
        lambda t: table(t, pose=[None, *t.poses.reshape(ROWS, -1).tolist()[1:]]),
        "row 0 of the table, from 0: pose is None",
    ),
    "lists of two lengths": (
        lambda t: table(t, pose=[[1.0] * 48, *t.poses.reshape(ROWS, -1).tolist()[1:]]),
        "column pose holds lists of 48, 51 values; expected one length",
    ),
    "subjects in lists": (lambda t: table(t, subject=[[9.0]] * ROWS), "column subject holds"),
    "lists of whole numbers": (lambda t: table(t, pose=[[1] * 51] * ROWS), "expected floating-point numbers"),
    "lists of 50 numbers": (lambda t: table(t, pose=[[1.0] * 50] * ROWS), "expected x, y, z of every joint"),
}


@pytest.mark.parametrize("wrong", TABLES)
def test_a_table_that_is_none_of_predictions_is_refused(truth: Truth, tmp_path: Path, wrong: str) -> None:
    make, message = TABLES[wrong]
    pq.write_table(make(truth), tmp_path / "p.parquet")
    assert message in refusal(tmp_path / "p.parquet", truth, "--unit", "mm", "--joints", "h36m-17")


def test_columns_of_joints_must_be_complete_and_of_one_convention(truth: Truth, tmp_path: Path) -> None:
    columns = dict(truth.keys)
    for place, joint in enumerate(H36M_17.joints):
        columns |= {f"{axis}_{joint}": truth.poses[:, place, "xyz".index(axis)].tolist() for axis in "xyz"}
    for name, message in (("x_Head", "are those of no known convention"), ("z_Head", "lacks the column z_Head")):
        pa.csv.write_csv(pa.table({key: value for key, value in columns.items() if key != name}), tmp_path / "p.csv")
        assert message in refusal(tmp_path / "p.csv", truth, "--unit", "mm")
    words = {**columns, "y_Head": ["low"] * ROWS}
    pa.csv.write_csv(pa.table(words), tmp_path / "p.csv")
    assert "column y_Head holds string, expected numbers" in refusal(tmp_path / "p.csv", truth, "--unit", "mm")


def test_frames_are_scored_all_or_a_step(truth: Truth, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", truth.poses)
    for word in ("some", "0", "-1"):
        message = refusal(tmp_path / "p.npy", truth, "--frames", word, *LABEL_ORDER[2:])
        assert f"--frames is '{word}'; expected scored, all or a step such as 64" in message


def test_a_table_needs_neither_frames_nor_labels(truth: Truth, tmp_path: Path) -> None:
    pq.write_table(table(truth), tmp_path / "p.parquet")
    assert "its rows say which frames" in refusal(tmp_path / "p.parquet", truth, "--frames", "all")
    assert "needs no multi-view labels" in refusal(tmp_path / "p.parquet", truth, "--labels", tmp_path / "p.npy")


def test_tables_that_cannot_be_read_are_refused(truth: Truth, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("subject,frame,frame\nS9,1,1\n")
    assert "has the column frame more than once" in refusal(tmp_path / "p.csv", truth)
    for content in (b"subject,fr\xe4me\nS9,1\n", b"subject,frame\nS9,1,2\n", b""):
        (tmp_path / "p.csv").write_bytes(content)
        assert "p.csv: cannot be read as CSV, comma-separated UTF-8 with a header" in refusal(tmp_path / "p.csv", truth)
    (tmp_path / "p.csv").write_bytes(b"subject,action,subaction,camera,frame,x_0,y_0,z_0\nS\xff,A,1,5,0,1,2,3\n")
    assert "p.csv: " in refusal(tmp_path / "p.csv", truth)


def test_what_the_file_says_is_not_contradicted(truth: Truth, tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", poses=truth.poses, unit=np.array("mm"), joints=np.array("h36m-17"))
    words = ("--frames", "all")
    assert "unit is mm by the file and m by the option" in refusal(tmp_path / "p.npz", truth, *words, "--unit", "m")
    message = refusal(tmp_path / "p.npz", truth, *words, "--joints", "multiview-17")
    assert "joints is h36m-17 by the file and multiview-17 by the option; leave out --joints" in message


def test_arrays_by_sequence_must_be_named_and_as_long_as_the_labels(truth: Truth, tmp_path: Path) -> None:
    words = ("--unit", "mm", "--joints", "h36m-17")
    pose = truth.poses[:FRAMES]
    np.savez(tmp_path / "p.npz", first=pose, second=pose)
    assert "the array 'first' is called after no sequence" in refusal(tmp_path / "p.npz", truth, *words)
    np.savez(tmp_path / "p.npz", **{"S9/Directions.54138969": pose[:5]})
    message = refusal(tmp_path / "p.npz", truth, *words)
    assert f"S9/Directions.54138969 has 5 poses, --frames all are {FRAMES} of its labelled frames" in message
    np.savez(tmp_path / "p.npz", **{"S1/Directions.54138969": pose})
    assert "holds S1; the val split has S9, S11" in refusal(tmp_path / "p.npz", truth, *words)
    np.savez(tmp_path / "p.npz", **{"S9/Directions.54138969": pose, "S11/Directions.54138969": pose[:, :16]})
    assert "its sequences have 16 and 17 joints" in refusal(tmp_path / "p.npz", truth, *words)
    np.savez(tmp_path / "p.npz", positions_3d={"S9": {"Dancing": pose}})
    assert "Human3.6M has no such recording" in refusal(tmp_path / "p.npz", truth, *words)
    np.savez(tmp_path / "p.npz", positions_3d={"S9": {"Directions": [pose]}})
    assert "1 views; expected 4, None where there is none" in refusal(tmp_path / "p.npz", truth, *words)
    np.savez(tmp_path / "p.npz", positions_3d={"S9": [pose]})
    assert "positions_3d is no dict of subjects with dicts" in refusal(tmp_path / "p.npz", truth, *words)


def test_results_pickles_must_fit_the_label_table(truth: Truth, tmp_path: Path) -> None:
    def said(results: dict, *options: object) -> str:
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(results))
        return refusal(tmp_path / "p.pkl", truth, *options)

    poses = np.zeros((4, 17, 3), np.float32)
    assert "has no indexes" in said({"keypoints_3d": poses})
    assert "indexes are neither 0 to 3" in said({"keypoints_3d": poses, "indexes": np.array([0, 1, 1, 3])})
    assert "indexes are neither 0 to 3" in said({"keypoints_3d": poses, "indexes": np.array([1, 0, 1, 3])})
    assert "expected one for each of 4 poses" in said({"keypoints_3d": poses, "indexes": np.arange(3)})
    assert "keypoints_3d has 15 joints" in said({"keypoints_3d": poses[:, :15], "indexes": np.arange(4)})
    message = said({"keypoints_3d": poses, "indexes": np.arange(4)})
    assert "no multi-view label table, by which the rows of a results pickle count" in message
    np.save(tmp_path / "other.npy", poses)
    fitting = {"keypoints_3d": poses, "indexes": np.arange(4)}
    assert "other.npy: no multi-view label table" in said(fitting, "--labels", tmp_path / "other.npy")
    assert "leave out --frames" in said(fitting, "--frames", "all")


def test_files_of_no_kind_are_refused(truth: Truth, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("1 2 3")
    assert "no readable Parquet, CSV, npz, npy or pickle file" in refusal(tmp_path / "p.txt", truth)
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and no more")
    assert "no readable Parquet file" in refusal(tmp_path / "p.parquet", truth)
    (tmp_path / "p.npz").write_bytes(b"PK and no more")
    assert "no readable npz file" in refusal(tmp_path / "p.npz", truth)
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"S9": {"Directions 1": [[1.0], [1.0, 2.0], None, "4"]}}))
    assert "float" in refusal(tmp_path / "p.pkl", truth)
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"poses": [[1.0], [1.0, 2.0]]}))
    assert "a list that is no array" in refusal(tmp_path / "p.pkl", truth)
    (tmp_path / "p.pkl").write_bytes(pickle.dumps([1, 2]))
    assert "holds a list; expected an array" in refusal(tmp_path / "p.pkl", truth)
