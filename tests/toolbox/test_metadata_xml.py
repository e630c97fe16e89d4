from __future__ import annotations

import csv
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from synthetic_data import done, h36m

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.metadata_xml import metadata_differences
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, Recording, recordings

ALL_SUBJECTS = [f"S{number}" for number in range(1, 12)]


def table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(files("h36m_toolbox").joinpath(f"metadata/{name}.csv").read_text().splitlines()))


def rows(cell: dict[Recording, str]) -> str:
    """A table as the file has them: subjects in its first row, then the calibration take, then the actions."""
    lines = [["", "", *ALL_SUBJECTS]] + [["1", str(take), *["_ALL"] * 11] for take in (1, 2)]
    for number, action in enumerate(ACTIONS, start=2):
        for take in SUBACTIONS:
            cells = [cell.get(Recording(subject, action, take), "") for subject in ALL_SUBJECTS]
            lines.append([str(number), str(take), *cells])
    return "".join(f"<tr>{''.join(f'<td>{word}</td>' for word in line)}</tr>" for line in lines)


def camera_numbers() -> list[str]:
    extrinsics = {(row["subject"], row["camera"]): row for row in table("extrinsics")}
    numbers = []
    for camera in CAMERA_IDS:
        for subject in ALL_SUBJECTS:
            numbers += [extrinsics[subject, camera][f"angle_{axis}_rad"] for axis in "xyz"]
            numbers += [extrinsics[subject, camera][f"center_{axis}_mm"] for axis in "xyz"]
    names = ("focal_x_px", "focal_y_px", "principal_x_px", "principal_y_px", "k1", "k2", "k3", "p1", "p2")
    return numbers + [row[name] for row in table("intrinsics") for name in names]


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """A file of the structure of metadata.xml, from our own tables; the real one is licensed and never shipped."""
    mapping = {recording: recording.stem for recording in recordings()}
    frames = {
        recording: f"[{' '.join(str(view.video_frames) for view in recording.views)} {recording.pose_frames * 4 + 3}]"
        for recording in recordings()
    }
    path = tmp_path / "raw" / "tools" / "metadata.xml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"<?xml version='1.0'?><document><mapping>{rows(mapping)}</mapping><frames>{rows(frames)}</frames>"
        f"<w0>[{' '.join(camera_numbers())}]</w0></document>"
    )
    return path


def changed(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_file_that_agrees_has_no_differences(metadata: Path) -> None:
    assert metadata_differences(metadata) == []


def test_another_file_stem_is_told(metadata: Path) -> None:
    (line,) = metadata_differences(changed(metadata, "<td>TakingPhoto 1</td>", "<td>Photo 1</td>"))
    assert line == "S1 TakingPhoto 1: its files are called 'Photo 1'; built in is 'TakingPhoto 1'"


def test_other_frame_counts_are_told(metadata: Path) -> None:
    lines = metadata_differences(
        changed(metadata, "<td>[1384 1387 1387 1384 5535]</td>", "<td>[1384 1387 1387 9 96]</td>")
    )
    assert lines == [
        "S1 Directions 1: its videos have 1384, 1387, 1387, 9 frames; built in are 1384, 1387, 1387, 1384",
        "S1 Directions 1: 96 motion-capture frames make 24 poses; built in are 1383",
    ]


def test_other_camera_parameters_are_told(metadata: Path) -> None:
    changed(metadata, "1841.10702774543", "1841.10702774553")
    changed(metadata, "1145.04940458804", "1145.05040458804")
    lines = metadata_differences(changed(metadata, "1.75776489313365", "1.75776489313865"))
    assert len(lines) == 3
    assert "camera 54138969: its focal x is 1145.05040458804; built in is 1145.04940458804" in lines
    assert "camera 54138969 of S1: its centre x is 1841.10702774553 mm; built in is 1841.10702774543" in lines
    assert any("camera 54138969 of S1: its rotation differs by up to" in line for line in lines)


def test_numbers_are_compared_to_the_digits_printed(metadata: Path) -> None:
    changed(metadata, "1841.10702774543", "1841.107")
    assert metadata_differences(changed(metadata, "1.75776489313365", "1.7577649")) == []


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "metadata.xml").write_text("<document><w0>[1 2 3]</w0></document>")
    names, numbers = metadata_differences(tmp_path / "metadata.xml")
    assert "no table `mapping`" in names
    assert numbers == "its camera parameters `w0` are 3 numbers; expected 300"


BOMB = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><document><mapping>&b;</mapping></document>'


@pytest.mark.parametrize(
    ("content", "message"),
    [(BOMB, "declares a document type"), ("<document>", "no XML"), ("", "no XML"), ("<a/>" * 2, "no XML")],
)
def test_an_unsafe_or_foreign_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "metadata.xml").write_text(content)
    with pytest.raises(H36MError, match=message):
        metadata_differences(tmp_path / "metadata.xml")


def test_labels_warn_of_differences_and_doctor_reports_them(metadata: Path, unpacked: Path, tmp_path: Path) -> None:
    shutil.copytree(unpacked / "S9" / "MyPoseFeatures", tmp_path / "raw" / "S9" / "MyPoseFeatures")
    raw = tmp_path / "raw"
    assert "as the built-in tables" in done("doctor", raw)
    assert "metadata" not in done("labels", raw, "--out", tmp_path / "data", "--jobs", 1)
    changed(metadata, "<td>Walking</td>", "<td>Strolling</td>")
    what = "its files are called 'Strolling'"
    assert what in done("labels", raw, "--out", tmp_path / "data", "--jobs", 1)
    result = h36m("doctor", raw)
    assert result.exit_code == 1
    assert what in result.stdout
    metadata.write_text(BOMB)
    assert "not compared with the built-in tables" in done("labels", raw, "--out", tmp_path / "data", "--jobs", 1)
    assert "declares a document type" in h36m("doctor", raw).stdout
