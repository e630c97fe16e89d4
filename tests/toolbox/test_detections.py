from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from h36m_toolbox import RawArchive, read_labels
from h36m_toolbox.detections import (
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
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.safe_pickle import read_object_npz, read_plain_pickle
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, SH_16

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
