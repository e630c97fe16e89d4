from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_data import WritesAFile, digests

from h36m_toolbox import RawArchive
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.videopose3d import read_positions_3d, write_videopose3d
from h36m_toolbox.raw.archive import Kind
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.videopose3d import read_positions_2d


@pytest.fixture(scope="module")
def written(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("videopose3d")
    reports = write_videopose3d(RawArchive.open(unpacked), data)
    assert {name: (report.sequences, report.rows) for name, report in reports.items()} == {
        "3d": (4, 220),
        "2d": (16, 880),
    }
    return data / "labels" / "videopose3d"


def loaded(path: Path) -> dict[str, Any]:
    """As VideoPose3D loads its files."""
    with np.load(path, allow_pickle=True) as file:
        assert all(file[name].shape == () for name in file)
        return {name: file[name].item() for name in file}


def world_files_only(source: Path, target: Path) -> Path:
    for path in source.rglob("D3_Positions/*.cdf"):
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        (target / path.relative_to(source)).symlink_to(path)
    return target


def test_positions_3d_equal_the_official_file(written: Path, golden_folder: Path) -> None:
    official, ours = (loaded(folder / "data_3d_h36m.npz") for folder in (golden_folder, written))
    assert list(ours) == list(official) == ["positions_3d"]
    assert list(ours["positions_3d"]) == list(official["positions_3d"])
    for subject, actions in official["positions_3d"].items():
        assert sorted(ours["positions_3d"][subject]) == sorted(actions)  # there the order of the file system
        for name, poses in actions.items():
            mine = ours["positions_3d"][subject][name]
            assert (mine.dtype, mine.flags.c_contiguous) == (poses.dtype, True)
            np.testing.assert_array_equal(mine, poses, err_msg=f"{subject} {name}")


def test_positions_2d_equal_the_official_file(written: Path, golden_folder: Path) -> None:
    official, ours = (loaded(folder / "data_2d_h36m_gt.npz") for folder in (golden_folder, written))
    assert list(ours) == list(official) == ["positions_2d", "metadata"]
    for subject, actions in official["positions_2d"].items():
        assert sorted(ours["positions_2d"][subject]) == sorted(actions)
        for name, views in actions.items():
            mine = ours["positions_2d"][subject][name]
            assert type(mine) is type(views) is list
            for view, golden in zip(mine, views, strict=True):
                assert view.dtype == golden.dtype
                np.testing.assert_allclose(view, golden, rtol=0, atol=0.002, err_msg=f"{subject} {name}")


def test_the_metadata_equal_the_official_ones_in_keys_values_and_types(written: Path, golden_folder: Path) -> None:
    official, ours = (loaded(folder / "data_2d_h36m_gt.npz")["metadata"] for folder in (golden_folder, written))
    assert list(ours) == list(official) == ["num_joints", "keypoints_symmetry"]
    assert ours == official
    for mine, theirs in zip(ours["keypoints_symmetry"], official["keypoints_symmetry"], strict=True):
        assert [type(joint) for joint in mine] == [type(joint) for joint in theirs]


def test_subjects_and_actions_stand_in_the_data_sets_loop_order(synthetic_raw: Path, tmp_path: Path) -> None:
    report = write_videopose3d(RawArchive.open(synthetic_raw), tmp_path)["3d"]
    positions = loaded(report.path)["positions_3d"]
    assert list(positions) == list(SUBJECTS)
    assert positions["S5"] == {}
    assert list(positions["S1"]) == ["Directions 1", "Directions", "Eating 2", "Eating", "Walking 1", "Walking"]


def test_s11_directions_is_dropped_and_told(synthetic_raw: Path, tmp_path: Path) -> None:
    reports = write_videopose3d(RawArchive.open(synthetic_raw), tmp_path)
    for report in reports.values():
        assert "S11/Directions: left out, as VideoPose3D leaves it out" in report.differences()
        assert "S11: 6 of 30 recordings; VideoPose3D's own script demands all" in report.differences()
    found = read_positions_3d(reports["3d"].path)
    assert Recording("S11", "Directions", 1) in found
    assert Recording("S11", "Directions", 2) not in found
    assert set(read_positions_2d(reports["2d"].path).by_recording) == set(found)


def test_world_poses_are_enough(written: Path, unpacked: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(world_files_only(unpacked, tmp_path / "raw"))
    assert {file.kind for file in archive.files} == {Kind.WORLD}
    write_videopose3d(archive, tmp_path)
    assert digests(tmp_path / "labels" / "videopose3d") == digests(written)


def test_several_processes_write_the_same_bytes(written: Path, unpacked: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    archive = RawArchive.open(unpacked)
    write_videopose3d(archive, tmp_path, jobs=2, progress=lambda view: seen.append(str(view.recording)))
    assert digests(tmp_path / "labels" / "videopose3d") == digests(written)
    assert len(seen) == 8  # each recording for each file


def test_the_files_name_only_what_numpy_1_can_import(written: Path) -> None:
    for name in ("data_3d_h36m.npz", "data_2d_h36m_gt.npz"):
        with zipfile.ZipFile(written / name) as file:
            assert all(member.compress_type == zipfile.ZIP_DEFLATED for member in file.infolist())
            for member in file.namelist():
                assert b"numpy._core" not in file.read(member)
                assert b"cnumpy.core.multiarray\n_reconstruct\n" in file.read(member)


def test_world_poses_come_back_in_millimetres(written: Path, unpacked: Path) -> None:
    archive = RawArchive.open(unpacked)
    found = read_positions_3d(written / "data_3d_h36m.npz")
    assert list(found) == [Recording(subject, "Walking", subaction) for subject in ("S1", "S9") for subaction in (1, 2)]
    for recording, poses in found.items():
        world = archive.read_poses(recording.view(CAMERA_IDS[0])).world
        np.testing.assert_array_max_ulp(poses, world, maxulp=1)  # a division and a multiplication by 1000


def test_the_2d_file_is_read_back_as_17_joints(written: Path) -> None:
    found = read_positions_2d(written / "data_2d_h36m_gt.npz")
    assert found.skeleton == H36M_17
    assert {name: view.shape for name, view in found.by_recording[Recording("S9", "Walking", 1)].items()} == (
        dict.fromkeys(CAMERA_IDS, (131, 17, 2))
    )


def test_the_official_3d_file_is_read(golden_folder: Path) -> None:
    assert len(read_positions_3d(golden_folder / "data_3d_h36m.npz")) == 4


def test_a_malicious_file_is_refused_and_not_run(tmp_path: Path) -> None:
    harmful = tmp_path / "harmful.npz"
    np.savez_compressed(harmful, positions_3d=np.array({"S1": {"Walking": WritesAFile(tmp_path / "ran")}}))
    with pytest.raises(H36MError, match=r"harmful\.npz: refused to unpickle .*open"):
        read_positions_3d(harmful)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"positions_2d": np.array({"S1": {}})}, "has positions_2d but no positions_3d; expected a VideoPose3D file"),
        ({"positions_3d": np.array({"S1": [1, 2]})}, "'S1'.* is no dict of actions"),
        (
            {"positions_3d": np.array({"S1": {"Walking": np.zeros((5, 17, 3))}})},
            r"S1 Walking is float64 \(5, 17, 3\); expected .*\(frames, 32, 3\)",
        ),
        ({"positions_3d": np.array({"S1": {"Walking": "far away"}})}, r"S1 Walking is <U8 \(\)"),
    ],
)
def test_a_foreign_file_is_refused_with_what_it_holds(
    tmp_path: Path, content: dict[str, np.ndarray], complaint: str
) -> None:
    np.savez(tmp_path / "foreign.npz", **content)
    with pytest.raises(H36MError, match=rf"foreign\.npz.*{complaint}"):
        read_positions_3d(tmp_path / "foreign.npz")


