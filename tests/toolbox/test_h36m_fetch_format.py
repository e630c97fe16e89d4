from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_data import digests

from h36m_toolbox import RawArchive
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.h36m_fetch import fitted_intrinsics, write_h36m_fetch
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.raw.archive import POSE_KINDS
from h36m_toolbox.selection import in_h36m_fetch, kept_by_h36m_fetch
from h36m_toolbox.sequences import CAMERA_IDS

SHORT_VIEW = "S1/Walking 1.58860488"  # its D2 file has two frames fewer


def pose_files(raw: Path) -> list[PoseFiles]:
    archive = RawArchive.open(raw)
    return [archive.pose_files(sequence) for sequence in archive.sequences(POSE_KINDS)]


def contents(processed: Path) -> dict[str, np.ndarray]:
    """Every dataset of a tree, by folder and name: S1/Walking-1/pose/2d."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(processed.rglob("annot.h5")):
        folder = path.parent.relative_to(processed).as_posix()
        with h5py.File(path) as file:
            names: list[str] = []
            file.visititems(lambda name, item, names=names: names.append(name) if hasattr(item, "dtype") else None)
            found |= {f"{folder}/{name}": file[name][()] for name in names}
    return found


def assert_equal_to_the_official(ours: dict[str, np.ndarray], golden: dict[str, np.ndarray]) -> None:
    assert sorted(ours) == sorted(golden)
    for key, theirs in golden.items():
        assert (ours[key].dtype, ours[key].shape) == (theirs.dtype, theirs.shape), key
        if "/intrinsics" in key:
            np.testing.assert_allclose(ours[key], theirs, rtol=1e-4, atol=0, err_msg=key)
        else:
            np.testing.assert_array_equal(ours[key], theirs, err_msg=key)


@pytest.fixture(scope="module")
def processed(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = write_h36m_fetch(pose_files(unpacked), tmp_path_factory.mktemp("h36m_fetch"))
    assert (report.sequences, report.rows, report.damaged) == (15, 159, ())
    return report.path


def test_annotations_equal_the_official_ones(processed: Path, golden_folder: Path) -> None:
    golden = np.load(golden_folder / "h36m_fetch_annots.npz")
    assert_equal_to_the_official(contents(processed), dict(golden))


def test_every_5th_test_frame_equals_the_official_variant(unpacked: Path, golden_folder: Path, tmp_path: Path) -> None:
    report = write_h36m_fetch(pose_files(unpacked), tmp_path, test_step=5)
    golden = dict(np.load(golden_folder / "h36m_fetch_annots.npz"))
    golden |= dict(np.load(golden_folder / "h36m_fetch_annots_test_every_5th.npz"))  # S9; S1 is as in the default
    assert_equal_to_the_official(contents(report.path), golden)


def test_a_file_has_the_datasets_of_the_official_one(processed: Path, golden_folder: Path) -> None:
    with (
        h5py.File(processed / "S1" / "Walking-1" / "annot.h5") as ours,
        h5py.File(golden_folder / "h36m_fetch_S1_Walking-1_annot.h5") as official,
    ):
        described = [
            [(name, getattr(file[name], "dtype", None), getattr(file[name], "shape", None)) for name in names]
            for file, names in ((file, file_names(file)) for file in (ours, official))
        ]
        assert described[0] == described[1]
        assert len(described[0]) == 17
        assert dict(ours.attrs) == dict(official.attrs) == {}


def file_names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def test_the_folder_has_the_metadatas_action_name(synthetic_raw: Path, tmp_path: Path) -> None:
    report = write_h36m_fetch(pose_files(synthetic_raw), tmp_path)
    assert sorted(path.name for path in (report.path / "S9").iterdir()) == [
        f"{action}-{subaction}" for action in ("Directions", "Eating", "Walking") for subaction in (1, 2)
    ]


def test_a_view_with_a_short_2d_file_is_left_out_and_told(unpacked: Path, tmp_path: Path) -> None:
    report = write_h36m_fetch(pose_files(unpacked), tmp_path)
    reason = "its pose files have different lengths (D2 24, D3 mono 26, D3 mono universal 26)"
    assert report.skipped == {SHORT_VIEW: reason}
    assert report.differences() == [f"{SHORT_VIEW}: left out, as h36m-fetch leaves it out: {reason}"]


def test_the_unreadable_video_of_the_data_set_is_left_out_and_told(synthetic_raw: Path, tmp_path: Path) -> None:
    report = write_h36m_fetch(pose_files(synthetic_raw), tmp_path)
    assert report.skipped == {"S11/Directions.54138969": "its video is unreadable in the official release"}
    with h5py.File(report.path / "S11" / "Directions-2" / "annot.h5") as file:
        assert list(file["intrinsics"]) == list(CAMERA_IDS[1:])


def test_images_of_the_prepared_data_change_nothing(
    processed: Path, prepared: Path, unpacked: Path, tmp_path: Path
) -> None:
    for name in ("images", "manifests"):
        (tmp_path / name).symlink_to(prepared / name)
    assert digests(write_h36m_fetch(pose_files(unpacked), tmp_path).path) == digests(processed)


def test_a_video_that_ends_before_a_selected_frame_leaves_its_view_out(
    prepared: Path, unpacked: Path, tmp_path: Path
) -> None:
    name = "s_09_act_14_subact_01_ca_01"  # 131 poses: frames 0, 64, 128
    manifest = json.loads((prepared / "manifests" / "images" / f"{name}.json").read_text())
    (tmp_path / "manifests" / "images").mkdir(parents=True)
    for decoded, left_out in ((129, False), (128, True), (0, True)):
        (tmp_path / "manifests" / "images" / f"{name}.json").write_text(
            json.dumps({**manifest, "decoded_frames": decoded})
        )
        skipped = write_h36m_fetch(pose_files(unpacked), tmp_path).skipped
        assert ("S9/Walking 1.54138969" in skipped) == left_out
    assert skipped["S9/Walking 1.54138969"] == "its video gives 0 frames, frame 128 is selected"


def test_an_empty_image_folder_leaves_its_view_out(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "s_01_act_14_subact_02_ca_02").mkdir(parents=True)
    report = write_h36m_fetch(pose_files(unpacked), tmp_path)
    assert "s_01_act_14_subact_02_ca_02 is empty" in report.skipped["S1/Walking.55011271"]
    with h5py.File(report.path / "S1" / "Walking-2" / "annot.h5") as file:
        assert list(np.unique(file["camera"])) == [54138969, 58860488, 60457274]
        assert "55011271" not in file["intrinsics-univ"]


def test_a_recording_that_lost_all_its_views_has_no_file(unpacked: Path, tmp_path: Path) -> None:
    written = write_h36m_fetch(pose_files(unpacked), tmp_path).path / "S9" / "Walking-2" / "annot.h5"
    assert written.is_file()
    for camera in range(1, 5):
        (tmp_path / "images" / f"s_09_act_14_subact_02_ca_0{camera}").mkdir(parents=True)
    report = write_h36m_fetch(pose_files(unpacked), tmp_path)
    assert report.sequences == 11
    assert not written.exists()


def test_a_damaged_pose_file_leaves_its_view_out_and_is_told(unpacked: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for source in unpacked.rglob("*.cdf"):
        target = raw / source.relative_to(unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()[: 500 if source.name == "Walking.54138969.cdf" else None])
    report = write_h36m_fetch(pose_files(raw), tmp_path)
    assert report.sequences == 13
    assert len(report.damaged) == 2
    assert all("Walking.54138969.cdf" in damage for damage in report.damaged)


def test_several_processes_write_the_same_bytes(processed: Path, unpacked: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    files = pose_files(unpacked)
    report = write_h36m_fetch(files, tmp_path, jobs=2, progress=lambda sequence: seen.append(str(sequence)))
    assert digests(report.path) == digests(processed)
    assert seen == [str(item.sequence) for item in files]


@pytest.mark.parametrize("step", [0, -5])
def test_a_step_that_is_no_step_is_refused(unpacked: Path, tmp_path: Path, step: int) -> None:
    with pytest.raises(H36MError, match=f"frame step must be 1 or more; got {step}"):
        write_h36m_fetch(pose_files(unpacked), tmp_path, test_step=step)


def test_the_selection_of_a_view_is_that_of_the_label_table(unpacked: Path) -> None:
    for files in pose_files(unpacked):
        if str(files.sequence) != SHORT_VIEW:
            poses = files.read()
            kept = kept_by_h36m_fetch(files.sequence.subject, poses.universal)
            np.testing.assert_array_equal(kept, in_h36m_fetch(poses))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), camera=st.sampled_from(CAMERA_IDS))
def test_the_fit_finds_the_lens_of_an_ideal_camera(seed: int, camera: str) -> None:
    lens = h36m_camera("S1", camera)
    points = np.random.default_rng(seed).normal(0, 400, (7, 32, 3)) + [0, 0, 5000]
    found = fitted_intrinsics(lens.project_linear(points), points)
    expected = (lens.focal[0], lens.principal[0], lens.focal[1], lens.principal[1])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
