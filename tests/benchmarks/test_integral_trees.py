"""Integral Human Pose's official HM36 tree as a source of DATA: the same frames have the same score."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_data import done, refused

from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.labels import labels_path, read_labels
from h36m_toolbox.pose_tables import pose_array, row_keys

pytestmark = pytest.mark.usefixtures("one_thread")

ASKED = (
    "bench",
    "--model",
    "integral",
    "--untrained",
    "--layers",
    18,
    "--patch",
    "64x64",
    "--every",
    64,
    "--device",
    "cpu",
)


@pytest.fixture(scope="module")
def tree(prepared: Path, archives_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in the official layout, with the frames of the prepared DATA."""
    data = tmp_path_factory.mktemp("tree")
    (data / "images").symlink_to(prepared / "images")
    done("labels", archives_folder, "--out", data, "--format", "integral", "--jobs", 1)
    return data / "labels" / "integral"


def test_a_tree_is_benched_as_the_labels_are(tree: Path, prepared: Path, tmp_path: Path) -> None:
    done(*ASKED, "--meta", tree, "--data", tmp_path / "data", "--runs", tmp_path)
    done(*ASKED, "--data", prepared, "--runs", tmp_path)
    ours, theirs = read_leaderboard(tmp_path / "leaderboard.csv")
    assert ours.mpjpe_mm == pytest.approx(theirs.mpjpe_mm, abs=1e-2)
    assert ours.frames == theirs.frames
    columns = ["joints_3d_camera", "joints_2d"]
    for split in ("train", "val"):
        made, own = (read_labels(data, split, columns) for data in (tmp_path / "data", prepared))
        there = np.isin(row_keys(made), row_keys(own))  # the label table cuts a view whose files are of unequal lengths
        assert (there.sum(), len(made)) == (len(own), len(own) + (2 if split == "train" else 0))
        for column in columns:
            np.testing.assert_allclose(pose_array(made, column)[there], pose_array(own, column), atol=0.01)


def test_a_tree_is_read_once_and_its_change_is_noticed(tree: Path, prepared: Path, tmp_path: Path) -> None:
    own = tmp_path / "tree"
    shutil.copytree(tree / "annot", own / "annot")
    where = ("--data", tmp_path / "data", "--runs", tmp_path)
    asked = (*ASKED, "--meta", own, "--images", prepared / "images", *where)
    done(*asked)
    before = labels_path(tmp_path / "data", "val").stat().st_mtime_ns
    done(*asked, "--resume")
    assert labels_path(tmp_path / "data", "val").stat().st_mtime_ns == before
    note = tmp_path / "data" / "labels" / "integral-tree.json"
    views = json.loads(note.read_text())["views"]
    shutil.rmtree(next((own / "annot").glob("s_09*")))
    done(*asked)
    assert json.loads(note.read_text())["views"] == views - 1


def test_what_is_no_tree_and_data_of_others_are_refused(tree: Path, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "give its folder" in refused(*ASKED, "--meta", tmp_path / "empty", "--data", tmp_path / "data")
    shutil.copytree(prepared / "labels" / "parquet", tmp_path / "data" / "labels" / "parquet")
    assert "labels that were not made from" in refused(*ASKED, "--meta", tree, "--data", tmp_path / "data")
