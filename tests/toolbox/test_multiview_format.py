from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.multiview import (
    ACTION_NAMES,
    BOXES_NAME,
    LABELS_NAME,
    camera_array,
    recording_rows,
    write_multiview,
)
from h36m_toolbox.frames.crops import squared_boxes
from h36m_toolbox.frames.manifests import ImageManifest
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.raw.archive import POSE_KINDS, Kind, RawArchive
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording, Sequence

# of the official label cameras
ATOL = {"R": 1e-6, "t": 1e-3, "K": 1e-3, "dist": 1e-7}


@pytest.fixture(scope="module")
def whole_archive(archives_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RawArchive:
    """Poses and masks of the reduced archive, unpacked."""
    into = tmp_path_factory.mktemp("whole") / "raw"
    RawArchive.open(archives_folder).unpacked((*POSE_KINDS, Kind.MASK), into)
    return RawArchive.open(into)


@pytest.fixture
def own_raw(whole_archive: RawArchive, tmp_path: Path) -> Path:
    """A copy of the unpacked archive that a test may damage."""
    return Path(shutil.copytree(whole_archive.root, tmp_path / "raw"))


def pose_files(archive: RawArchive) -> list[PoseFiles]:
    return [archive.pose_files(sequence) for sequence in archive.sequences(POSE_KINDS)]


def official_object(path: Path) -> dict:
    return np.load(path, allow_pickle=True).item()


def written_object(data: Path, name: str) -> dict:
    return official_object(data / "labels" / "multiview" / name)


@pytest.mark.parametrize(("test_step", "golden"), [(64, "multiview_labels"), (5, "multiview_labels_test_every_5th")])
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_table_is_the_official_one(
    whole_archive: RawArchive, golden_folder: Path, tmp_path: Path, test_step: int, golden: str, jobs: int
) -> None:
    report = write_multiview(whole_archive, pose_files(whole_archive), tmp_path, test_step, jobs)["labels"]
    official = official_object(golden_folder / f"{golden}.npy")
    ours = official_object(report.path)
    assert list(ours) == list(official)
    for names in ("subject_names", "camera_names", "action_names"):
        assert ours[names] == official[names]
    assert ours["table"].dtype == official["table"].dtype
    assert ours["table"].tobytes() == official["table"].tobytes()
    assert report.rows == len(official["table"])
    assert ours["cameras"].dtype == official["cameras"].dtype
    for field, tolerance in ATOL.items():
        np.testing.assert_allclose(ours["cameras"][field], official["cameras"][field], rtol=0, atol=tolerance)


def test_the_boxes_are_the_official_ones(whole_archive: RawArchive, golden_folder: Path, tmp_path: Path) -> None:
    report = write_multiview(whole_archive, pose_files(whole_archive), tmp_path)["boxes"]
    official = official_object(golden_folder / BOXES_NAME)
    ours = official_object(report.path)
    assert list(ours) == list(official)
    for subject, actions in official.items():
        assert list(ours[subject]) == list(actions)
        for action, views in actions.items():
            assert list(ours[subject][action]) == list(views)
            for camera, boxes in views.items():
                assert ours[subject][action][camera].dtype == boxes.dtype
                np.testing.assert_array_equal(ours[subject][action][camera], boxes)
    assert (report.sequences, report.rows) == (16, 994)


def test_numpy_1_can_read_both_files(whole_archive: RawArchive, tmp_path: Path) -> None:
    for report in write_multiview(whole_archive, pose_files(whole_archive), tmp_path).values():
        content = report.path.read_bytes()
        assert b"numpy._core" not in content
        assert b"numpy.core.multiarray" in content
        assert content.startswith(b"\x93NUMPY\x01\x00")


def test_masks_still_in_their_archives_are_unpacked(archives_folder: Path, tmp_path: Path) -> None:
    archive = RawArchive.open(archives_folder).unpacked(POSE_KINDS, tmp_path / "raw")
    assert not list((tmp_path / "raw").rglob("*.mat"))
    assert write_multiview(archive, pose_files(archive), tmp_path)["labels"].rows == 43


def test_progress_tells_of_every_view(whole_archive: RawArchive, tmp_path: Path) -> None:
    told: list[Sequence] = []
    write_multiview(whole_archive, pose_files(whole_archive), tmp_path, progress=told.append)
    assert told == whole_archive.sequences(POSE_KINDS)


def test_a_view_that_h36m_fetch_fails_on_is_missing_and_told(whole_archive: RawArchive, tmp_path: Path) -> None:
    report = write_multiview(whole_archive, pose_files(whole_archive), tmp_path)["labels"]
    assert report.differences() == [
        "S1/Walking 1.58860488: missing view, its pose files differ in length: universal 26, camera 26, image 24"
    ]
    table = written_object(tmp_path, LABELS_NAME)["table"]
    of_recording = (table["subject_idx"] == 0) & (table["action_idx"] == ACTION_NAMES.index("Walking-1"))
    missing = (table["bbox_by_camera_tlbr"] == 0).all(axis=-1)
    assert missing[of_recording].tolist() == [[False, False, True, False]] * 13
    assert not missing[~of_recording].any()
    assert report.sequences == 15


@pytest.mark.parametrize("subjects", [("S1", "S9"), ("S9",)])
def test_missing_masks_name_the_archives(own_raw: Path, tmp_path: Path, subjects: tuple[str, ...]) -> None:
    for subject in subjects:
        shutil.rmtree(own_raw / subject / "MySegmentsMat")
    archive = RawArchive.open(own_raw)
    archives = ", ".join(f"Segments_mat_gt_bb_{subject}.tgz" for subject in subjects)
    with pytest.raises(H36MError, match=rf"no segment masks \(Segments_mat_gt_bb_S\*\.tgz\).*get {archives} from"):
        write_multiview(archive, pose_files(archive), tmp_path)
    assert not (tmp_path / "labels").exists()


def test_a_step_of_none_is_refused(whole_archive: RawArchive, tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="step between test frames must be 1 or more; got 0"):
        write_multiview(whole_archive, pose_files(whole_archive), tmp_path, test_step=0)


def test_a_damaged_mask_file_and_one_that_is_not_there_leave_views_without_boxes(own_raw: Path, tmp_path: Path) -> None:
    folder = own_raw / "S9" / "MySegmentsMat" / "ground_truth_bb"
    damaged = folder / "Walking 1.54138969.mat"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    (folder / "Walking.55011271.mat").unlink()
    archive = RawArchive.open(own_raw)
    reports = write_multiview(archive, pose_files(archive), tmp_path)
    assert len(reports["boxes"].damaged) == 1
    assert str(damaged) in reports["boxes"].damaged[0]
    assert reports["boxes"].sequences == 14
    lines = reports["labels"].differences()
    assert "S9/Walking 1.54138969: 3 of 3 instants without a mask, their box is 0 0 0 0" in lines
    assert "S9/Walking.55011271: 1 of 1 instants without a mask, their box is 0 0 0 0" in lines
    table = written_object(tmp_path, LABELS_NAME)["table"]
    assert len(table) == 43
    assert (table["bbox_by_camera_tlbr"][-4:-1, 0] == 0).all()
    assert (table["bbox_by_camera_tlbr"][-4:, 2:] != 0).any(axis=-1).all()


def test_damaged_poses_leave_out_their_view_and_are_told(own_raw: Path, tmp_path: Path) -> None:
    path = own_raw / "S9" / "MyPoseFeatures" / "D3_Positions_mono_universal" / "Walking 1.54138969.cdf"
    path.write_bytes(path.read_bytes()[:400])
    archive = RawArchive.open(own_raw)
    report = write_multiview(archive, pose_files(archive), tmp_path)["labels"]
    assert len(report.damaged) == 1
    assert str(path) in report.damaged[0]
    assert (report.sequences, report.rows) == (14, 43)


def made_up(recording: Recording, camera: str, frames: int) -> SequencePoses:
    pose = np.zeros((frames, 32, 3), np.float32)
    return SequencePoses(recording.view(camera), pose, pose, pose, pose[..., :2])


def test_masks_that_end_before_the_poses_leave_later_boxes_empty() -> None:
    views = [made_up(Recording("S9", "Eating", 1), camera, 130) for camera in CAMERA_IDS]
    boxes = {camera: np.full((100, 4), (1, 2, 3, 4), np.int32) for camera in CAMERA_IDS[:2]}
    rows = recording_rows(views, boxes)
    assert rows["frame_idx"].tolist() == [0, 64, 128]
    assert rows["bbox_by_camera_tlbr"].any(axis=-1).tolist() == [[True, True, False, False]] * 2 + [[False] * 4]


def test_the_unreadable_view_of_s11_is_missing(own_raw: Path, tmp_path: Path) -> None:
    for path in list((own_raw / "S9").rglob("Walking 1.*")):
        name = path.name.replace("Walking 1", Recording("S11", "Directions", 2).stem)
        target = own_raw / "S11" / path.parent.relative_to(own_raw / "S9") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    archive = RawArchive.open(own_raw)
    report = write_multiview(archive, pose_files(archive), tmp_path)["labels"]
    assert (
        "S11/Directions.54138969: missing view, its video is unreadable in the official release" in report.differences()
    )
    table = written_object(tmp_path, LABELS_NAME)["table"]
    of_s11 = table[table["subject_idx"] == SUBJECTS.index("S11")]
    assert of_s11["bbox_by_camera_tlbr"].any(axis=-1).tolist() == [[False, True, True, True]] * 3


def test_a_view_whose_video_gave_too_few_frames_is_missing(whole_archive: RawArchive, tmp_path: Path) -> None:
    view = Recording("S9", "Walking", 1).views[0]
    manifest = ImageManifest(view.folder, "v.mp4", 1, 1, 88, "4:2:0", 1000, 1002, 100, 100, 1, "ends early")
    path = tmp_path / "manifests" / "images" / f"{view.folder}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(manifest)))
    report = write_multiview(whole_archive, pose_files(whole_archive), tmp_path)["labels"]
    assert f"{view}: missing view, its video gives 100 frames, frame 128 is selected" in report.differences()
    assert (report.sequences, report.rows) == (14, 43)


def test_instants_beyond_the_world_poses_are_left_out_and_told(own_raw: Path, tmp_path: Path) -> None:
    world = own_raw / "S9" / "MyPoseFeatures" / "D3_Positions"
    shutil.copyfile(world / "Walking.cdf", world / "Walking 1.cdf")  # 29 frames for 131
    archive = RawArchive.open(own_raw)
    report = write_multiview(archive, pose_files(archive), tmp_path)["labels"]
    assert "S9/Walking 1: 2 instants left out, the world poses end at 29 frames" in report.differences()
    assert report.rows == 41


def test_squares_have_the_longer_side_and_round_half_to_even() -> None:
    boxes = np.array([[10, 20, 20, 30], [10, 20, 13, 30], [11, 20, 14, 30], [0, 5, 100, 8], [0, 7, 31, 20]], np.int32)
    squares = squared_boxes(boxes)
    np.testing.assert_array_equal(squares[:3], [[10, 20, 20, 30], [6, 20, 16, 30], [8, 20, 18, 30]])
    np.testing.assert_array_equal(squares[3:], [[0, -44, 100, 56], [0, -2, 31, 29]])
    assert squares.dtype == np.int32


def test_the_label_cameras_project_as_the_calibration_without_distortion() -> None:
    points = np.random.default_rng(0).uniform(-1000, 1000, (20, 3))
    cameras = camera_array()
    for i, subject in enumerate(SUBJECTS):
        for j, name in enumerate(CAMERA_IDS):
            camera = h36m_camera(subject, name)
            one = {field: cameras[field][i, j].astype(np.float64) for field in ("R", "t", "K")}
            projected = one["K"] @ (one["R"] @ points.T + one["t"])
            expected = camera.project_linear(camera.world_to_camera(points))
            np.testing.assert_allclose((projected[:2] / projected[2]).T, expected, rtol=0, atol=1e-3)
