"""The frames that mmpose's labels name, against the files of its own script on the reduced archive."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_data import digests, done, h36m, refused

from h36m_toolbox.formats.mmpose_images import mmpose_image_name, mmpose_images, read_view_images
from h36m_toolbox.sequences import Sequence

VIEW = Sequence("S1", "Walking", 1, "54138969")
FOLDER = "S1/S1_Walking_1.54138969"


def one_view(unpacked: Path, raw: Path) -> Path:
    """RAW with the poses and the video of one view."""
    for place in (
        "MyPoseFeatures/D3_Positions/Walking 1.cdf",
        *(f"MyPoseFeatures/{kind}/Walking 1.54138969.cdf" for kind in ("D2_Positions", "D3_Positions_mono")),
        "MyPoseFeatures/D3_Positions_mono_universal/Walking 1.54138969.cdf",
        "Videos/Walking 1.54138969.mp4",
    ):
        target = raw / "S1" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(unpacked / "S1" / place, target)
    return raw


@pytest.fixture(scope="module")
def decoded(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with mmpose's labels of one view and its frames decoded from the video; tests only read it."""
    data = tmp_path_factory.mktemp("mmpose_images")
    raw = one_view(unpacked, data / "raw_view")
    done("labels", raw, "--out", data, "--format", "mmpose", "--images", "decode", "--jobs", 1)
    return data


def names_in_labels(data: Path, *rates: str) -> set[str]:
    folder = data / "labels" / "mmpose" / "annotation_body3d"
    files = [path for rate in rates for path in (folder / rate).glob("*.npz")]
    return {name for path in files for name in np.load(path)["imgname"].tolist()}


def images_in(data: Path) -> set[str]:
    root = mmpose_images(data)
    return {path.relative_to(root).as_posix() for path in root.rglob("*.jpg")}


def md5s(data: Path) -> dict[str, str]:
    return {name: hashlib.md5((mmpose_images(data) / name).read_bytes()).hexdigest() for name in images_in(data)}


def official_md5s(golden_folder: Path) -> dict[str, str]:
    golden = np.load(golden_folder / "mmpose_images.npz")
    return dict(zip(golden["name"].tolist(), golden["md5"].tolist(), strict=True))


def test_decoded_frames_are_the_official_files_byte_for_byte(decoded: Path, golden_folder: Path) -> None:
    ours, official = md5s(decoded), official_md5s(golden_folder)
    assert len(ours) == 26
    assert ours == {name: md5 for name, md5 in official.items() if name.startswith(FOLDER)}


@pytest.mark.slow
def test_all_frames_of_the_archive_are_the_official_ones(tmp_path: Path, unpacked: Path, golden_folder: Path) -> None:
    done("labels", unpacked, "--out", tmp_path, "--format", "mmpose", "--images", "decode", "--jobs", 2)
    ours = md5s(tmp_path)
    assert len(ours) == 878
    assert ours == official_md5s(golden_folder)


def test_every_name_in_the_labels_has_its_frame(decoded: Path) -> None:
    assert names_in_labels(decoded, "fps50", "fps10") == images_in(decoded)
    assert mmpose_image_name(VIEW, 0) == f"{FOLDER}/S1_Walking_1.54138969_000001.jpg"


def test_at_10_fps_only_the_frames_of_its_labels_are_written(tmp_path: Path, unpacked: Path, decoded: Path) -> None:
    raw = one_view(unpacked, tmp_path / "raw_view")
    command = ("labels", raw, "--out", tmp_path, "--format", "mmpose", "--images", "decode", "--jobs", 1)
    done(*command, "--mmpose-fps", 10)
    assert images_in(tmp_path) == names_in_labels(decoded, "fps10")
    assert not (tmp_path / "labels" / "mmpose" / "annotation_body3d" / "fps50").exists()
    name = mmpose_image_name(VIEW, 5)
    assert (mmpose_images(tmp_path) / name).read_bytes() == (mmpose_images(decoded) / name).read_bytes()


def test_linked_frames_are_the_extracted_files_themselves(tmp_path: Path, prepared: Path, unpacked: Path) -> None:
    shutil.copytree(prepared / "images", tmp_path / "images")
    done("labels", unpacked, "--out", tmp_path, "--format", "mmpose", "--images", "link", "--jobs", 1)
    assert images_in(tmp_path) == names_in_labels(tmp_path, "fps50")
    extracted = tmp_path / "images" / VIEW.folder / f"{VIEW.folder}_000003.jpg"
    assert (mmpose_images(tmp_path) / mmpose_image_name(VIEW, 2)).samefile(extracted)


def test_frames_that_were_not_extracted_are_counted(tmp_path: Path, prepared: Path, unpacked: Path) -> None:
    folder = tmp_path / "images" / VIEW.folder
    folder.mkdir(parents=True)
    for number in (1, 6, 11):
        name = f"{VIEW.folder}_{number:06d}.jpg"
        shutil.copy(prepared / "images" / VIEW.folder / name, folder / name)
    raw = one_view(unpacked, tmp_path / "raw_view")
    output = done("labels", raw, "--out", tmp_path, "--format", "mmpose", "--images", "link", "--jobs", 1)
    assert "S1/Walking 1.54138969: 23 of 26 images are missing" in output
    assert f"1 sequences, 3 rows in {mmpose_images(tmp_path)}" in output
    assert len(images_in(tmp_path)) == 3
    name = f"{VIEW.folder}_000016.jpg"
    shutil.copy(prepared / "images" / VIEW.folder / name, folder / name)
    done("labels", raw, "--out", tmp_path, "--format", "mmpose", "--images", "link", "--jobs", 1)
    assert len(images_in(tmp_path)) == 4


