from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from h36m_toolbox import RawArchive, read_labels
from h36m_toolbox.cli import main
from h36m_toolbox.detections.bundles import (
    DetectedSequence,
    DetectionSource,
    bundle_detections,
    match_detections,
    open_detections,
    read_detections,
    read_sequence_detections,
    write_detections,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.positions_npz import write_positions_2d
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, SH_16
from h36m_toolbox.storage.safe_pickle import read_object_npz, read_plain_pickle
from h36m_toolbox.videopose3d import read_positions_2d

VIEW = Sequence("S1", "Walking", 1, "54138969")
SYMMETRY = {"h36m-17": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]], "sh-16": [[3, 4, 5, 13, 14, 15], [0, 1, 2]]}


def npz(path: Path, positions: Any, left_right: Any = None) -> Path:
    arrays: dict[str, Any] = {"positions_2d": np.array(positions, dtype=object)}
    if left_right is not None:
        arrays["metadata"] = np.array({"num_joints": 0, "keypoints_symmetry": left_right}, dtype=object)
    np.savez_compressed(path, **arrays)
    return path


def four_views(frames: int, joints: int) -> list[np.ndarray]:
    return [np.full((frames, joints, 2), camera, np.float32) for camera in range(4)]


def test_cpn_keeps_the_arrays_of_its_file(prepared: Path, third_party_folder: Path) -> None:
    original = np.load(third_party_folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz", allow_pickle=True)
    positions = original["positions_2d"].item()
    for item in read_sequence_detections(prepared, "cpn"):
        recording = item.sequence.recording
        expected = positions[recording.subject][recording.canonical_name][item.sequence.camera_index]
        np.testing.assert_array_equal(item.joints_2d, expected)


def test_hourglass_equals_videopose3ds_conversion(prepared: Path, golden_folder: Path) -> None:
    golden = np.load(golden_folder / "data_2d_h36m_sh_ft_h36m_flat.npz")
    found = {item.sequence: item.joints_2d for item in read_sequence_detections(prepared, "sh")}
    assert len(found) == len(golden.files)
    for sequence, ours in found.items():
        recording = sequence.recording
        key = f"{recording.subject}/{recording.canonical_name}/{sequence.camera_index}"
        np.testing.assert_array_equal(ours, golden[key])


def test_a_bundle_tells_its_file_hash_and_joints(prepared: Path, third_party_folder: Path) -> None:
    import hashlib

    facts = json.loads(read_detections(prepared, "cpn").schema.metadata[b"h36m"])
    content = (third_party_folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz").read_bytes()
    assert facts["file"] == "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["skeleton"] == "h36m-17"


@pytest.mark.parametrize(
    ("joints", "left_right", "skeleton"),
    [
        (17, SYMMETRY["h36m-17"], H36M_17),
        (16, SYMMETRY["sh-16"], SH_16),
        (16, [[4, 5, 6, 10, 11, 12], [1, 2, 3, 13, 14, 15]], H36M_16),
        (17, None, H36M_17),
    ],
)
def test_the_joint_order_is_told_by_the_mirror_pairs(
    tmp_path: Path, joints: int, left_right: Any, skeleton: Any
) -> None:
    path = npz(tmp_path / "d.npz", {"S1": {"Walking 1": four_views(3, joints)}}, left_right)
    source, _ = open_detections("own", path)
    assert source.skeleton is skeleton


def test_an_unknown_joint_order_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "d.npz", {"S1": {"Walking 1": four_views(3, 13)}})
    with pytest.raises(H36MError, match=r"poses of \[13\] joints .* fit no known order"):
        open_detections("own", path)


def test_unlabelled_subjects_and_foreign_names_are_left_out(tmp_path: Path) -> None:
    positions = {
        "S1": {"Walking 1": four_views(3, 17), "Dancing": four_views(3, 17)},
        "S2": {"Walking": four_views(3, 17)},
    }
    _, detected = open_detections("own", npz(tmp_path / "d.npz", positions))
    assert {item.sequence.recording for item in detected} == {VIEW.recording}


def test_detections_of_another_length_are_reported(prepared: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(prepared / "raw")
    positions = {"S1": {"Walking 1": four_views(20, 17), "Walking": four_views(34, 17)}}
    report = bundle_detections(archive, tmp_path, {"cpn": npz(tmp_path / "d.npz", positions)})["cpn"]
    assert report.lengths["S1/Walking 1.54138969"] == {"poses": 26, "detections": 20}
    assert "S1/Walking 1.54138969: 20 detections for 26 poses" in report.lines()
    assert "S9/Walking.54138969: no detections" in report.lines()
    assert json.loads((tmp_path / "detections" / "cpn.json").read_text())["missing"]


def test_missing_detections_are_named_before_anything_runs(prepared: Path, tmp_path: Path) -> None:
    positions = {"S1": {"Walking 1": four_views(20, 17), "Walking": four_views(34, 17)}}
    bundle_detections(RawArchive.open(prepared / "raw"), tmp_path, {"cpn": npz(tmp_path / "d.npz", positions)})
    labels = read_labels(prepared, "train")
    with pytest.raises(H36MError, match=r"lack 22 of 238 frames.*\n  S1/Walking 1\.54138969: 6 of 26 frames"):
        match_detections(labels, read_detections(tmp_path, "cpn"), "cpn", H36M_17.joints)


def test_matching_follows_the_labels_whatever_the_order(prepared: Path) -> None:
    labels, detections = read_labels(prepared, "train"), read_detections(prepared, "gt")
    matched = match_detections(labels, detections, "gt", H36M_16.joints)
    np.testing.assert_allclose(matched, H36M_17.select(pose_array(labels, "joints_2d"), H36M_16.joints), atol=0.002)
    rng = np.random.default_rng(0)
    order, rows = rng.permutation(len(detections)), rng.permutation(len(labels))
    shuffled = match_detections(labels.take(rows), detections.take(order), "gt", H36M_16.joints)
    np.testing.assert_array_equal(shuffled, matched[rows])


def test_a_joint_that_the_detections_lack_is_named(prepared: Path) -> None:
    labels, detections = read_labels(prepared, "train"), read_detections(prepared, "sh")
    with pytest.raises(H36MError, match="sh-16 has no joint Neck/Nose"):
        match_detections(labels, detections, "sh", H36M_17.joints)


def test_absent_detections_list_what_is_there(prepared: Path) -> None:
    with pytest.raises(H36MError, match="has cpn, gt, sh: bundle them"):
        read_detections(prepared, "hrnet")


def test_wrong_joint_counts_are_refused_without_a_file(tmp_path: Path) -> None:
    source = DetectionSource("own", "own.npz", "", H36M_17)
    with pytest.raises(H36MError, match="has 16 joints; h36m-17 has 17"):
        write_detections(tmp_path, source, [DetectedSequence(VIEW, np.zeros((3, 16, 2), np.float32))], {})
    assert not list((tmp_path / "detections").iterdir())


class Payload:
    """Runs a command when unpickled by an unguarded reader."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sentinel}",)


def test_a_malicious_npz_is_refused_and_not_executed(tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    path = npz(tmp_path / "d.npz", {"S1": {"Walking 1": Payload(sentinel)}})
    with pytest.raises(H36MError, match=r"refused to unpickle \(it asks for (posix|nt)\.system"):
        open_detections("cpn", path)
    assert not sentinel.exists()


def test_a_malicious_label_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    path = tmp_path / "h36m_train.pkl"
    path.write_bytes(pickle.dumps([{"image": "x", "camera": Payload(sentinel)}]))
    with pytest.raises(H36MError, match="refused to unpickle"):
        read_plain_pickle(path)
    assert not sentinel.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_honest_pickles_of_any_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    value = [{"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": (np.float64(2.5), 3, "x", None, True)}]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
    (read,) = read_plain_pickle(tmp_path / "x.pkl")
    np.testing.assert_array_equal(read["a"], value[0]["a"])
    assert read["b"] == value[0]["b"]


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", b"PK\x03\x04 cut"])
def test_files_that_are_no_detections_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(H36MError, match=r"d\.npz"):
        open_detections("cpn", tmp_path / "d.npz")
    (tmp_path / "d.pkl").write_bytes(content)
    with pytest.raises(H36MError, match=r"d\.pkl"):
        read_plain_pickle(tmp_path / "d.pkl")


def test_an_npz_without_positions_says_what_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", poses=np.zeros(3))
    assert list(read_object_npz(tmp_path / "d.npz")) == ["poses"]
    with pytest.raises(H36MError, match="has poses but no positions_2d"):
        open_detections("cpn", tmp_path / "d.npz")


def test_a_damaged_hourglass_tar_is_named(tmp_path: Path, third_party_folder: Path) -> None:
    whole = (third_party_folder / "stacked_hourglass_fined_tuned_240.tar.gz").read_bytes()
    (tmp_path / "sh.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(H36MError, match=r"sh\.tar\.gz: truncated or no tar archive"):
        open_detections("sh", tmp_path / "sh.tar.gz")


def test_an_hourglass_file_without_poses_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "sh.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(f"S1/StackedHourglass/Walking_1.{CAMERA_IDS[0]}.h5")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"junk"))
    with pytest.raises(H36MError, match=r"Walking_1\.54138969\.h5: no HDF5 file"):
        open_detections("sh", tmp_path / "sh.tar.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="no such file; expected a data_2d_h36m"):
        open_detections("cpn", tmp_path / "nowhere.npz")


def test_a_damaged_bundle_is_named(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "detections", tmp_path / "detections")
    path = tmp_path / "detections" / "gt.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(H36MError, match=r"gt\.parquet: cannot be read as Parquet"):
        read_detections(tmp_path, "gt")


def test_rows_are_those_of_the_files(prepared: Path) -> None:
    table = read_detections(prepared, "cpn")
    assert isinstance(table, pa.Table)
    assert len(table) == 994


def detections_command(prepared: Path, data: Path, *words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in ("detections", prepared / "raw", "--out", data, *words)])


@pytest.fixture(scope="module")
def exported(prepared: Path, tmp_path_factory: pytest.TempPathFactory, third_party_folder: Path) -> Path:
    """DATA made by the command line: detections of every source, and all of them as VideoPose3D's npz."""
    data = tmp_path_factory.mktemp("exported")
    cpn = third_party_folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    sh = third_party_folder / "stacked_hourglass_fined_tuned_240.tar.gz"
    own = prepared / "detections" / "cpn.parquet"
    files = ("--cpn", cpn, "--sh", sh, "--add", f"sh_pt={third_party_folder / 'h36m.zip'}", "--add", f"own={own}")
    names = ("gt", "cpn", "sh", "sh_pt", "own")
    result = detections_command(prepared, data, *files, *(word for name in names for word in ("--npz", name)))
    assert result.exit_code == 0, result.output
    for name in names:
        assert f"16 sequences in {data / 'detections' / f'data_2d_h36m_{name}.npz'}" in result.output
    return data / "detections"


@pytest.mark.parametrize("name", ["gt", "cpn", "sh", "sh_pt", "own"])
def test_exported_npz_reads_back_as_the_same_arrays(exported: Path, name: str) -> None:
    positions = read_positions_2d(exported / f"data_2d_h36m_{name}.npz")
    count = 0
    for item in read_sequence_detections(exported.parent, name):
        found = positions.by_recording[item.sequence.recording][item.sequence.camera]
        np.testing.assert_array_equal(found, item.joints_2d)
        count += 1
    assert sum(map(len, positions.by_recording.values())) == count == 16
    source, detected = open_detections(name, exported / f"data_2d_h36m_{name}.npz")
    assert source.skeleton is (SH_16 if name.startswith("sh") else H36M_17)
    assert sum(len(item.joints_2d) for item in detected) == len(read_detections(exported.parent, name))


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("gt", "golden/data_2d_h36m_gt.npz"),
        ("cpn", "third_party/data_2d_h36m_cpn_ft_h36m_dbb.npz"),
        ("sh", "golden/data_2d_h36m_sh_ft_h36m_flat.npz"),
    ],
)
def test_exported_npz_equals_the_official_one(exported: Path, golden_folder: Path, name: str, original: str) -> None:
    ours = np.load(exported / f"data_2d_h36m_{name}.npz", allow_pickle=True)
    theirs = np.load(golden_folder.parent / original, allow_pickle=True)
    positions = ours["positions_2d"].item()
    flat = {
        f"{subject}/{stem}/{camera}": view
        for subject, recordings in positions.items()
        for stem, views in recordings.items()
        for camera, view in enumerate(views)
    }
    assert len(flat) == 16
    for key, view in flat.items():
        subject, stem, camera = key.split("/")
        expected = theirs[key] if name == "sh" else theirs["positions_2d"].item()[subject][stem][int(camera)]
        assert view.dtype == expected.dtype
        if name == "gt":
            np.testing.assert_allclose(view, expected, rtol=0, atol=0.002)
        else:
            np.testing.assert_array_equal(view, expected)
    official = {"num_joints": 16, "keypoints_symmetry": [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]]}
    assert ours["metadata"].item() == (official if name == "sh" else theirs["metadata"].item())


