from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_data import done, h36m, refused

from h36m_toolbox import read_labels
from h36m_toolbox.detections.bundles import (
    bundle_detections,
    match_detections,
    open_detections,
    read_detections,
    read_sequence_detections,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.registry import read_format
from h36m_toolbox.pose_tables import PoseField, pose_array, pose_column
from h36m_toolbox.raw.archive import RawArchive
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, MULTIVIEW_17, SH_16, Skeleton

KEYS = ["subject", "action", "subaction", "camera", "frame"]


def own_table(prepared: Path, name: str = "cpn", skeleton: Skeleton | None = None) -> pd.DataFrame:
    """Bundled detections as a user would have them: a column a coordinate."""
    table = read_detections(prepared, name)
    frame = table.select(KEYS).to_pandas().astype({"subject": str, "action": str, "camera": str})
    stated = {"cpn": H36M_17, "gt": H36M_17, "sh": SH_16}[name]
    joints = (skeleton or stated).joints
    poses = stated.select(pose_array(table, "joints_2d"), joints)
    columns = {f"{'xy'[axis]}_{joint}": poses[:, place, axis] for place, joint in enumerate(joints) for axis in (0, 1)}
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def one_sequence(prepared: Path, frames: int = 6) -> pd.DataFrame:
    return own_table(prepared).iloc[:frames].copy()


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False)
    return path


def arrays(path: Path) -> dict[Sequence, np.ndarray]:
    return {item.sequence: item.joints_2d for item in open_detections("own", path)[1]}


@pytest.mark.parametrize(("write", "suffix"), [(write_csv, ".csv"), (write_parquet, ".parquet")])
def test_a_table_of_ones_own_becomes_the_same_detections(
    prepared: Path, tmp_path: Path, write: Callable[[pd.DataFrame, Path], Path], suffix: str
) -> None:
    shuffled = own_table(prepared).sample(frac=1, random_state=0)
    columns = [*np.random.default_rng(0).permutation(shuffled.columns)]
    path = write(shuffled[columns], tmp_path / f"own{suffix}")
    source, detected = open_detections("own", path)
    assert source.skeleton is H36M_17
    assert source.notes == ()
    expected = list(read_sequence_detections(prepared, "cpn"))
    for ours, theirs in zip(detected, expected, strict=True):
        assert ours.sequence == theirs.sequence
        np.testing.assert_array_equal(ours.joints_2d, theirs.joints_2d)


@pytest.mark.parametrize("name", ["cpn", "sh"])
def test_our_own_parquet_is_read_back(prepared: Path, name: str) -> None:
    path = prepared / "detections" / f"{name}.parquet"
    found = arrays(path)
    for item in read_sequence_detections(prepared, name):
        np.testing.assert_array_equal(found[item.sequence], item.joints_2d)
    assert open_detections(name, path)[0].skeleton is (H36M_17 if name == "cpn" else SH_16)


@pytest.mark.parametrize(
    ("name", "order", "skeleton"),
    [
        ("cpn", H36M_17, H36M_17),
        ("cpn", MULTIVIEW_17, H36M_17),  # by name, so another order is no other skeleton
        ("cpn", H36M_16, H36M_16),
        ("sh", SH_16, SH_16),  # the same names as h36m-16, told by their order
    ],
)
def test_the_skeleton_is_told_by_the_names_of_the_columns(
    prepared: Path, tmp_path: Path, name: str, order: Skeleton, skeleton: Skeleton
) -> None:
    path = write_csv(own_table(prepared, name, order).iloc[:26], tmp_path / "OWN.CSV")
    source, detected = open_detections("own", path)
    assert source.skeleton is skeleton
    expected = next(read_sequence_detections(prepared, name)).joints_2d
    stated = H36M_17 if name == "cpn" else SH_16
    np.testing.assert_array_equal(next(detected).joints_2d, stated.select(expected, skeleton.joints)[:26])