def test_frames_extracted_anew_are_linked_anew(tmp_path: Path, prepared: Path, unpacked: Path) -> None:
    shutil.copytree(prepared / "images" / VIEW.folder, tmp_path / "images" / VIEW.folder)
    raw = one_view(unpacked, tmp_path / "raw_view")
    command = ("labels", raw, "--out", tmp_path, "--format", "mmpose", "--images", "link", "--jobs", 1)
    done(*command)
    frame = tmp_path / "images" / VIEW.folder / f"{VIEW.folder}_000003.jpg"
    content = frame.read_bytes() + b"another"
    frame.unlink()
    frame.write_bytes(content)
    done(*command)
    assert (mmpose_images(tmp_path) / mmpose_image_name(VIEW, 2)).samefile(frame)


def test_packed_frames_are_copied(tmp_path: Path, prepared: Path, unpacked: Path) -> None:
    raw = one_view(unpacked, tmp_path / "raw_view")
    done("extract", raw, "--out", tmp_path, "--pack", "--jobs", 1)
    assert not list((tmp_path / "images").rglob("*.jpg"))
    done("labels", raw, "--out", tmp_path, "--format", "mmpose", "--images", "link", "--jobs", 1)
    assert len(images_in(tmp_path)) == 26
    extracted = prepared / "images" / VIEW.folder / f"{VIEW.folder}_000003.jpg"
    assert (mmpose_images(tmp_path) / mmpose_image_name(VIEW, 2)).read_bytes() == extracted.read_bytes()


def test_linking_asks_for_extract_first(tmp_path: Path, unpacked: Path) -> None:
    message = refused("labels", unpacked, "--out", tmp_path, "--format", "mmpose", "--images", "link")
    assert f"{tmp_path / 'images'}: no frames to link; run `h36m extract RAW --out {tmp_path}` first" in message
    assert "--images decode" in message


def test_a_complete_view_is_kept_and_a_broken_one_made_again(tmp_path: Path, unpacked: Path) -> None:
    raw = one_view(unpacked, tmp_path / "raw_view")
    command = ("labels", raw, "--out", tmp_path / "data", "--format", "mmpose", "--images", "decode", "--jobs", 1)
    done(*command)
    images = mmpose_images(tmp_path / "data")
    before, files = digests(images), sorted(images.rglob("*.jpg"))
    inode = files[0].stat().st_ino
    done(*command)
    assert files[0].stat().st_ino == inode
    files[3].unlink()
    done(*command)
    assert digests(images) == before
    done(*command, "--mmpose-fps", 10)  # other labels: other frames
    assert len(images_in(tmp_path / "data")) == 6


def test_a_video_that_ends_before_the_poses_cuts_the_labels(tmp_path: Path, unpacked: Path) -> None:
    """Its last frames cannot be decoded: OpenCV just ends, and the labels follow what it gave."""
    raw, data = one_view(unpacked, tmp_path / "raw_view"), tmp_path / "data"
    video = raw / "S1" / "Videos" / "Walking 1.54138969.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 50, (64, 48))
    for value in range(9):
        writer.write(np.full((48, 64, 3), 20 * value, np.uint8))
    writer.release()
    output = done("labels", raw, "--out", data, "--format", "mmpose", "--images", "decode", "--jobs", 1)
    assert "S1/Walking 1.54138969: 17 of 26 images are missing" in output
    assert "S1/Walking 1.54138969: cut to 9 frames, it has D2 26, D3 mono 26, video 9" in output
    assert names_in_labels(data, "fps50") == images_in(data)
    assert len(images_in(data)) == 9


def test_a_video_without_a_frame_is_damage_and_one_that_is_not_there_is_told(tmp_path: Path, unpacked: Path) -> None:
    raw, data = one_view(unpacked, tmp_path / "raw_view"), tmp_path / "data"
    video = raw / "S1" / "Videos" / "Walking 1.54138969.mp4"
    video.write_bytes(b"no video")
    command = ("labels", raw, "--out", data, "--format", "mmpose", "--images", "decode", "--jobs", 1)
    result = h36m(*command)
    assert result.exit_code == 1
    assert f"left out: {video}: OpenCV decodes no frame of it; get the file again" in result.output
    assert read_view_images(data, VIEW) is not None
    assert not (mmpose_images(data) / FOLDER).exists()
    video.unlink()
    assert "S1/Walking 1.54138969: no images, its video is not in the archive" in done(*command)


def test_a_manifest_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "manifests" / "mmpose" / f"{VIEW.folder}.json"
    path.parent.mkdir(parents=True)
    for content in ("", "[]", json.dumps({"source": "link"}), json.dumps({"rates": [1], "more": 1})):
        path.write_text(content)
        assert read_view_images(tmp_path, VIEW) is None
