"""The synthetic archive: the original's folders, names and formats, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import cdflib
import h5py
import numpy as np
import pytest

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.cdf import write_pose_cdf
from h36m_toolbox.sequences import CAMERA_IDS, Recording
from h36m_toolbox.skeletons import H36M_17, H36M_32, SH_16
from h36m_toolbox.synthetic.archive import (
    DEMO_PLAN,
    SyntheticPlan,
    SyntheticReport,
    full_size_plan,
    plan_of_size,
    write_synthetic_archive,
)

FRAMES = 7
PLAN = SyntheticPlan(("S1", "S11"), ("Directions", "TakingPhoto"), frames=FRAMES, videos=False)
FILMED = SyntheticPlan(("S9",), ("Sitting",), (2,), ("54138969", "58860488"), frames=3, detections=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> SyntheticReport:
    return write_synthetic_archive(tmp_path_factory.mktemp("synthetic"), PLAN)


@pytest.fixture(scope="module")
def root(written: SyntheticReport) -> Path:
    return written.root


def raw_pose(path: Path) -> np.ndarray:
    with cdflib.CDF(path) as cdf:
        info = cdf.cdf_info()
        assert [*info.rVariables, *info.zVariables] == ["Pose"]
        return cdf.varget("Pose")


def poses(path: Path) -> np.ndarray:
    return raw_pose(path)[0].reshape(FRAMES, 32, -1)


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_have_the_names_of_the_original(root: Path) -> None:
    features = root / "S1" / "MyPoseFeatures"
    stems = {"Directions 1", "Directions", "TakingPhoto 1", "TakingPhoto"}
    views = {f"{stem}.{camera}.cdf" for stem in stems for camera in CAMERA_IDS}
    assert {path.name for path in (features / "D3_Positions").iterdir()} == {f"{stem}.cdf" for stem in stems}
    for folder in ("D3_Positions_mono", "D3_Positions_mono_universal", "D2_Positions"):
        assert {path.name for path in (features / folder).iterdir()} == views
    eleven = {path.stem for path in (root / "S11" / "MyPoseFeatures" / "D3_Positions").iterdir()}
    assert eleven == {"Directions 1", "Directions", "Photo 1", "Photo"}


def test_pose_files_hold_one_float32_variable_with_joints_interleaved(root: Path) -> None:
    features = root / "S1" / "MyPoseFeatures"
    for path in features.rglob("*.cdf"):
        pose = raw_pose(path)
        assert pose.dtype == np.float32
        assert pose.shape == (1, FRAMES, 64 if path.parent.name == "D2_Positions" else 96)


@pytest.mark.parametrize("subject", PLAN.subjects)
@pytest.mark.parametrize("camera_id", CAMERA_IDS)
def test_camera_poses_are_the_world_poses_seen_by_the_real_camera(root: Path, subject: str, camera_id: str) -> None:
    camera, features = h36m_camera(subject, camera_id), root / subject / "MyPoseFeatures"
    world = poses(features / "D3_Positions" / "Directions 1.cdf").astype(np.float64)
    mono = poses(features / "D3_Positions_mono" / f"Directions 1.{camera_id}.cdf").astype(np.float64)
    pixels = poses(features / "D2_Positions" / f"Directions 1.{camera_id}.cdf")
    np.testing.assert_allclose(mono, camera.world_to_camera(world), atol=2e-3)  # float32 at 6 m
    np.testing.assert_allclose(pixels, camera.project(mono), atol=1e-3)
    assert world[..., 2].min() > 0


def test_universal_poses_have_common_bones_and_lie_in_the_direction_of_the_own_ones(root: Path) -> None:
    lengths = []
    for subject in PLAN.subjects:
        name = f"Directions.{CAMERA_IDS[2]}.cdf"
        features = root / subject / "MyPoseFeatures"
        universal = poses(features / "D3_Positions_mono_universal" / name).astype(np.float64)
        mono = poses(features / "D3_Positions_mono" / name).astype(np.float64)
        scale = universal[:, 0] / mono[:, 0]
        np.testing.assert_allclose(scale, scale[0, 0], rtol=1e-5)
        assert 0.9 < scale[0, 0] < 1.1
        parents, children = np.array(H36M_32.bones).T
        lengths.append(np.linalg.norm(universal[:, children] - universal[:, parents], axis=-1))
    np.testing.assert_allclose(np.concatenate(lengths), np.broadcast_to(lengths[0][0], (2 * FRAMES, 31)), atol=2e-3)


def test_the_same_plan_gives_the_same_bytes_whatever_the_number_of_jobs(root: Path, tmp_path: Path) -> None:
    done: list[Recording] = []
    write_synthetic_archive(tmp_path, PLAN, jobs=2, progress=done.append)
    assert done == PLAN.recordings
    assert digests(tmp_path) == digests(root)


def test_a_second_run_and_another_seed(root: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, subjects=("S1",), subactions=(1,))
    write_synthetic_archive(tmp_path, plan)
    first = digests(tmp_path)
    write_synthetic_archive(tmp_path, plan)
    assert digests(tmp_path) == first
    write_synthetic_archive(tmp_path, replace(plan, seed=1))
    assert digests(tmp_path).keys() == first.keys()
    assert all(digest != first[path] for path, digest in digests(tmp_path).items())


def test_videos_are_longer_than_the_poses_and_the_same_every_time(tmp_path: Path) -> None:
    report = write_synthetic_archive(tmp_path / "one", FILMED)
    write_synthetic_archive(tmp_path / "two", FILMED, jobs=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    counts = {}
    for path in (tmp_path / "one" / "S9" / "Videos").iterdir():
        with av.open(path) as container:
            counts[path.name] = sum(1 for _ in container.decode(video=0))
    assert counts == {"Sitting.54138969.mp4": 4, "Sitting.58860488.mp4": 7}
    assert (report.videos, report.video_frames) == (2, 11)


def test_cpn_detections_are_videopose3ds_file(root: Path) -> None:
    with np.load(root / "detections" / "data_2d_h36m_cpn_ft_h36m_dbb.npz", allow_pickle=True) as file:
        positions, metadata = file["positions_2d"].item(), file["metadata"].item()
    assert metadata == {
        "layout_name": "h36m",
        "num_joints": 17,
        "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    }
    assert list(positions["S1"]) == ["Directions 1", "Directions", "Photo 1", "Photo"]
    assert list(positions["S11"]) == ["Directions 1", "Photo 1", "Photo"]  # as in the downloaded file
    for subject, names in positions.items():
        for name, views in names.items():
            assert [view.shape for view in views] == [(FRAMES + extra, 17, 2) for extra in (1, 3, 4, 2)]
            assert {view.dtype for view in views} == {np.dtype(np.float32)}
            if name == "Directions 1":
                truth = pixels_of(root, subject)
                errors = np.stack([view[:FRAMES] for view in views]) - truth
                assert 1 < np.median(np.linalg.norm(errors, axis=-1)) < 8


def pixels_of(root: Path, subject: str) -> np.ndarray:
    folder = root / subject / "MyPoseFeatures" / "D2_Positions"
    views = [poses(folder / f"Directions 1.{camera}.cdf") for camera in CAMERA_IDS]
    return H36M_32.select(np.stack(views), H36M_17.joints)


def test_hourglass_detections_are_a_tar_of_one_file_a_view(root: Path) -> None:
    with tarfile.open(root / "detections" / "stacked_hourglass_fined_tuned_240.tar.gz") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    assert len(members) == 8 * 4 - 1
    assert "S11/StackedHourglassFineTuned240/Directions.54138969.h5" not in members  # its video is unreadable
    with h5py.File(io.BytesIO(members["S1/StackedHourglassFineTuned240/Photo_1.58860488.h5"])) as file:
        assert file["poses"].shape == (FRAMES + 4, 16, 2) and file["poses"].dtype == np.float32
    with h5py.File(io.BytesIO(members["S1/StackedHourglassFineTuned240/Directions_1.54138969.h5"])) as file:
        found = file["poses"][:FRAMES]
    name = f"Directions 1.{CAMERA_IDS[0]}.cdf"
    truth = H36M_32.select(poses(root / "S1" / "MyPoseFeatures" / "D2_Positions" / name), SH_16.joints)
    assert 1 < np.median(np.linalg.norm(found - truth, axis=-1)) < 12


def test_the_report_counts_what_is_there(written: SyntheticReport) -> None:
    files = [path for path in written.root.rglob("*") if path.is_file()]
    assert (written.recordings, written.poses, written.videos) == (8, 8 * 4 * FRAMES, 0)
    assert (written.files, written.size_bytes) == (len(files), sum(path.stat().st_size for path in files))


def test_the_full_size_plan_has_the_data_sets_own_lengths() -> None:
    plan = full_size_plan()
    assert sum(plan.pose_frames(recording) * len(plan.cameras) for recording in plan.recordings) == 2_110_396
    assert sum(plan.video_frames(view) for recording in plan.recordings for view in recording.views) == 2_137_064
    assert not plan.videos


def test_plans_are_found_by_size_and_changed_by_field() -> None:
    assert plan_of_size("demo") == DEMO_PLAN
    assert plan_of_size("full", subjects=("S9",), seed=3) == replace(full_size_plan(), subjects=("S9",), seed=3)
    with pytest.raises(H36MError, match="sizes are demo, full"):
        plan_of_size("huge")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": ("S12",)}, "no poses of S12"),
        ({"actions": ("Dancing",)}, "no recording S1 Dancing"),
        ({"cameras": ("12345678",)}, "no camera 12345678"),
        ({"frames": 0}, "0 frames"),
        ({"subjects": ()}, "empty"),
    ],
)
def test_a_plan_beyond_the_data_set_is_refused_before_anything_is_written(
    changes: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(H36MError, match=message):
        write_synthetic_archive(tmp_path / "new", replace(PLAN, **changes))
    assert not (tmp_path / "new").exists()


def test_a_root_that_is_a_file_and_no_jobs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(H36MError, match="is a file"):
        write_synthetic_archive(tmp_path / "file", PLAN)
    with pytest.raises(H36MError, match="jobs"):
        write_synthetic_archive(tmp_path / "new", PLAN, jobs=0)


@pytest.mark.parametrize("shape", [(5, 17, 3), (5, 32, 4), (0, 32, 3), (32, 3)])
def test_poses_of_another_shape_are_no_pose_file(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="32"):
        write_pose_cdf(tmp_path / "Walking.cdf", np.zeros(shape))
    assert list(tmp_path.iterdir()) == []
