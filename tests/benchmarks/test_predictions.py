import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judged_tables import PROVENANCE, prediction_table

from h36m_toolbox.benchmarks.predictions import prediction_schema, read_predictions, write_predictions
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import pose_array, row_keys
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17

FIRST = Sequence("S9", "Directions", 1, "54138969")
SECOND = Sequence("S11", "WalkingDog", 2, "60457274")


def poses(frames: int = 4, joints: int = 17) -> np.ndarray:
    return np.random.default_rng(frames).normal(size=(frames, joints, 3)).astype(np.float32)


def table() -> pa.Table:
    return prediction_table({FIRST: poses(4), SECOND: poses(3)})


def with_column(name: str, values: pa.Array, field: pa.Field | None = None) -> pa.Table:
    original = table()
    place = original.schema.names.index(name)
    return original.set_column(place, field or pa.field(name, values.type), values)


def raw_file(path: Path, contents: pa.Table, metadata: object) -> Path:
    pq.write_table(contents.replace_schema_metadata({"h36m": json.dumps(metadata)}), path)
    return path


@pytest.mark.parametrize("skeleton", [H36M_16, H36M_17], ids=lambda skeleton: skeleton.name)
def test_what_is_written_is_read_again(tmp_path: Path, skeleton) -> None:
    written = prediction_table({FIRST: poses(4, len(skeleton)), SECOND: poses(3, len(skeleton))}, skeleton)
    write_predictions(tmp_path / "run" / "predictions.parquet", written, PROVENANCE)
    read = read_predictions(tmp_path / "run" / "predictions.parquet")
    assert read.skeleton == skeleton
    assert read.provenance == PROVENANCE
    assert read.table.schema.equals(prediction_schema(skeleton), check_metadata=False)
    np.testing.assert_array_equal(pose_array(read.table, "joints_3d"), pose_array(written, "joints_3d"))
    np.testing.assert_array_equal(row_keys(read.table), row_keys(written))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["predictions.parquet"]


def test_equal_predictions_have_equal_hashes_and_others_do_not(tmp_path: Path) -> None:
    hashes = []
    for name, contents in (("a", table()), ("b", table()), ("c", prediction_table({FIRST: poses(5)}))):
        write_predictions(tmp_path / name, contents, PROVENANCE)
        hashes.append(read_predictions(tmp_path / name).sha256)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_the_first_place_and_the_count(tmp_path: Path, number) -> None:
    spoilt = poses(4)
    spoilt[[2, 3], 5, 1] = number
    with pytest.raises(H36MError, match=r"2 of 4 poses .* first is S9/Directions 1\.54138969 frame 2"):
        write_predictions(tmp_path / "p", prediction_table({FIRST: spoilt}), PROVENANCE)
    with pytest.raises(H36MError, match=r"2 of 4 poses .* first is S9/Directions 1\.54138969 frame 2"):
        read_predictions(raw_file(tmp_path / "p", prediction_table({FIRST: spoilt}), vars(PROVENANCE)))


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p", table(), PROVENANCE)
    before = read_predictions(tmp_path / "p").sha256
    with pytest.raises(H36MError):
        write_predictions(tmp_path / "p", prediction_table({FIRST: poses() * np.nan}), PROVENANCE)
    assert read_predictions(tmp_path / "p").sha256 == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_repeated_frames_are_refused_with_the_first_repetition(tmp_path: Path) -> None:
    repeated = pa.concat_tables([table(), table().slice(5, 2)])
    with pytest.raises(H36MError, match=r"2 rows repeat .* S11/WalkDog\.60457274 frame 1"):
        write_predictions(tmp_path / "p", repeated, PROVENANCE)


