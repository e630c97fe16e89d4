"""Integral Human Pose's meta files, against what its HM36 class made of such a file and of whole sets."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from synthetic_data import digests, done, h36m

from h36m_toolbox import RawArchive, read_labels
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.integral import integral_folder, integral_meta_path, pose_lines, read_integral_meta
from h36m_toolbox.pose_tables import pose_array, sequence_code, sequence_codes
from h36m_toolbox.raw.cdf import read_pose_cdf, write_pose_cdf
from h36m_toolbox.sequences import ACTIONS, TEST_SUBJECTS, TRAIN_SUBJECTS, Sequence, sequences

OFFICIAL = Path(__file__).parents[1] / "data" / "integral_format"
VIEW = Sequence("S1", "Walking", 1, "54138969")


@pytest.fixture(scope="module")
def exported(prepared: Path, unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with the frames of the reduced archive and its integral labels."""
    data = tmp_path_factory.mktemp("integral") / "data"
    data.mkdir()
    (data / "images").symlink_to(prepared / "images")
    (data / "manifests").symlink_to(prepared / "manifests")
    done("labels", unpacked, "--out", data, "--format", "integral", "--jobs", 1)
    return data


def as_the_class_reads(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Camera-frame joints (frames, 17, 3) and ideal pixels (frames, 17, 2), by the documented steps of its loader."""
    lines = path.read_text().split("\n")
    after_first = [[float(word) for word in line.split(" ")[1:]] for line in lines[1:]]
    rotation, center = np.reshape(after_first[1], (3, 3)).T, np.array(after_first[2])
    joints = np.array(after_first[7], int) - 1
    world = np.reshape(after_first[8 : 8 + int(lines[0])], (-1, 32, 3))
    camera = (world[:, joints] - center) @ rotation.T
    return camera, camera[..., :2] / camera[..., 2:] * after_first[3] + after_first[4]


def test_a_meta_file_means_what_the_official_class_makes_of_it() -> None:
    golden = np.load(OFFICIAL / "hm36_label.npz")
    meta = read_integral_meta(OFFICIAL / "matlab_meta.txt")
    camera = meta.camera.world_to_camera(meta.world[:, list(meta.joints)])
    np.testing.assert_allclose(camera, golden["joints_3d_cam"][:, :17], rtol=1e-8)
    np.testing.assert_allclose(camera[:, 0], golden["pelvis"], rtol=1e-8)
    np.testing.assert_allclose(meta.camera.project_linear(camera), golden["joints_3d"][:, :17, :2], rtol=1e-8)
    np.testing.assert_array_equal(meta.camera.focal, golden["fl"][0])
    np.testing.assert_array_equal(meta.camera.principal, golden["c_p"][0])


def test_the_class_gets_our_camera_frame_poses_out_of_our_files(exported: Path, prepared: Path) -> None:
    labels = {split: read_labels(prepared, split) for split in ("train", "val")}
    for path in sorted((exported / "labels" / "integral" / "annot").glob("*/matlab_meta.txt")):
        view = next(view for view in sequences() if view.folder == path.parent.name)
        table = labels["train" if view.subject == "S1" else "val"]
        rows = np.flatnonzero(sequence_codes(table) == sequence_code(view))
        camera, pixels = as_the_class_reads(path)
        # the archive's camera-frame files are float32 at 5 m: half a unit in the last place is 2.4e-4 mm
        expected = pose_array(table, "joints_3d_camera")[rows]
        np.testing.assert_allclose(camera[: len(rows)], expected, atol=1e-3)
        assert np.abs(pixels[: len(rows)] - pose_array(table, "joints_2d")[rows]).max() < 15  # no lens distortion


def test_world_poses_come_back_to_the_last_bit(exported: Path, unpacked: Path) -> None:
    archive = RawArchive.open(unpacked)
    meta = read_integral_meta(integral_meta_path(exported, VIEW))
    world = archive.read_poses(VIEW).world
    np.testing.assert_array_equal(meta.world.astype(np.float32), world)
    assert meta.joints == (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
    assert meta.camera.size == (1000, 1002)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.float32, (2, 32, 3), elements=st.floats(-1e7, 1e7, width=32)))
def test_every_float32_survives_its_decimals(world: np.ndarray) -> None:
    lines = pose_lines(world)
    assert [line.split(" ")[0] for line in lines] == ["1", "2"]
    numbers = [[float(word) for word in line.split(" ")[1:]] for line in lines]
    np.testing.assert_array_equal(np.array(numbers, np.float32).reshape(2, 32, 3), world)


def test_every_frame_of_a_meta_file_has_its_image_where_the_class_looks(exported: Path) -> None:
    root, count = integral_folder(exported), 0
    for path in (root / "annot").glob("*/matlab_meta.txt"):
        folder = path.parent.name
        for number in range(1, int(path.read_text().split("\n")[0]) + 1):
            assert (root / "images" / folder / f"{folder}_{number:06d}.jpg").is_file()
            count += 1
    assert count == 880
    assert (root / "images").readlink() == Path("..", "..", "images")


def test_folders_are_those_of_the_official_sets() -> None:
    parts = {
        "train": (TRAIN_SUBJECTS, ACTIONS),
        "valid": (TEST_SUBJECTS, ACTIONS),
        "act00": (TEST_SUBJECTS, ACTIONS[:1]),
        "act14": (TEST_SUBJECTS, ACTIONS[14:]),
    }
    for name, official in json.loads((OFFICIAL / "image_sets.json").read_text()).items():
        folders = [integral_meta_path(Path(), view).parent.name for view in sequences(*parts[name])]
        assert len(folders) == official["folders"]
        assert hashlib.sha1("\n".join(folders).encode()).hexdigest() == official["sha1_of_newline_joined"]


def test_processes_and_a_second_run_give_the_same_bytes(exported: Path, unpacked: Path) -> None:
    annot = integral_folder(exported) / "annot"
    before = digests(annot)
    output = done("labels", unpacked, "--out", exported, "--format", "integral", "--jobs", 2)
    assert digests(annot) == before
    assert len(before) == 16
    assert "S9: 8 of 120 folders; the official class opens all of its subjects" in output
    assert f"16 sequences, 880 rows in {integral_folder(exported)}" in output


def test_what_the_class_will_not_find_is_told(tmp_path: Path, unpacked: Path, prepared: Path) -> None:
    """Frames of a sparse extraction, a video that ends early, a video without a frame."""
    manifests = tmp_path / "manifests" / "images"
    shutil.copytree(prepared / "manifests" / "images", manifests)
    changes = {
        "s_01_act_14_subact_01_ca_01": {"select": "every:5"},
        "s_01_act_14_subact_01_ca_02": {"decoded_frames": 7},
        "s_01_act_14_subact_01_ca_03": {"decoded_frames": 0},
        "s_01_act_14_subact_01_ca_04": {"packed": True},
    }
    for folder, change in changes.items():
        values = json.loads((manifests / f"{folder}.json").read_text())
        (manifests / f"{folder}.json").write_text(json.dumps({**values, **change}))
    output = done("labels", unpacked, "--out", tmp_path, "--format", "integral", "--jobs", 1)
    assert "S1/Walking 1.54138969: DATA/images has its frames every:5, the official class draws from all" in output
    assert "S1/Walking 1.55011271: cut to 7 frames of its video, it has 26 poses" in output
    assert "S1/Walking 1.58860488: its video gives no frame, the official class will miss its images" in output
    assert "S1/Walking 1.60457274: its frames are packed, the official class reads loose files" in output
    assert len(read_integral_meta(integral_meta_path(tmp_path, VIEW.recording.view("55011271"))).world) == 7


def test_a_damaged_world_file_leaves_its_views_out_and_is_told(tmp_path: Path, unpacked: Path) -> None:
    raw = tmp_path / "raw"
    world = raw / "S1" / "MyPoseFeatures" / "D3_Positions"
    shutil.copytree(unpacked / "S1" / "MyPoseFeatures" / "D3_Positions", world)
    write_pose_cdf(world / "Walking.cdf", read_pose_cdf(world / "Walking.cdf", 3)[:3])
    command = ("labels", raw, "--out", tmp_path / "data", "--format", "integral", "--jobs", 1)
    done(*command)
    (world / "Walking 1.cdf").write_bytes((world / "Walking 1.cdf").read_bytes()[:500])
    result = h36m(*command)
    assert result.exit_code == 1
    assert f"left out: {world / 'Walking 1.cdf'}" in result.output
    assert "4 sequences, 12 rows" in result.output
    assert not integral_meta_path(tmp_path / "data", VIEW).exists()  # nothing of the earlier run is left to mislead


def test_frames_that_the_user_put_there_are_left_alone(tmp_path: Path, unpacked: Path) -> None:
    own = integral_folder(tmp_path) / "images"
    own.mkdir(parents=True)
    (own / "mine.txt").touch()
    done("labels", unpacked, "--out", tmp_path, "--format", "integral", "--jobs", 1)
    assert [path.name for path in own.iterdir()] == ["mine.txt"]
    assert not own.is_symlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["five", *lines[1:]], "line 1 is 'five', of 14 lines; expected the number of frames"),
        (lambda lines: ["99999999999", *lines[1:]], "line 1 is '99999999999', of 14 lines"),
        (lambda lines: [*lines[:8], lines[8].replace(" 28", " 33"), *lines[9:]], "line 9 names joints"),
        (lambda lines: [*lines[:2], "R 1 2 3", *lines[3:]], "line 3 of 14 has not 9 numbers"),
        (lambda lines: lines[:-1], "line 14 of 13 has not 96 numbers"),
        (lambda lines: [*lines[:-1], lines[-1].replace(" ", "  ", 3)], "line 14 of 14 has not 96 numbers"),
        (lambda lines: [], "expected the number of frames"),
    ],
)
def test_a_meta_file_of_another_form_is_refused_with_its_line(tmp_path: Path, change: object, message: str) -> None:
    assert callable(change)
    lines = (OFFICIAL / "matlab_meta.txt").read_text().splitlines()
    (tmp_path / "meta.txt").write_text("\n".join(change(lines)))
    with pytest.raises(H36MError, match=message):
        read_integral_meta(tmp_path / "meta.txt")
