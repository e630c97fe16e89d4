from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import cdflib
import cdflib.cdfwrite
import numpy as np
import pytest

from h36m_toolbox import RawArchive
from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.archive import POSE_KINDS, Kind, recognise
from h36m_toolbox.raw.cdf import pose_cdf_frames, read_pose_cdf
from h36m_toolbox.raw.tarballs import unpack
from h36m_toolbox.sequences import Recording, Sequence

VIEW = Sequence("S1", "Walking", 1, "54138969")


def h36m_fetch_layout(unpacked: Path, target: Path) -> Path:
    """The flat folders that h36m-fetch extracts to, with the empty ones it leaves behind."""
    for source in unpacked.rglob("*.*"):
        if source.suffix in (".cdf", ".mp4"):
            kind = source.parent.name
            folder = target / "extracted" / source.relative_to(unpacked).parts[0]
            folder = folder / (kind if kind == "Videos" else f"Poses_{kind}")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / source.name)
            (folder / "MyPoseFeatures").mkdir(exist_ok=True)
    return target


def test_the_three_layouts_give_the_same_poses(archives_folder: Path, unpacked: Path, tmp_path: Path) -> None:
    roots = {
        "original": unpacked,
        "archives": archives_folder,
        "h36m-fetch": h36m_fetch_layout(unpacked, tmp_path / "fetch"),
    }
    poses = {}
    for name, root in roots.items():
        archive = RawArchive.open(root).unpacked(POSE_KINDS, tmp_path / "raw" / name)
        assert len(archive.sequences(POSE_KINDS)) == 16, name
        poses[name] = archive.read_poses(VIEW)
    for name in roots:
        np.testing.assert_array_equal(poses[name].world, poses["original"].world)
        np.testing.assert_array_equal(poses[name].image, poses["original"].image)