def test_actions_have_the_metadatas_or_videopose3ds_name(prepared: Path, tmp_path: Path) -> None:
    takes = []
    for action in ("Photo", "TakingPhoto", "WalkDog", "WalkingDog"):
        takes.append(one_sequence(prepared).assign(action=action, subaction=1 + action.startswith(("Ta", "Walking"))))
    found = arrays(write_csv(pd.concat(takes), tmp_path / "own.csv"))
    assert [(sequence.action, sequence.subaction) for sequence in found] == [
        (action, subaction) for action in ("TakingPhoto", "WalkingDog") for subaction in (1, 2)
    ]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_confidences_are_bundled_and_come_back(
    prepared: Path, tmp_path: Path, write: Callable[[pd.DataFrame, Path], Path]
) -> None:
    frame = own_table(prepared)
    told = np.random.default_rng(3).uniform(0, 1, (len(frame), 17)).astype(np.float32)
    frame = frame.assign(**{f"c_{joint}": told[:, place] for place, joint in enumerate(H36M_17.joints)})
    shuffled = frame.sample(frac=1, random_state=1)
    path = write(shuffled, tmp_path / ("own.csv" if write is write_csv else "own.parquet"))
    data = tmp_path / "data"
    bundle_detections(RawArchive.open(prepared / "raw"), data, {"own": path})
    found = np.concatenate([detected.confidences for detected in read_sequence_detections(data, "own")])
    np.testing.assert_allclose(found, told, rtol=1e-6)
    again = tmp_path / "again.parquet"  # our own table, taken in again
    again.write_bytes((data / "detections" / "own.parquet").read_bytes())
    bundle_detections(RawArchive.open(prepared / "raw"), data, {"again": again})
    assert (
        read_detections(data, "again").column("confidences").equals(read_detections(data, "own").column("confidences"))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c_Hip": 0.5}, "lacks the column c_RHip, .* expected confidences of all joints, or of none"),
        (
            {f"c_{joint}": -0.5 for joint in H36M_17.joints},
            "line 2: confidence of Hip is -0.5; expected a number from 0",
        ),
    ],
)
def test_confidences_that_are_none_are_refused(
    prepared: Path, tmp_path: Path, changes: dict[str, float], message: str
) -> None:
    path = write_csv(one_sequence(prepared).assign(**changes), tmp_path / "own.csv")
    with pytest.raises(H36MError, match=message):
        open_detections("own", path)


def test_columns_without_use_are_left_out_and_the_report_says_so(prepared: Path, tmp_path: Path) -> None:
    frame = own_table(prepared).assign(confidence=0.5, confidence_Hip="high")
    path = write_csv(frame, tmp_path / "own.csv")
    report = bundle_detections(RawArchive.open(prepared / "raw"), tmp_path / "data", {"own": path})["own"]
    assert report.lines()[0] == "own.csv: confidence, confidence_Hip: columns without use, left out"
    assert read_detections(tmp_path / "data", "own").schema.names == [*KEYS, "joints_2d"]


BAD_ROWS = {
    "subject": ("S2", "subject is 'S2'; expected one of S1, S5"),
    "action": ("Dancing", "action is 'Dancing'; expected one of Directions"),
    "camera": ("1", "camera is '1'; expected one of 54138969"),
    "subaction": (3, "subaction is '?3'?; expected 1 or 2"),
    "frame": (-1, "frame is '?-1'?; expected a number from 0"),
    "x_Hip": (np.nan, "x_Hip is ('nan'|nan|''|None); expected|x of Hip is nan; expected every joint"),
    "y_RWrist": (np.inf, "y of RWrist is inf; expected every joint of every frame"),
}


@pytest.mark.parametrize("column", BAD_ROWS)
@pytest.mark.parametrize(
    ("write", "place"), [(write_csv, r"own\.csv: line 5: "), (write_parquet, r"own\.parquet: row 3: ")]
)
def test_a_bad_value_is_named_with_its_row(
    prepared: Path, tmp_path: Path, column: str, write: Callable[[pd.DataFrame, Path], Path], place: str
) -> None:
    value, message = BAD_ROWS[column]
    frame = one_sequence(prepared)
    frame.loc[3, column] = value
    path = tmp_path / ("own.csv" if write is write_csv else "own.parquet")
    with pytest.raises(H36MError, match=f"{place}({message})"):
        open_detections("own", write(frame, path))


