from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from synthetic_data import done, refused

from h36m_toolbox import RawArchive
from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.archive import POSE_KINDS, Kind

NAME = "S1/MyPoseFeatures/D3_Positions/Walking.cdf"


def packed(path: Path, member: tarfile.TarInfo, content: bytes = b"x") -> Path:
    """A .tgz with a harmless world pose file and one more member."""
    with tarfile.open(path, "w:gz") as tar:
        for info in (tarfile.TarInfo("S1/MyPoseFeatures/D3_Positions/Walking 1.cdf"), member):
            info.size = len(content) if info.isfile() else 0
            tar.addfile(info, io.BytesIO(content) if info.isfile() else None)
    return path


@pytest.mark.parametrize("name", [f"../{NAME}", f"/tmp/{NAME}", f"a/../../{NAME}"])
def test_an_archive_that_leaves_its_folder_stops_labels_and_writes_nothing_outside(name: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    packed(tmp_path / "raw" / "evil.tgz", tarfile.TarInfo(name))
    message = refused("labels", tmp_path / "raw", "--out", tmp_path / "data", "--jobs", 1)
    assert "would leave the target folder" in message
    assert not list(tmp_path.rglob("Walking.cdf"))


@pytest.mark.parametrize("type_", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_links_devices_and_pipes_are_never_made(type_: str, tmp_path: Path) -> None:
    member = tarfile.TarInfo(NAME)
    member.type, member.linkname = getattr(tarfile, type_), "S1/MyPoseFeatures/D3_Positions/Walking 1.cdf"
    packed(tmp_path / "evil.tgz", member)
    told = []
    archive = RawArchive.open(tmp_path).unpacked([Kind.WORLD], tmp_path / "raw", progress=lambda _, r: told.append(r))
    assert [file.recording.stem for file in archive.files] == ["Walking 1"]
    assert told[0].skipped == (NAME,)
    assert not list((tmp_path / "raw").rglob("Walking.cdf"))


def test_the_rights_in_an_archive_are_not_taken_over(tmp_path: Path) -> None:
    member = tarfile.TarInfo(NAME)
    member.mode = 0o6777
    packed(tmp_path / "evil.tgz", member)
    archive = RawArchive.open(tmp_path).unpacked([Kind.WORLD], tmp_path / "raw")
    assert all(path.stat().st_mode & 0o6111 == 0 for path in archive.files.values())


def test_a_link_already_in_the_target_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "raw" / NAME).parent.mkdir(parents=True)
    (tmp_path / "raw" / NAME).symlink_to(victim)
    packed(tmp_path / "ok.tgz", tarfile.TarInfo(NAME))
    RawArchive.open(tmp_path).unpacked([Kind.WORLD], tmp_path / "raw2")
    tarball = RawArchive.open(tmp_path / "ok.tgz")
    tarball.unpacked([Kind.WORLD], tmp_path / "raw")
    assert victim.read_text() == "precious"
    assert (tmp_path / "raw" / NAME).read_bytes() == b"x"


@pytest.mark.parametrize(
    "name", ["SubjectSpecific_1 (1).tgz", "SubjectSpecific_1.tgz.1", "filebrowser.php", "x.tar.gz"]
)
def test_an_archive_is_known_by_its_content_whatever_its_name(archives_folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S9.tgz", tmp_path / name)
    (tarball,) = RawArchive.open(tmp_path).tarballs
    assert (tarball.kind, tarball.subject) == (Kind.WORLD, "S9")


def test_mmposes_lower_case_folders_are_read(archives_folder: Path, tmp_path: Path) -> None:
    for subject in ("S1", "S9"):
        folder = tmp_path / "original" / subject.lower()
        folder.mkdir(parents=True)
        for kind in ("D2_Positions", "D3_Positions_mono"):
            shutil.copyfile(archives_folder / f"Poses_{kind}_{subject}.tgz", folder / f"{kind}.tgz")
    archive = RawArchive.open(tmp_path).unpacked(POSE_KINDS, tmp_path / "raw")
    assert len(archive.posed_sequences([Kind.IMAGE])) == 16


def test_poses_below_a_lower_case_subject_are_read(unpacked: Path, tmp_path: Path) -> None:
    shutil.copytree(unpacked / "S1" / "MyPoseFeatures", tmp_path / "s1")
    assert len(RawArchive.open(tmp_path).posed_sequences()) == 8


def test_a_truncated_archive_under_a_strange_name_is_passed_over(archives_folder: Path, tmp_path: Path) -> None:
    whole = (archives_folder / "Poses_D3_Positions_S1.tgz").read_bytes()
    (tmp_path / "download.1").write_bytes(whole[:40])
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S9.tgz", tmp_path / "ok.tgz")
    archive = RawArchive.open(tmp_path)
    assert len(archive.tarballs) == 1
    assert archive.damaged == ()


def test_a_pipe_among_the_files_does_not_stop_the_search(archives_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S9.tgz", tmp_path / "ok.tgz")
    assert len(RawArchive.open(tmp_path).tarballs) == 1


def test_an_archive_alone_can_be_raw(archives_folder: Path) -> None:
    archive = RawArchive.open(archives_folder / "Poses_D3_Positions_S1.tgz")
    assert [(tarball.kind, tarball.subject) for tarball in archive.tarballs] == [(Kind.WORLD, "S1")]


def test_labels_tell_of_a_login_page_among_the_archives(archives_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S9.tgz", tmp_path / "raw" / "S9.tgz")
    (tmp_path / "raw" / "Poses_D3_Positions_S1.tgz").write_text("<!DOCTYPE html><html>Please log in</html>")
    output = done("labels", tmp_path / "raw", "--out", tmp_path / "data", "--jobs", 1)
    assert "Poses_D3_Positions_S1.tgz: is a web page, not an archive" in output


def test_a_login_page_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "Videos_S1.tgz").write_text("\n<html><body>Please log in</body></html>")
    with pytest.raises(H36MError, match="your login had expired"):
        RawArchive.open(tmp_path)