def test_archives_are_recognised_by_content_not_by_name(archives_folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S1.tgz", tmp_path / "SubjectSpecific_1 (1).tgz")
    (tarball,) = RawArchive.open(tmp_path).tarballs
    assert (tarball.kind, tarball.subject) == (Kind.WORLD, "S1")


def test_unpacking_again_reads_no_archive(archives_folder: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(archives_folder)
    first, again = [], []
    archive.unpacked([Kind.WORLD], tmp_path, progress=lambda _, result: first.append(result))
    archive.unpacked([Kind.WORLD], tmp_path, progress=lambda _, result: again.append(result))
    assert [result.written for result in first] == [2, 2]
    assert [(result.written, result.kept) for result in again] == [(0, 2), (0, 2)]


def test_a_file_that_was_lost_is_unpacked_again(archives_folder: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(archives_folder)
    whole = archive.unpacked([Kind.WORLD], tmp_path).path(VIEW, Kind.WORLD)
    content = whole.read_bytes()
    whole.write_bytes(content[:100])
    assert archive.unpacked([Kind.WORLD], tmp_path).path(VIEW, Kind.WORLD).read_bytes() == content


def test_places_in_any_layout_are_understood() -> None:
    found = recognise("x/S1/MyPoseFeatures/D2_Positions/TakingPhoto 1.54138969.cdf")
    assert found is not None
    assert (found.kind, found.recording, found.camera) == (
        Kind.IMAGE,
        Recording("S1", "TakingPhoto", 1),
        "54138969",
    )
    assert recognise("S1/Videos/_ALL 1.54138969.mp4") is None
    assert recognise("S1/Videos/Walking.54138969.cdf") is None
    assert recognise("S1/Videos/Walking.00000000.mp4") is None


def test_an_empty_folder_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match=r"no Human3\.6M here; expected Poses_\*\.tgz"):
        RawArchive.open(tmp_path)


def test_a_folder_of_the_wrong_layout_is_refused_naming_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "Walking.cdf").write_bytes(b"x")
    with pytest.raises(H36MError, match=r"Walking\.cdf: not a name of the data set"):
        RawArchive.open(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="no such folder"):
        RawArchive.open(tmp_path / "nowhere")


def test_a_missing_file_names_the_archive_to_get(unpacked: Path) -> None:
    archive = RawArchive.open(unpacked)
    with pytest.raises(H36MError, match=r"get Poses_D3_Positions_S5\.tgz"):
        archive.path(Sequence("S5", "Walking", 1, "54138969"), Kind.WORLD)


def tar_with(path: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            member.size = len(content) if member.isfile() else 0
            tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return path


@pytest.mark.parametrize("name", ["../S1/Videos/Walking.54138969.mp4", "/S1/Videos/Walking.54138969.mp4"])
def test_an_archive_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    path = tar_with(tmp_path / "evil.tgz", tarfile.TarInfo(name))
    with pytest.raises(H36MError, match="would leave the target folder"):
        unpack(path, tmp_path / "into", lambda member: Path(member))
    assert not (tmp_path / "S1").exists()


def test_links_in_an_archive_are_never_made(tmp_path: Path) -> None:
    link = tarfile.TarInfo("S1/Videos/Walking.54138969.mp4")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = tar_with(tmp_path / "evil.tgz", link)
    result = unpack(path, tmp_path / "into", lambda member: Path(member))
    assert result.written == 0
    assert result.skipped == (link.name,)
    assert not list((tmp_path / "into").rglob("*.mp4"))


def test_a_truncated_archive_is_named_and_leaves_no_half_file(archives_folder: Path, tmp_path: Path) -> None:
    whole = (archives_folder / "Poses_D3_Positions_mono_S9.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    archive = RawArchive.open(tmp_path)
    with pytest.raises(H36MError, match=r"cut\.tgz: truncated or no tar archive"):
        archive.unpacked(POSE_KINDS, tmp_path / "raw")
    for path in (tmp_path / "raw").rglob("*"):
        assert path.is_dir() or read_pose_cdf(path, 3).shape[1:] == (32, 3)


def test_a_login_page_saved_as_an_archive_is_told(tmp_path: Path, archives_folder: Path) -> None:
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S1.tgz", tmp_path / "ok.tgz")
    (tmp_path / "Videos_S1.tgz").write_text("<!DOCTYPE html><html><body>Please log in</body></html>")
    (message,) = RawArchive.open(tmp_path).damaged
    assert "your login had expired" in message


def write_cdf(path: Path, values: np.ndarray, variable: str = "Pose", majority: str = "row", z: bool = True) -> Path:
    dims = list(values.shape[1:])
    writer = cdflib.cdfwrite.CDF(path, {"Majority": f"{majority}_major", "rDim_sizes": [] if z else dims}, delete=True)
    spec = {
        "Variable": variable,
        "Data_Type": 44 if values.dtype == np.float32 else 45,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Var_Type": "zVariable" if z else "rVariable",
        "Dim_Sizes": dims,
        "Dim_Vary": [True] * len(dims),
    }
    if majority == "column":  # cdflib writes the bytes as they lie: the first dimension of a record must vary fastest
        values = np.ascontiguousarray(np.moveaxis(values, 1, -1)).reshape(values.shape)
    writer.write_var(spec, var_data=values)
    writer.close()
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("majority", ["row", "column"])
def test_cdf_of_either_majority_and_float_size_is_read(tmp_path: Path, majority: str, dtype: type) -> None:
    poses = np.random.default_rng(0).normal(size=(1, 7, 96)).astype(dtype)
    read = read_pose_cdf(write_cdf(tmp_path / "Walking.cdf", poses, majority=majority), 3)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, poses.reshape(7, 32, 3).astype(np.float32))
    assert pose_cdf_frames(tmp_path / "Walking.cdf", 3) == 7


@pytest.mark.parametrize(("shape", "frames"), [((1, 7, 96), 7), ((7, 96), 7), ((1, 1, 96), 1), ((1, 96), 1)])
@pytest.mark.parametrize("z", [True, False])
def test_headers_tell_the_length_that_reading_finds(
    tmp_path: Path, shape: tuple[int, ...], frames: int, z: bool
) -> None:
    path = write_cdf(tmp_path / "Walking.cdf", np.zeros(shape, np.float32), z=z)
    assert pose_cdf_frames(path, 3) == len(read_pose_cdf(path, 3)) == frames


def test_a_cdf_without_pose_is_refused_naming_its_variables(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "Walking.cdf", np.zeros((1, 7, 96), np.float32), variable="Depth")
    with pytest.raises(H36MError, match=r"has the variables Depth but no Pose"):
        read_pose_cdf(path, 3)


def test_a_cdf_of_another_joint_count_is_refused(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "Walking.cdf", np.zeros((1, 7, 64), np.float32))
    with pytest.raises(H36MError, match=r"Pose is float32 \(7, 64\); expected a CDF file whose variable Pose has 96"):
        read_pose_cdf(path, 3)
    with pytest.raises(H36MError, match=r"Pose is \[7, 64\]; expected a CDF file whose variable Pose has 96"):
        pose_cdf_frames(path, 3)


def test_a_cdf_with_nan_is_refused(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "Walking.cdf", np.full((1, 7, 96), np.nan, np.float32))
    with pytest.raises(H36MError, match="NaN"):
        read_pose_cdf(path, 3)


@pytest.mark.parametrize("kept", [0, 10, 22, 300, 1000, 5000])
def test_a_truncated_cdf_is_refused(unpacked: Path, tmp_path: Path, kept: int) -> None:
    whole = (unpacked / "S1/MyPoseFeatures/D3_Positions/Walking 1.cdf").read_bytes()
    path = tmp_path / "Walking 1.cdf"
    path.write_bytes(whole[:kept])
    for read in (read_pose_cdf, pose_cdf_frames):
        with pytest.raises(H36MError, match=r"Walking 1\.cdf: "):
            read(path, 3)
