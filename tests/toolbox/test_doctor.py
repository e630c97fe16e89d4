from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic_data import done, h36m

from h36m_toolbox.doctor.diagnosis import examine
from h36m_toolbox.download.index import OfficialArchive
from h36m_toolbox.sequences import OFFICIAL_POSES, SPLITS, recordings

POSES = "MyPoseFeatures/D3_Positions"


@pytest.fixture
def raw(unpacked: Path, tmp_path: Path) -> Path:
    """The reduced archive unpacked, to be damaged."""
    shutil.copytree(unpacked, tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """DATA of the reduced archive without its raw files, to be damaged."""
    shutil.copytree(prepared, tmp_path / "data", ignore=shutil.ignore_patterns("raw"), symlinks=True)
    return tmp_path / "data"


def cut(path: Path, kept: int) -> Path:
    path.write_bytes(path.read_bytes()[:kept])
    return path


def told(folder: Path, checksums: bool = False) -> str:
    return "\n".join(f"{item.level} {item.where} {item.what}" for item in examine(folder, checksums).findings)


def cells(folder: Path, subject: str) -> dict[str, str]:
    found = examine(folder)
    return dict(zip(found.columns, found.rows[subject], strict=True))


def test_the_official_counts_are_those_of_the_built_in_frame_counts() -> None:
    for split, subjects in SPLITS.items():
        assert sum(4 * recording.pose_frames for recording in recordings(subjects)) == OFFICIAL_POSES[split]


def test_a_partial_raw_folder_is_described_by_subject(unpacked: Path) -> None:
    row = cells(unpacked, "S1")
    assert row["D3_Positions"] == "2/30"
    assert row["Videos"] == row["D2_Positions"] == "8/120"
    assert row["ground_truth_bb"] == ""
    assert row["poses"] == "240 of 248,376"
    text = told(unpacked)
    assert "note S5 nothing of this subject is here" in text
    assert "Walking 1: 131 poses; the official release has 2446" in text
    assert "note poses train: 240 of 1,559,752 over all views" in text
    assert "problem" not in text


def test_the_table_has_a_line_a_subject(unpacked: Path) -> None:
    lines = done("doctor", unpacked).splitlines()
    assert lines[0].split()[:2] == ["D3_Positions", "D3_Positions_mono"]
    assert [line.split()[0] for line in lines[1:8]] == ["S1", "S5", "S6", "S7", "S8", "S9", "S11"]


def test_archives_are_described_without_unpacking_them(archives_folder: Path) -> None:
    assert set(cells(archives_folder, "S9").values()) == {"archive", ""}
    assert "problem" not in told(archives_folder)


def test_videos_of_another_length_are_told_with_the_official_one(unpacked: Path) -> None:
    (line,) = [line for line in told(unpacked).splitlines() if line.startswith("note S1 Videos") and "official" in line]
    assert "frames; the official release has" in line
    assert "; and 5 more" in line


@pytest.mark.parametrize(
    "name", [f"{POSES}/Walking.cdf", "MyPoseFeatures/D2_Positions/Walking.54138969.cdf", "Videos/Walking.54138969.mp4"]
)
@pytest.mark.parametrize("fraction", [0.99, 0.5, 0.01])
def test_a_truncated_file_is_a_problem_that_names_it(raw: Path, name: str, fraction: float) -> None:
    path = raw / "S1" / name
    cut(path, int(path.stat().st_size * fraction))
    (line,) = [line for line in told(raw).splitlines() if line.startswith("problem")]
    assert str(path) in line
    assert h36m("doctor", raw).exit_code == 1


def test_poses_that_can_be_derived_are_no_problem_and_universal_ones_are_told(raw: Path) -> None:
    shutil.rmtree(raw / "S1" / "MyPoseFeatures" / "D2_Positions")
    (raw / "S1" / "MyPoseFeatures" / "D3_Positions_mono_universal" / "Walking.54138969.cdf").unlink()
    text = told(raw)
    assert "note S1 D2_Positions 0 of 120 files, the others are derived" in text
    assert "note S1 D3_Positions_mono_universal 7 of 120 files, cannot be derived: null in the labels" in text
    assert "problem" not in text


def test_views_without_3d_poses_are_a_problem(raw: Path) -> None:
    (raw / "S9" / POSES / "Walking.cdf").unlink()
    (raw / "S9" / "MyPoseFeatures" / "D3_Positions_mono" / "Walking.54138969.cdf").unlink()
    what = "neither D3_Positions nor D3_Positions_mono, so no labels can be made: S9/Walking.54138969"
    assert f"problem S9 {what}" in told(raw)


def test_unequal_lengths_within_a_view_are_told(unpacked: Path) -> None:
    assert "pose files of unequal length are cut to the shortest: S1/Walking" in told(unpacked)


def test_a_missing_camera_is_told(raw: Path) -> None:
    for path in raw.glob("S1/MyPoseFeatures/*/*.60457274.cdf"):
        path.unlink()
    assert "note S1 no pose files of camera 60457274; these views are left out" in told(raw)


def test_the_known_bad_recordings_are_named(synthetic_raw: Path, raw: Path, tmp_path: Path) -> None:
    videos = tmp_path / "known" / "S11" / "Videos"
    videos.mkdir(parents=True)
    (videos / "Directions.54138969.mp4").write_bytes(b"cannot be decoded")
    world = tmp_path / "known" / "S9" / POSES
    world.mkdir(parents=True)
    for stem in ("Greeting", "SittingDown 1", "Waiting 1"):
        shutil.copyfile(raw / "S9" / POSES / "Walking.cdf", world / f"{stem}.cdf")
    text = told(tmp_path / "known")
    assert "note S11/Directions.54138969 known: archives older than September 2020" in text
    for stem in ("Greeting", "SittingDown 1", "Waiting 1"):
        assert f"note S9/{stem} known: ground truth is displaced" in text
    assert "problem" not in text


def test_masks_are_counted_and_damaged_ones_named(archives_folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(archives_folder / "Segments_mat_gt_bb_S9.tgz", tmp_path / "masks.tgz")
    shutil.unpack_archive(tmp_path / "masks.tgz", tmp_path / "raw", "gztar")
    (tmp_path / "masks.tgz").unlink()
    assert cells(tmp_path / "raw", "S9")["ground_truth_bb"] == "8/120"
    assert "masks; the official release has" in told(tmp_path / "raw")
    path = next((tmp_path / "raw").rglob("Walking.54138969.mat"))
    cut(path, path.stat().st_size - 100)
    assert f"problem S9/Walking.54138969 {path}: damaged or no mask file" in told(tmp_path / "raw")
    assert cells(tmp_path / "raw", "S9")["ground_truth_bb"] == "8/120, 1 damaged"


def test_a_login_page_saved_as_an_archive_is_named_as_such(archives_folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(archives_folder / "Poses_D3_Positions_S1.tgz", tmp_path / "ok.tgz")
    (tmp_path / "Videos_S1.tgz").write_text("<!DOCTYPE html><html>Please log in</html>")
    result = h36m("doctor", tmp_path)
    assert result.exit_code == 1
    assert "Videos_S1.tgz: is a web page, not an archive; your login had expired" in result.stdout


def test_checksums_tell_other_archives_and_truncated_ones(archives_folder: Path, tmp_path: Path) -> None:
    for name in ("Poses_D3_Positions_S1.tgz", "Segments_mat_gt_bb_S1.tgz", "Poses_D3_Positions_S9.tgz"):
        shutil.copyfile(archives_folder / name, tmp_path / name)
    cut(tmp_path / "Poses_D3_Positions_S9.tgz", (tmp_path / "Poses_D3_Positions_S9.tgz").stat().st_size - 2000)
    assert "problem" not in told(tmp_path)
    text = told(tmp_path, checksums=True)
    published = OfficialArchive("D3_Positions", "S1").md5s[0]
    assert f"published for Poses_D3_Positions_S1.tgz is {published}: download it again" in text
    assert "note Segments_mat_gt_bb_S1.tgz whole, 8 files; no checksum is published" in text
    assert "problem Poses_D3_Positions_S9.tgz" in text
    assert "Poses_D3_Positions_S9.tgz: truncated or no tar archive" in text
    assert h36m("doctor", tmp_path, "--checksums").exit_code == 1


@pytest.mark.parametrize("place", [0, 1])
def test_each_published_checksum_is_right(
    archives_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    content = (archives_folder / "Videos_S9.tgz").read_bytes()
    (tmp_path / "SubjectSpecific_4.tgz").write_bytes(content)
    assert len(OfficialArchive("Videos", "S11").md5s) == 2
    md5s = ["0" * 32, "1" * 32]
    md5s[place] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(OfficialArchive, "md5s", property(lambda self: tuple(md5s)))
    assert "ok SubjectSpecific_4.tgz whole, md5 as published for Videos_S9.tgz" in told(tmp_path, checksums=True)


def test_a_data_folder_is_held_against_the_official_counts(prepared: Path) -> None:
    text = told(prepared)
    assert "note labels train: 238 rows of 1,559,752" in text
    assert "ok images 16 sequences of 840" in text
    assert "ok detections cpn: 994 rows" in text
    assert "ok labels/toolbox 2 files" in text
    row = cells(prepared, "S9")
    assert row["images"] == "8"
    assert row["label rows"].endswith(" of 317,668")
    assert {"gt", "cpn", "sh"} <= set(row)
    assert "problem" not in text


def test_labels_of_derived_poses_are_told(raw: Path, tmp_path: Path) -> None:
    for kind in ("D2_Positions", "D3_Positions_mono", "D3_Positions_mono_universal"):
        shutil.rmtree(raw / "S1" / "MyPoseFeatures" / kind)
    done("labels", raw, "--out", tmp_path / "data", "--jobs", 1)
    text = told(tmp_path / "data")
    assert "D2_Positions derived for 8 sequences; 240 rows without universal poses" in text


@pytest.mark.parametrize(
    "name",
    [
        "labels/parquet/train.parquet",
        "labels/toolbox/h36m_train.pkl",
        "labels/poseformer/h36m_validation.pkl",
        "labels/toolbox/report.json",
        "detections/cpn.parquet",
    ],
)
def test_a_truncated_product_is_a_problem_that_names_it(data: Path, name: str) -> None:
    cut(data / name, (data / name).stat().st_size - 10)
    (line,) = [line for line in told(data).splitlines() if line.startswith("problem")]
    assert str(data / name) in line


def test_a_product_that_is_gone_is_a_problem(data: Path) -> None:
    (data / "labels" / "toolbox" / "h36m_train.pkl").unlink()
    assert "problem labels/toolbox lacks h36m_train.pkl; make it again" in told(data)


def test_products_of_other_kinds_are_looked_into(data: Path) -> None:
    for folder in ("stats", "pelvis", "labels/own"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    with h5py.File(data / "stats" / "mean.h5", "w") as file:
        file["mean"] = np.zeros(1000)
    np.savez(data / "labels" / "own" / "a.npz", a=np.zeros(1000))
    np.save(data / "labels" / "own" / "b.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    text = told(data)
    assert "ok stats mean.h5" in text
    assert "note labels/own no report.json: made by another tool, or not finished" in text
    assert "problem" not in text
    for name in ("stats/mean.h5", "labels/own/a.npz", "labels/own/b.npy"):
        cut(data / name, (data / name).stat().st_size - 5)
        assert f"{data / name}: truncated or damaged" in told(data)


def test_frames_that_are_gone_are_a_problem(data: Path) -> None:
    folder = data / "images" / "s_01_act_14_subact_01_ca_01"
    count = len(list(folder.iterdir()))
    next(folder.iterdir()).unlink()
    assert (
        f"problem images frames are missing, run `h36m extract` again: {folder.name}: {count - 1} of {count}"
        in told(data)
    )


def test_manifests_of_any_store_are_read(data: Path) -> None:
    shutil.copytree(data / "images", data / "images-undistorted")
    shutil.copytree(data / "manifests" / "images", data / "manifests" / "images-undistorted")
    assert cells(data, "S1")["images-undistorted"] == "8"
    damaged = next((data / "manifests" / "images-undistorted").glob("*.json"))
    damaged.write_text("{")
    assert f"problem images-undistorted {damaged}: damaged" in told(data)


def test_packed_and_changed_frames_are_counted(archives_folder: Path, tmp_path: Path) -> None:
    extract = ("extract", archives_folder, "--subjects", "S1", "--cameras", "54138969", "--jobs", 1, "--out", tmp_path)
    done(*extract, "--pack")
    done(*extract, "--layout", "h36m-fetch", "--every", 9)
    row = cells(tmp_path, "S1")
    assert (row["images"], row["imageSequence"]) == ("2", "2")
    assert "problem" not in told(tmp_path)
    shard = tmp_path / "images" / "s_01_act_14_subact_01_ca_01.parquet"
    cut(shard, shard.stat().st_size - 10)
    assert f"problem images frames are missing, run `h36m extract` again: {shard.stem}: 0 of" in told(tmp_path)


def test_every_format_is_found_whole_even_where_data_was_moved(archives_folder: Path, tmp_path: Path) -> None:
    formats = ("videopose3d", "h36m-fetch", "multiview", "mmpose", "integral")
    words = [word for name in formats for word in ("--format", name)]
    done("labels", archives_folder, "--out", tmp_path / "old", "--jobs", 1, *words)
    (tmp_path / "old").rename(tmp_path / "new")
    text = told(tmp_path / "new")
    assert all(f"ok labels/{name} " in text for name in formats)
    assert "problem" not in text
    shutil.rmtree(tmp_path / "new" / "labels" / "h36m-fetch" / "processed")
    assert "problem labels/h36m-fetch lacks processed; make it again" in told(tmp_path / "new")


def test_damaged_tags_of_a_video_are_no_damage(raw: Path) -> None:
    path = raw / "S1" / "Videos" / "Walking.54138969.mp4"
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    path.write_bytes(content[:20] + b"\xff" + content[21:])  # a brand that is no text
    assert "problem" not in told(raw)


def test_frames_of_another_tool_are_told(data: Path) -> None:
    name = "s_01_act_14_subact_01_ca_01"
    (data / "manifests" / "images" / f"{name}.json").unlink()
    assert f"note images without a manifest, so made by another tool: {name}" in told(data)


@pytest.mark.parametrize(
    "name", ["images/.s_01_act_02_subact_01_ca_01.partial/x", "labels/mmpose/.a.npz.host-1.partial"]
)
def test_unfinished_parts_are_problems(data: Path, name: str) -> None:
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / name).write_text("x")
    assert "problem unfinished 1 unfinished" in told(data)


def test_findings_come_as_json_too(prepared: Path, data: Path) -> None:
    found = json.loads(done("doctor", prepared, "--json"))
    assert found["problems"] == 0
    assert found["subjects"]["S1"]["images"] == "8"
    assert {"level", "where", "what"} == set(found["findings"][0])
    cut(data / "detections" / "cpn.parquet", 100)
    result = h36m("doctor", data, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == 1


def test_h36m_fetchs_folder_with_its_outputs_is_raw(raw: Path) -> None:
    (raw / "processed" / "S1").mkdir(parents=True)
    assert cells(raw, "S1")["D3_Positions"] == "2/30"


def test_a_folder_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    assert h36m("doctor", tmp_path / "nowhere").exit_code == 2
