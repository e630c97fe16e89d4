from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_data import FRAMES, VIEWS, done, refused

from h36m_toolbox import read_labels
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import pose_array, row_keys
from h36m_toolbox.selection import TEST_STEP

KINDS = ("D2_Positions", "D3_Positions", "D3_Positions_mono", "D3_Positions_mono_universal")
Part = Callable[[str], Path]


@pytest.fixture
def part_of(synthetic_raw: Path, tmp_path: Path) -> Part:
    """The files of the tiny synthetic archive that match a pattern below S*/MyPoseFeatures/."""

    def copied(pattern: str) -> Path:
        for source in synthetic_raw.glob(pattern):
            target = tmp_path / "raw" / source.relative_to(synthetic_raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        return tmp_path / "raw"

    return copied


def labels(raw: Path, data: Path, *further: object) -> str:
    return done("labels", raw, "--out", data, "--jobs", 1, *further)


def sorted_rows(table: pa.Table) -> pa.Table:
    return table.take(pa.array(np.argsort(row_keys(table))))


def facts(data: Path, split: str) -> dict:
    return json.loads(pq.read_metadata(data / "labels" / "parquet" / f"{split}.parquet").metadata[b"h36m"])


def test_one_subject_works_and_the_missing_ones_are_named(part_of: Part, tmp_path: Path) -> None:
    raw = part_of("S9/MyPoseFeatures/*/*.cdf")
    output = labels(raw, tmp_path / "data")
    assert f"not in {raw}: S1, S5, S6, S7, S8, S11" in output
    assert "S9: 6 of 30 recordings" in output
    assert read_labels(tmp_path / "data", "val").num_rows == VIEWS * FRAMES
    assert facts(tmp_path / "data", "val")["derived"] == {}


def test_one_camera_works_and_the_missing_ones_are_named_and_not_derived(part_of: Part, tmp_path: Path) -> None:
    part_of("S9/MyPoseFeatures/D3_Positions/*.cdf")
    output = labels(part_of("S9/MyPoseFeatures/*/*.55011271.cdf"), tmp_path / "data")
    assert "S9: 6 of 30 recordings; no poses of camera 54138969, 58860488, 60457274" in output
    table = read_labels(tmp_path / "data", "val")
    assert set(table.column("camera").to_pylist()) == {"55011271"}
    assert table.num_rows == VIEWS // 4 * FRAMES


@pytest.mark.parametrize("missing", ["D2_Positions", "D3_Positions", "D3_Positions_mono"])
def test_a_missing_kind_is_derived_named_and_near_the_original(
    part_of: Part, synthetic_data: Path, tmp_path: Path, missing: str
) -> None:
    for kind in KINDS:
        if kind != missing:
            raw = part_of(f"S9/MyPoseFeatures/{kind}/*.cdf")
    output = labels(raw, tmp_path / "data")
    assert f"{VIEWS} sequences (S9/Directions 1.54138969, ...): {missing} is not there; derived" in output
    assert list(facts(tmp_path / "data", "val")["derived"]) == [missing]
    assert len(facts(tmp_path / "data", "val")["derived"][missing]) == VIEWS
    ours = read_labels(tmp_path / "data", "val")
    whole = read_labels(synthetic_data, "val")
    whole = whole.filter(pa.array([subject == "S9" for subject in whole.column("subject").to_pylist()]))
    assert row_keys(ours).tolist() == row_keys(whole).tolist()
    for column, near in (("joints_2d", 4e-4), ("joints_3d_world", 2e-3), ("joints_3d_camera", 2e-3)):
        np.testing.assert_allclose(pose_array(ours, column), pose_array(whole, column), rtol=0, atol=near)
    np.testing.assert_array_equal(pose_array(ours, "joints_3d_universal"), pose_array(whole, "joints_3d_universal"))
    assert ours.column("in_h36m_fetch").equals(whole.column("in_h36m_fetch"))


def numbers(table: pa.Table, column: str) -> np.ndarray:
    """A pose column as it stands (rows, numbers)."""
    return np.stack(table.column(column).to_numpy())


def test_world_poses_alone_give_all_views_without_universal_poses(part_of: Part, tmp_path: Path) -> None:
    raw = part_of("S*/MyPoseFeatures/D3_Positions/*.cdf")
    output = labels(raw, tmp_path / "data")
    assert (
        "D3_Positions_mono_universal is not there and cannot be derived; joints_3d_universal and in_h36m_fetch"
        in output
    )
    table = read_labels(tmp_path / "data", "val")
    assert table.num_rows == 2 * VIEWS * FRAMES
    assert np.isnan(numbers(table, "joints_3d_universal")).all()
    assert table.column("in_h36m_fetch").null_count == len(table)
    assert np.isfinite(pose_array(table, "joints_3d_camera")).all()
    with pytest.raises(H36MError, match=r"joints_3d_universal has no values in 384 of 384 rows, the first of S9/"):
        pose_array(table, "joints_3d_universal")


def test_camera_poses_alone_are_enough_too(part_of: Part, tmp_path: Path) -> None:
    labels(part_of("S9/MyPoseFeatures/D3_Positions_mono/*.cdf"), tmp_path / "data")
    assert sorted(facts(tmp_path / "data", "val")["derived"]) == ["D2_Positions", "D3_Positions"]


def test_neither_world_nor_camera_poses_are_not_enough(part_of: Part, tmp_path: Path) -> None:
    message = refused("labels", part_of("S9/MyPoseFeatures/D2_Positions/*.cdf"), "--out", tmp_path / "data")
    assert "no sequence has D3_Positions or D3_Positions_mono" in message
    assert "S9/Directions 1.54138969 lacks D3_Positions or D3_Positions_mono" in message


@pytest.mark.parametrize("name", ["toolbox", "h36m-fetch", "multiview"])
def test_formats_that_need_universal_poses_say_so(part_of: Part, tmp_path: Path, name: str) -> None:
    raw = part_of("S9/MyPoseFeatures/D3_Positions/*.cdf")
    further = ["--without-images"] if name == "toolbox" else []
    message = refused("labels", raw, "--out", tmp_path / "data", "--format", name, *further)
    assert "no sequence has D3_Positions or D3_Positions_mono and D3_Positions_mono_universal" in message
    assert "S9/Directions 1.54138969 lacks D3_Positions_mono_universal" in message


def test_formats_that_need_universal_poses_leave_out_the_sequences_without(part_of: Part, tmp_path: Path) -> None:
    raw = part_of("S9/MyPoseFeatures/*/*.cdf")
    (raw / "S9/MyPoseFeatures/D3_Positions_mono_universal/Eating.54138969.cdf").unlink()
    output = labels(raw, tmp_path / "data", "--format", "toolbox", "--without-images")
    assert "S9/Eating.54138969: left out, it lacks D3_Positions_mono_universal" in output
    assert f"{VIEWS - 1} sequences" in output


def test_mmpose_is_written_from_derived_poses(part_of: Part, tmp_path: Path) -> None:
    output = labels(part_of("S9/MyPoseFeatures/D3_Positions/*.cdf"), tmp_path / "data", "--format", "mmpose")
    assert f"{VIEWS} sequences (S9/Directions 1.54138969, ...): D2_Positions is not there; derived" in output
    assert (
        np.load(tmp_path / "data/labels/mmpose/annotation_body3d/fps50/h36m_test.npz")["S"].shape[0] == VIEWS * FRAMES
    )


def test_labels_of_a_mixture_are_empty_only_where_universal_poses_are_missing(part_of: Part, tmp_path: Path) -> None:
    part_of("S9/MyPoseFeatures/*/*.cdf")
    labels(part_of("S11/MyPoseFeatures/D3_Positions/*.cdf"), tmp_path / "data")
    table = read_labels(tmp_path / "data", "val")
    absent = np.isnan(numbers(table, "joints_3d_universal")).all(axis=1)
    np.testing.assert_array_equal(absent, np.array(table.column("subject").to_pylist()) == "S11")
    present = table.filter(pa.array(~absent))
    kept = np.array(present.column("in_h36m_fetch").to_pylist())
    np.testing.assert_array_equal(kept, present.column("frame").to_numpy() % TEST_STEP == 0)
    assert np.isfinite(pose_array(present, "joints_3d_universal")).all()


def test_limb_statistics_without_universal_poses_name_the_way_out(part_of: Part, tmp_path: Path) -> None:
    labels(part_of("S1/MyPoseFeatures/D3_Positions/*.cdf"), tmp_path / "data")
    assert "h36m stats --select all" in refused("stats", tmp_path / "data")
    assert "Hip" in done("stats", tmp_path / "data", "--select", "all")


def test_world_poses_alone_are_enough_to_bench(part_of: Part, tmp_path: Path) -> None:
    raw, data = part_of("S*/MyPoseFeatures/D3_Positions/*.cdf"), tmp_path / "data"
    done("detections", raw, "--out", data)
    labels(raw, data)
    done("bench", "--model", "semgcn", "--untrained", "--data", data, "--runs", tmp_path / "runs", "--device", "cpu")
    assert (tmp_path / "runs" / "leaderboard.csv").is_file()