def test_words_in_place_of_numbers_are_named_with_their_line(prepared: Path, tmp_path: Path) -> None:
    lines = write_csv(one_sequence(prepared), tmp_path / "own.csv").read_text().splitlines()
    for column, word, message in (
        (4, "two", "frame is 'two'; expected a whole number"),
        (4, "2.5", "frame is '2.5'; expected a whole number"),
        (5, "left", "x_Hip is 'left'; expected a number"),
    ):
        values = lines[3].split(",")
        values[column] = word
        (tmp_path / "own.csv").write_text("\n".join([*lines[:3], ",".join(values), *lines[4:]]))
        with pytest.raises(H36MError, match=re.escape(f"line 4: {message}")):
            open_detections("own", tmp_path / "own.csv")


def test_a_line_of_another_length_is_named(prepared: Path, tmp_path: Path) -> None:
    path = write_csv(one_sequence(prepared), tmp_path / "own.csv")
    path.write_text(path.read_text() + "S1,Walking,1\n")
    with pytest.raises(H36MError, match=r"own\.csv: cannot be read as CSV.*Row #8: Expected 39 columns, got 3"):
        open_detections("own", path)


def test_a_frame_given_twice_is_refused_with_both_rows(prepared: Path, tmp_path: Path) -> None:
    frame = one_sequence(prepared)
    path = write_csv(pd.concat([frame.iloc[::-1], frame.iloc[[2]]]), tmp_path / "own.csv")
    with pytest.raises(H36MError, match=r"line 8: .*Walking.* frame 2 is already in line 5"):
        open_detections("own", path)


def test_a_gap_in_the_frames_is_refused(prepared: Path, tmp_path: Path) -> None:
    path = write_parquet(one_sequence(prepared).drop(3), tmp_path / "own.parquet")
    with pytest.raises(H36MError, match=r"row 3: .* frame 4, but no row has its frame 3; frames count from 0"):
        open_detections("own", path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="camera"), "lacks the column camera; it has subject"),
        (lambda frame: frame.drop(columns="y_LKnee"), "lacks the column y_LKnee; expected x_ and y_ of every joint"),
        (lambda frame: frame.drop(columns="x_Neck/Nose"), "lacks the column x_Neck/Nose"),
        (lambda frame: frame.rename(columns={"x_Hip": "x_Pelvis"}), "column x_Pelvis names no joint; joints are Hip"),
        (lambda frame: frame.assign(joints_2d=0), "has joints_2d and x_Hip; expected one kind"),
        (lambda frame: frame[KEYS].assign(joints_2d=0), "joints_2d is no pose column.*or give columns x_<joint>"),
        (lambda frame: frame.iloc[:0], "has columns but no rows"),
    ],
)
@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_columns_that_do_not_make_a_pose_are_refused(
    prepared: Path,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
    write: Callable[[pd.DataFrame, Path], Path],
) -> None:
    path = write(change(one_sequence(prepared)), tmp_path / ("own.csv" if write is write_csv else "own.parquet"))
    with pytest.raises(H36MError, match=message):
        open_detections("own", path)


def test_a_column_named_twice_is_refused(prepared: Path, tmp_path: Path) -> None:
    path = write_csv(one_sequence(prepared), tmp_path / "own.csv")
    path.write_text(path.read_text().replace("x_RHip", "x_Hip"))
    with pytest.raises(H36MError, match="has the column x_Hip more than once"):
        open_detections("own", path)


def test_pose_columns_with_holes_or_of_other_joints_are_refused(prepared: Path, tmp_path: Path) -> None:
    table = read_detections(prepared, "cpn").slice(0, 6)
    poses = pose_array(table, "joints_2d").copy()
    poses[4, 2, 1] = np.nan
    place = table.schema.get_field_index("joints_2d")
    field = table.schema.field(place)
    holes = table.set_column(place, field, pose_column(poses, field.type))
    pq.write_table(holes, tmp_path / "own.parquet")
    with pytest.raises(H36MError, match="row 4: y of RKnee is nan"):
        open_detections("own", tmp_path / "own.parquet")
    other = PoseField("joints_2d", MULTIVIEW_17, 2, "px", "image").arrow
    pq.write_table(table.set_column(place, other, pose_column(poses, other.type)), tmp_path / "own.parquet")
    with pytest.raises(H36MError, match="of multiview-17; expected x and y of h36m-17, h36m-16, sh-16"):
        open_detections("own", tmp_path / "own.parquet")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"PAR1 and no more", b"subject,action\n\xff,\n"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".zip"])