WRONG_TABLES = {
    "15 joints' numbers under 17 names": (
        lambda: with_column(
            "joints_3d",
            pa.FixedSizeListArray.from_arrays(pa.array(np.ones(7 * 45, np.float32)), 45),
            pa.field("joints_3d", pa.list_(pa.float32(), 45), metadata=table().schema.field("joints_3d").metadata),
        ),
        "holds 45 float a row; the 17 joints of h36m-17 need 51",
    ),
    "numbers without joint names": (
        lambda: with_column("joints_3d", pa.FixedSizeListArray.from_arrays(pa.array(np.ones(7 * 51, np.float32)), 51)),
        "no pose column",
    ),
    "whole numbers": (
        lambda: with_column(
            "joints_3d",
            pa.FixedSizeListArray.from_arrays(pa.array(np.ones(7 * 51, np.int32)), 51),
            pa.field("joints_3d", pa.list_(pa.int32(), 51), metadata=table().schema.field("joints_3d").metadata),
        ),
        "need 51 floating-point numbers",
    ),
    "metres": (
        lambda: with_column(
            "joints_3d",
            table().column("joints_3d"),
            table()
            .schema.field("joints_3d")
            .with_metadata({**table().schema.field("joints_3d").metadata, b"unit": b"m"}),
        ),
        "is in m, frame camera; expected mm, camera",
    ),
    "rows without a pose": (
        lambda: with_column(
            "joints_3d",
            pa.array([None, *table().column("joints_3d").to_pylist()[1:]], pa.list_(pa.float32(), 51)),
            pa.field("joints_3d", pa.list_(pa.float32(), 51), metadata=table().schema.field("joints_3d").metadata),
        ),
        "column joints_3d has rows without a value",
    ),
    "no camera": (lambda: table().drop_columns(["camera"]), "no column camera"),
    "an unknown action": (
        lambda: with_column("action", pa.array(["Dancing"] * 7)),
        "column action holds Dancing; expected one of Directions",
    ),
    "frames as text": (lambda: with_column("frame", pa.array(list("0123456"))), "column frame holds string"),
    "sub-action 3": (lambda: with_column("subaction", pa.array([3] * 7, pa.int8())), "sub-actions must be 1 or 2"),
    "a negative frame": (lambda: with_column("frame", pa.array(np.arange(-1, 6, dtype=np.int32))), "count from 0"),
    "no rows": (lambda: table().slice(0, 0), "no predictions in it"),
}


@pytest.mark.parametrize("wrong", WRONG_TABLES)
def test_tables_that_are_no_predictions_are_refused_on_writing_and_reading(tmp_path: Path, wrong: str) -> None:
    make, message = WRONG_TABLES[wrong]
    with pytest.raises(H36MError, match=message):
        write_predictions(tmp_path / "p", make(), PROVENANCE)
    if wrong == "rows without a pose":
        message += "|all lists to be of size"  # pyarrow before 26 cannot read such a column at all
    with pytest.raises(H36MError, match=f"{tmp_path / 'p'}: .*({message})"):
        read_predictions(raw_file(tmp_path / "p", make(), vars(PROVENANCE)))


def test_tables_of_other_writers_with_plain_strings_and_doubles_are_read(tmp_path: Path) -> None:
    original = table()
    plain = original.set_column(0, "subject", original.column("subject").cast(pa.string()))
    plain = plain.set_column(4, "frame", original.column("frame").cast(pa.int64()))
    doubles = pa.FixedSizeListArray.from_arrays(pa.array(pose_array(original, "joints_3d").astype(float).ravel()), 51)
    field = pa.field("joints_3d", doubles.type, metadata=original.schema.field("joints_3d").metadata)
    read = read_predictions(raw_file(tmp_path / "p", plain.set_column(5, field, doubles), vars(PROVENANCE)))
    np.testing.assert_array_equal(row_keys(read.table), row_keys(original))
    np.testing.assert_array_equal(pose_array(read.table, "joints_3d"), pose_array(original, "joints_3d"))


def test_files_that_are_no_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="no such file"):
        read_predictions(tmp_path / "missing.parquet")
    (tmp_path / "text").write_text("frame,x\n0,1\n")
    with pytest.raises(H36MError, match="text: no readable Parquet file"):
        read_predictions(tmp_path / "text")
    write_predictions(tmp_path / "cut", table(), PROVENANCE)
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:-20])
    with pytest.raises(H36MError, match="cut: no readable Parquet file"):
        read_predictions(tmp_path / "cut")


def test_a_file_without_a_readable_provenance_is_refused(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "p")
    with pytest.raises(H36MError, match="no `h36m` metadata"):
        read_predictions(tmp_path / "p")
    pq.write_table(table().replace_schema_metadata({"h36m": "{"}), tmp_path / "p")
    with pytest.raises(H36MError, match="metadata is no JSON"):
        read_predictions(tmp_path / "p")
    incomplete = {key: value for key, value in vars(PROVENANCE).items() if key != "device"}
    with pytest.raises(H36MError, match="lacks device, unknown: gpu"):
        read_predictions(raw_file(tmp_path / "p", table(), {**incomplete, "gpu": "none"}))
    with pytest.raises(H36MError, match=r"lacks .*model"):
        read_predictions(raw_file(tmp_path / "p", table(), ["a", "list"]))


def test_a_provenance_that_says_nothing_of_the_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="root is '', expected one of relative, absolute"):
        write_predictions(tmp_path / "p", table(), replace(PROVENANCE, root=""))
    with pytest.raises(H36MError, match="no finite number"):
        write_predictions(tmp_path / "p", table(), replace(PROVENANCE, poses_per_s=float("inf")))