def test_recordings_that_the_data_set_lacks_are_not_read(tmp_path: Path) -> None:
    pose = np.zeros((2, 32, 3), np.float32)
    np.savez(tmp_path / "more.npz", positions_3d=np.array({"S1": {"Photo": pose, "Juggling": pose}, "S77": {}}))
    assert list(read_positions_3d(tmp_path / "more.npz")) == [Recording("S1", "TakingPhoto", 2)]


def test_a_damaged_world_file_is_left_out_and_told(unpacked: Path, tmp_path: Path) -> None:
    raw = world_files_only(unpacked, tmp_path / "raw")
    cut = raw / "S9" / "MyPoseFeatures" / "D3_Positions" / "Walking.cdf"
    whole = cut.read_bytes()
    cut.unlink()
    cut.write_bytes(whole[:500])
    reports = write_videopose3d(RawArchive.open(raw), tmp_path)
    for report in reports.values():
        assert len(report.damaged) == 1
        assert str(cut) in report.damaged[0]
    assert list(loaded(reports["3d"].path)["positions_3d"]["S9"]) == ["Walking 1"]
    assert list(loaded(reports["2d"].path)["positions_2d"]["S9"]) == ["Walking 1"]


def test_an_archive_without_world_poses_is_told_what_to_get(unpacked: Path, tmp_path: Path) -> None:
    pixels = tmp_path / "raw" / "S1" / "MyPoseFeatures" / "D2_Positions"
    pixels.mkdir(parents=True)
    for path in (unpacked / "S1" / "MyPoseFeatures" / "D2_Positions").iterdir():
        (pixels / path.name).symlink_to(path)
    archive = RawArchive.open(tmp_path / "raw")
    with pytest.raises(H36MError, match=r"no world poses; expected S1/MyPoseFeatures/D3_Positions.*_S1\.tgz"):
        write_videopose3d(archive, tmp_path)
    assert not (tmp_path / "labels").exists()


def test_the_pickles_are_protocol_3_as_numpy_writes_them(written: Path) -> None:
    with zipfile.ZipFile(written / "data_3d_h36m.npz") as file, file.open("positions_3d.npy") as member:
        assert np.lib.format.read_magic(member) == (1, 0)
        assert np.lib.format.read_array_header_1_0(member) == ((), False, np.dtype(object))
        stream = member.read()
    assert stream.startswith(pickle.PROTO + b"\x03")
    assert stream.endswith(pickle.STOP)