def test_files_that_are_not_what_their_name_says_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"own{suffix}").write_bytes(content)
    with pytest.raises(H36MError, match=rf"own\{suffix}: "):
        open_detections("own", tmp_path / f"own{suffix}")


def test_the_hourglass_inside_martinezs_zip_is_read(third_party_folder: Path) -> None:
    path = third_party_folder / "h36m.zip"
    found = arrays(path)
    assert len(found) == 16
    assert open_detections("sh", path)[0].skeleton is SH_16
    with zipfile.ZipFile(path) as archive:
        for sequence, joints_2d in found.items():
            stem = sequence.recording.canonical_name.replace(" ", "_")
            member = f"h36m/{sequence.subject}/StackedHourglass/{stem}.{sequence.camera}.h5"
            with h5py.File(io.BytesIO(archive.read(member))) as file:
                np.testing.assert_array_equal(joints_2d, np.asarray(file["poses"], np.float32))


def test_a_cut_or_damaged_zip_is_named(tmp_path: Path, third_party_folder: Path) -> None:
    whole = (third_party_folder / "h36m.zip").read_bytes()
    path = tmp_path / "h36m.zip"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(H36MError, match=r"h36m\.zip: truncated or no zip archive"):
        open_detections("sh", path)
    with zipfile.ZipFile(third_party_folder / "h36m.zip") as archive:
        member = archive.getinfo("h36m/S9/StackedHourglass/Walking.60457274.h5")
    middle = member.header_offset + member.compress_size // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(H36MError, match=r"h36m\.zip: h36m/S9/StackedHourglass/Walking\.60457274\.h5 is damaged"):
        list(open_detections("sh", path)[1])


def test_an_archive_with_two_sets_of_detections_is_refused(tmp_path: Path, third_party_folder: Path) -> None:
    path = Path(shutil.copy(third_party_folder / "h36m.zip", tmp_path / "h36m.zip"))
    path.chmod(0o644)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"h36m/S1/StackedHourglassFineTuned240/Walking.{CAMERA_IDS[0]}.h5", b"")
    with pytest.raises(H36MError, match="holds StackedHourglass and StackedHourglassFineTuned240; expected one"):
        open_detections("sh", path)


def test_a_zip_without_detections_says_what_it_lacks(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "h36m.zip", "w") as archive:
        archive.writestr("h36m/cameras.h5", b"")
    with pytest.raises(H36MError, match=r"no S1/StackedHourglass\*/<sequence>"):
        open_detections("sh", tmp_path / "h36m.zip")