def test_exported_npz_names_only_what_numpy_1_can_import(exported: Path) -> None:
    for path in exported.glob("*.npz"):
        with zipfile.ZipFile(path) as file:
            for member in file.namelist():
                assert b"numpy._core" not in file.read(member)


def test_views_without_detections_are_none_in_the_npz(tmp_path: Path) -> None:
    views = four_views(3, 17)
    source, detected = open_detections(
        "own", npz(tmp_path / "d.npz", {"S1": {"Walking 1": [views[0], None, views[2]]}})
    )
    write_detections(tmp_path, source, detected, {})
    assert write_positions_2d(tmp_path, "own", tmp_path / "e.npz") == 2
    written = read_object_npz(tmp_path / "e.npz")["positions_2d"]["S1"]["Walking 1"]
    assert [view is None for view in written] == [False, True, False, True]


def test_exporting_what_is_not_bundled_leaves_no_file(prepared: Path, tmp_path: Path) -> None:
    result = detections_command(prepared, tmp_path, "--npz", "hrnet")
    assert result.exit_code == 1
    assert "no such detections" in result.output
    assert "--add hrnet=FILE" in result.output
    assert not list((tmp_path / "detections").glob("*.npz"))


def test_a_damaged_bundle_is_not_exported(exported: Path, tmp_path: Path) -> None:
    content = (exported / "cpn.parquet").read_bytes()
    (tmp_path / "detections").mkdir()
    (tmp_path / "detections" / "cpn.parquet").write_bytes(content[:1000])
    with pytest.raises(H36MError, match=r"cpn\.parquet: cannot be read as Parquet"):
        write_positions_2d(tmp_path, "cpn", tmp_path / "e.npz")
    assert not (tmp_path / "e.npz").exists()


def test_a_bundle_whose_row_groups_are_not_sequences_is_refused(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "detections").mkdir()
    pq.write_table(read_detections(prepared, "cpn"), tmp_path / "detections" / "own.parquet")
    with pytest.raises(H36MError, match="is not that sequence alone, frame by frame from 0; bundle the file with"):
        write_positions_2d(tmp_path, "own", tmp_path / "e.npz")
    assert not (tmp_path / "e.npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--add", "hrnet"), "'hrnet' is not NAME=FILE"),
        (("--add", "=x.csv"), "'=x.csv' is not NAME=FILE"),
        (("--add", "gt=x.csv"), "there is a gt already"),
        (("--add", "a=x.csv", "--add", "a=y.csv"), "there is a a already"),
        (("--cpn", "x.npz", "--add", "cpn=x.csv"), "there is a cpn already"),
    ],
)
def test_names_given_wrongly_or_twice_are_bad_usage(
    prepared: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = detections_command(prepared, tmp_path, *words)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "detections").exists()
