from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic_data import done, refused

from h36m_toolbox import RawArchive
from h36m_toolbox.errors import H36MError
from h36m_toolbox.poses import pose_file_frames, read_pose_file
from h36m_toolbox.raw.archive import Kind
from h36m_toolbox.raw.world_h5 import read_world_h5
from h36m_toolbox.sequences import Recording
from h36m_toolbox.storage.safe_pickle import read_object_npz

WALKING = Recording("S1", "Walking", 1).views[0]


@pytest.fixture(scope="module")
def martinez(third_party_folder: Path) -> Path:
    return third_party_folder / "h36m.zip"


@pytest.fixture(scope="module")
def layouts(martinez: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The zip itself, a folder that holds it, and it unpacked."""
    holding, unpacked = (tmp_path_factory.mktemp("zip") / name for name in ("holding", "unpacked"))
    holding.mkdir()
    shutil.copyfile(martinez, holding / "h36m.zip")
    with zipfile.ZipFile(martinez) as archive:
        archive.extractall(unpacked)
    return {"the zip": martinez, "a folder that holds it": holding, "unpacked": unpacked}


@pytest.mark.parametrize("layout", ["the zip", "a folder that holds it", "unpacked"])
def test_videopose3d_files_from_martinezs_zip_equal_the_official_ones(
    layouts: dict[str, Path], golden_folder: Path, tmp_path: Path, layout: str
) -> None:
    done("labels", layouts[layout], "--out", tmp_path, "--format", "videopose3d", "--jobs", 1)
    # the official projection is in another library's float32, as for the CDF files
    for name, key, near in (("data_3d_h36m.npz", "positions_3d", 0), ("data_2d_h36m_gt.npz", "positions_2d", 5e-4)):
        ours = read_object_npz(tmp_path / "labels" / "videopose3d" / name)[key]
        official = read_object_npz(golden_folder / name)[key]
        for subject in ("S1", "S9"):
            assert set(ours[subject]) == set(official[subject]) == {"Walking", "Walking 1"}
            for action, arrays in official[subject].items():
                np.testing.assert_allclose(ours[subject][action], arrays, rtol=0, atol=near)


def test_the_zip_holds_the_poses_of_the_cdf_files(martinez: Path, unpacked: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(martinez).unpacked([Kind.WORLD], tmp_path)
    original = RawArchive.open(unpacked)
    for view in (Recording(subject, "Walking", take).views[0] for subject in ("S1", "S9") for take in (1, 2)):
        poses = read_pose_file(original.path(view, Kind.WORLD), 3)
        np.testing.assert_array_equal(read_pose_file(archive.path(view, Kind.WORLD), 3), poses)
        assert pose_file_frames(archive.path(view, Kind.WORLD), 3) == len(poses)


def test_only_the_poses_are_unpacked_and_only_once(martinez: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(martinez)
    counts = []
    for _ in range(2):
        archive.unpacked(
            [Kind.WORLD], tmp_path, progress=lambda _, result: counts.append((result.written, result.kept))
        )
    assert counts == [(4, 0), (0, 4)]
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.h5"))
    assert names == [f"{s}/MyPoses/3D_positions/{stem}.h5" for s in ("S1", "S9") for stem in ("Walking 1", "Walking")]


def test_the_original_goes_before_its_copy(unpacked: Path, layouts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(layouts["unpacked"])
    shutil.copytree(layouts["unpacked"], tmp_path / "b")
    shutil.copytree(unpacked / "S1" / "MyPoseFeatures", tmp_path / "c" / "S1" / "MyPoseFeatures")
    assert RawArchive.open(tmp_path).path(WALKING, Kind.WORLD).suffix == ".cdf"


def test_what_an_original_archive_holds_is_not_unpacked_from_the_zip_too(
    martinez: Path, archives_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for path in (martinez, *(archives_folder / f"Poses_D3_Positions_{subject}.tgz" for subject in ("S1", "S9"))):
        shutil.copyfile(path, tmp_path / "in" / path.name)
    archive = RawArchive.open(tmp_path / "in").unpacked([Kind.WORLD], tmp_path / "raw")
    assert {path.suffix for path in archive.files.values()} == {".cdf"}
    assert not list((tmp_path / "raw").rglob("*.h5"))
    (tmp_path / "in" / "Poses_D3_Positions_S9.tgz").unlink()
    archive = RawArchive.open(tmp_path / "in").unpacked([Kind.WORLD], tmp_path / "raw2")
    assert archive.path(WALKING, Kind.WORLD).suffix == ".cdf"
    assert archive.path(Recording("S9", "Walking", 1).views[0], Kind.WORLD).suffix == ".h5"


def test_canonical_names_of_s1_are_understood(tmp_path: Path) -> None:
    folder = tmp_path / "h36m" / "S1" / "MyPoses" / "3D_positions"
    folder.mkdir(parents=True)
    for name in ("Photo 1", "WalkDog"):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["3D_positions"] = np.zeros((96, 5))
    found = {file.recording for file in RawArchive.open(tmp_path).files}
    assert found == {Recording("S1", "TakingPhoto", 1), Recording("S1", "WalkingDog", 2)}


def zip_with(path: Path, name: str, content: bytes = b"x", mode: int = 0) -> Path:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("h36m/S1/MyPoses/3D_positions/Walking.h5", b"x")
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize("start", ["../h36m/", "/h36m/"])
def test_a_zip_that_leaves_its_folder_is_refused(start: str, tmp_path: Path) -> None:
    path = zip_with(tmp_path / "h36m.zip", f"{start}S1/MyPoses/3D_positions/Walking 1.h5")
    message = refused("labels", path, "--out", tmp_path / "data", "--jobs", 1)
    assert "would leave the target folder" in message
    assert not list(tmp_path.rglob("Walking 1.h5"))


def test_a_link_in_a_zip_is_never_made(tmp_path: Path) -> None:
    name = "h36m/S1/MyPoses/3D_positions/Walking 1.h5"
    path = zip_with(tmp_path / "h36m.zip", name, b"/etc/passwd", stat.S_IFLNK | 0o777)
    archive = RawArchive.open(path).unpacked([Kind.WORLD], tmp_path / "raw")
    assert [file.recording for file in archive.files] == [Recording("S1", "Walking", 2)]
    assert not any(path.is_symlink() for path in (tmp_path / "raw").rglob("*"))


def test_a_zip_whose_member_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "h36m.zip", "h36m/S1/MyPoses/3D_positions/Walking 1.h5")
    content = bytearray(path.read_bytes())
    size = content.rfind(b"PK\x01\x02") + 24  # in the directory's last entry
    content[size : size + 4] = ((1 << 28) + 1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(H36MError, match=r"Walking 1\.h5 says it has 268,435,457 bytes; expected 268,435,456 at most"):
        RawArchive.open(path).unpacked([Kind.WORLD], tmp_path / "raw")


def test_a_truncated_zip_is_named(martinez: Path, tmp_path: Path) -> None:
    content = martinez.read_bytes()
    (tmp_path / "h36m.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(H36MError, match=r"h36m\.zip: truncated or no zip archive"):
        RawArchive.open(tmp_path / "h36m.zip")


def test_another_zip_is_no_archive_of_poses(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "paper.zip", "w") as archive:
        archive.writestr("paper.tex", "x")
    with pytest.raises(H36MError, match=r"no Human3\.6M here"):
        RawArchive.open(tmp_path / "paper.zip")


@pytest.mark.parametrize("kept", [0, 100, 2000, 12000])
def test_a_truncated_pose_file_is_refused(layouts: dict[str, Path], tmp_path: Path, kept: int) -> None:
    whole = (layouts["unpacked"] / "h36m/S1/MyPoses/3D_positions/Walking 1.h5").read_bytes()
    path = tmp_path / "Walking 1.h5"
    path.write_bytes(whole[:kept])
    for read in (read_world_h5, lambda path: pose_file_frames(path, 3)):
        with pytest.raises(H36MError, match=r"Walking 1\.h5: damaged or another file"):
            read(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("3D_positions", np.zeros((64, 5)), r"3D_positions is float64 \(64, 5\)"),
        ("3D_positions", np.zeros((96, 5), np.int32), "3D_positions is int32"),
        ("3D_positions/poses", np.zeros((96, 5)), "damaged or another file"),
        ("poses", np.zeros((96, 5)), "damaged or another file"),
        ("3D_positions", np.full((96, 5), np.nan), "NaN"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, name: str, values: np.ndarray, message: str) -> None:
    with h5py.File(tmp_path / "Walking.h5", "w") as file:
        file[name] = values
    with pytest.raises(H36MError, match=message):
        read_world_h5(tmp_path / "Walking.h5")