def test_parquet_from_other_programs_is_read_whatever_their_types(prepared: Path, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(one_sequence(prepared), preserve_index=False)
    for name, type_ in (("subject", pa.large_string()), ("camera", pa.int64()), ("frame", pa.float64())):
        column = table.column(name).cast(type_)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    table = table.set_column(table.schema.get_field_index("x_Hip"), "x_Hip", table.column("x_Hip").cast(pa.float64()))
    pq.write_table(table, tmp_path / "own.parquet")
    (joints_2d,) = arrays(tmp_path / "own.parquet").values()
    np.testing.assert_array_equal(joints_2d, next(read_sequence_detections(prepared, "cpn")).joints_2d[:6])


def every_5th(prepared: Path) -> pd.DataFrame:
    frame = own_table(prepared)
    return frame[frame["frame"] % 5 == 0]


@pytest.mark.parametrize(("write", "suffix"), [(write_csv, ".csv"), (write_parquet, ".parquet")])
def test_every_5th_frame_is_bundled_under_its_own_numbers_and_told(
    prepared: Path, tmp_path: Path, write: Callable[[pd.DataFrame, Path], Path], suffix: str
) -> None:
    path = write(every_5th(prepared).sample(frac=1, random_state=0), tmp_path / f"own{suffix}")
    output = done("detections", prepared / "raw", "--out", tmp_path / "data", "--add", f"own={path}")
    whole, sparse = read_detections(prepared, "cpn"), read_detections(tmp_path / "data", "own")
    rows = np.flatnonzero(whole.column("frame").to_numpy() % 5 == 0)
    assert sparse.select([*KEYS, "joints_2d"]).equals(whole.take(rows).select([*KEYS, "joints_2d"]))
    assert f"own{suffix}: one frame in 5, those that 5 divides" in output
    assert f"16 sequences, {len(rows)} rows in" in output
    facts = json.loads((tmp_path / "data" / "detections" / "own.json").read_text())
    assert facts["step"] == 5
    # a video goes on after the poses, by a frame or more
    assert facts["lengths"] and all(two["detections"] > two["poses"] for two in facts["lengths"].values())
    assert "S1/Walking 1.54138969" not in facts["lengths"]  # 26 poses, 27 detections: six at this step, both


def test_labels_at_the_step_of_the_detections_find_theirs_and_others_are_told(prepared: Path, tmp_path: Path) -> None:
    path = write_csv(every_5th(prepared), tmp_path / "own.csv")
    bundle_detections(RawArchive.open(prepared / "raw"), tmp_path, {"own": path})
    sparse, labels = read_detections(tmp_path, "own"), read_labels(prepared, "val")
    at_step = labels.take(np.flatnonzero(labels.column("frame").to_numpy() % 5 == 0))
    np.testing.assert_array_equal(
        match_detections(at_step, sparse, "own", H36M_17.joints),
        match_detections(at_step, read_detections(prepared, "cpn"), "cpn", H36M_17.joints),
    )
    with pytest.raises(H36MError, match=r"own lack 508 of 640 frames(.|\n)*they hold one frame in 5: score them under"):
        match_detections(labels, sparse, "own", H36M_17.joints)


@pytest.mark.parametrize("dropped", [5, 3])
def test_a_gap_among_every_5th_frame_is_refused(prepared: Path, tmp_path: Path, dropped: int) -> None:
    frame = every_5th(prepared).iloc[:6]
    path = write_csv(
        frame.drop(frame.index[1]) if dropped == 5 else frame.replace({"frame": {15: 13}}), tmp_path / "o.csv"
    )
    with pytest.raises(H36MError, match=r"no row has its frame \d+; frames count from 0 without gaps.*every n-th"):
        open_detections("own", path)


@pytest.mark.parametrize("words", [("--format", "poseformer", "--without-images", "--detections", "own"), ("--npz",)])
def test_what_has_no_frame_numbers_refuses_every_5th_frame(
    prepared: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = write_csv(every_5th(prepared), tmp_path / "own.csv")
    done("detections", prepared / "raw", "--out", tmp_path, "--add", f"own={path}")
    command = ("detections", "--npz", "own") if words == ("--npz",) else ("labels", *words)
    result = h36m(command[0], prepared / "raw", "--out", tmp_path, *command[1:])
    assert result.exit_code == 1
    assert "S1/Walking 1.54138969 has one frame in 5; what has no frame numbers of its own needs" in result.stderr


@pytest.mark.slow
def test_frames_and_labels_of_every_5th_frame_do_not_hinder_detections_and_bench(
    unpacked: Path, third_party_folder: Path, tmp_path: Path
) -> None:
    cpn = third_party_folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    done("extract", unpacked, "--out", tmp_path, "--every", 5, "--jobs", 1)
    done("detections", unpacked, "--out", tmp_path, "--cpn", cpn)
    done("labels", unpacked, "--out", tmp_path, "--format", "parquet", "--format", "toolbox", "--jobs", 1)
    assert set(read_format("toolbox", tmp_path).column("frame").to_numpy() % 5) == {0}
    bench = ("bench", "--model", "semgcn", "--untrained", "--data", tmp_path, "--runs", tmp_path / "runs")
    done(*bench, "--detections", "cpn")
    (report,) = (json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/report.json"))
    assert report["frames_scored"] == 640
    path = write_csv(every_5th(tmp_path), tmp_path / "own.csv")
    done("detections", unpacked, "--out", tmp_path, "--add", f"own={path}")
    message = refused(*bench, "--detections", "own")
    assert "they hold one frame in 5: score them under a protocol of that frame step" in message
