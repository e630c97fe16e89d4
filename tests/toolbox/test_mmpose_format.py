"""mmpose's `annotation_body3d/` against the outputs of its own script on the reduced archive (S1 and S9, Walking)."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from h36m_toolbox import RawArchive
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.mmpose import MmposeReport, write_mmpose
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.raw.archive import POSE_KINDS
from h36m_toolbox.raw.cdf import write_pose_cdf
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.storage.npz_stream import StreamedArray, write_npz
from h36m_toolbox.storage.safe_pickle import read_plain_pickle

CAMERAS = Path(__file__).parents[1] / "data" / "cameras" / "mmpose_cameras.json"
SPLIT_NAMES = {"train": "train", "val": "test"}
STATISTICS = {
    "joint2d_stats": (17, 2),
    "joint2d_rel_stats": (16, 2),
    "joint3d_stats": (17, 3),
    "joint3d_rel_stats": (16, 3),
}


def pose_files(raw: Path, subjects: tuple[str, ...] = ("S1", "S9", "S11")) -> list[PoseFiles]:
    archive = RawArchive.open(raw)
    return [archive.pose_files(each) for each in archive.sequences(POSE_KINDS) if each.subject in subjects]


def annotations(data: Path) -> Path:
    return data / "labels" / "mmpose" / "annotation_body3d"


@pytest.fixture(scope="module")
def exported(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, MmposeReport | None]]:
    data = tmp_path_factory.mktemp("mmpose")
    reports = write_mmpose(pose_files(unpacked), data)
    return annotations(data), reports


@pytest.mark.parametrize("fps", ["fps50", "fps10"])
@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_npz_files_equal_the_official_ones(
    exported: tuple[Path, dict[str, MmposeReport | None]], golden_folder: Path, fps: str, split: str
) -> None:
    folder, reports = exported
    ours = np.load(folder / fps / f"h36m_{SPLIT_NAMES[split]}.npz")
    golden = np.load(golden_folder / f"mmpose_{fps}_{SPLIT_NAMES[split]}.npz")
    assert list(ours) == list(golden) == ["imgname", "center", "scale", "part", "S"]
    for key in golden:
        assert (ours[key].dtype, ours[key].shape) == (golden[key].dtype, golden[key].shape), key
        np.testing.assert_array_equal(ours[key], golden[key], err_msg=key)
    report = reports[f"{fps}/{split}"]
    assert report is not None
    assert report.rows == report.names == len(golden["S"])
    assert (report.path, report.sequences) == (folder / fps / f"h36m_{SPLIT_NAMES[split]}.npz", 8)


@pytest.mark.parametrize("fps", ["fps50", "fps10"])
def test_statistics_equal_the_official_ones(
    exported: tuple[Path, dict[str, MmposeReport | None]], golden_folder: Path, fps: str
) -> None:
    golden = json.loads((golden_folder / f"mmpose_{fps}_stats.json").read_text())
    assert set(golden) == set(STATISTICS)
    for name, shape in STATISTICS.items():
        ours = read_plain_pickle(exported[0] / fps / f"{name}.pkl")
        assert list(ours) == ["mean", "std"]
        for key, value in ours.items():
            assert (value.dtype, value.shape) == (np.float64, shape)
            np.testing.assert_allclose(value, golden[name][key], rtol=0, atol=1e-9, err_msg=f"{name} {key}")


def test_cameras_equal_the_official_ones(exported: tuple[Path, dict[str, MmposeReport | None]]) -> None:
    golden = json.loads(CAMERAS.read_text())
    cameras = read_plain_pickle(exported[0] / "cameras.pkl")
    assert list(cameras) == [(entry["subject"], entry["camera"]) for entry in golden]
    for entry in golden:
        camera = cameras[entry.pop("subject"), entry.pop("camera")]
        assert list(camera) == list(entry)
        for key, value in entry.items():
            if isinstance(value, list):
                assert (camera[key].dtype, camera[key].shape) == (np.float64, np.shape(value)), key
                np.testing.assert_allclose(camera[key], value, rtol=0, atol=1e-12, err_msg=key)
            else:
                assert type(camera[key]) is type(value)
                assert camera[key] == value


def test_pickles_name_only_what_numpy_1_can_import(exported: tuple[Path, dict[str, MmposeReport | None]]) -> None:
    pickles = sorted(exported[0].rglob("*.pkl"))
    assert len(pickles) == 9
    for path in pickles:
        content = path.read_bytes()
        assert b"numpy._core" not in content
        assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
        pickle.loads(content)


def test_processes_and_a_second_run_give_the_same_bytes(
    exported: tuple[Path, dict[str, MmposeReport | None]], unpacked: Path, tmp_path: Path
) -> None:
    write_mmpose(pose_files(unpacked), tmp_path, jobs=2)
    ours, theirs = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (annotations(tmp_path), exported[0])
    )
    assert ours == theirs
    assert len(ours) == 13


def test_a_short_2d_file_cuts_the_3d_poses_and_is_reported(
    exported: tuple[Path, dict[str, MmposeReport | None]],
) -> None:
    report = exported[1]["fps10/train"]
    assert report is not None
    assert report.cut == {"S1/Walking 1.58860488": {"D2": 24, "D3 mono": 26, "kept": 24}}
    assert report.differences() == ["S1/Walking 1.58860488: cut to 24 frames, it has D2 24, D3 mono 26"]


def view_files(folder: Path, sequence: Sequence, frames: int, seed: int = 0) -> PoseFiles:
    rng = np.random.default_rng(seed)
    image, camera = folder / f"{sequence.folder}_2d.cdf", folder / f"{sequence.folder}_3d.cdf"
    write_pose_cdf(image, rng.uniform(0, 1000, (frames, 32, 2)))
    write_pose_cdf(camera, rng.normal(4000, 300, (frames, 32, 3)))
    return PoseFiles(sequence, camera, camera, camera, image)


def extracted(data: Path, sequence: Sequence, decoded_frames: int, prepared: Path) -> None:
    """Say that the video of a sequence has this many frames, as `h36m extract` does."""
    source = prepared / "manifests" / "images" / "s_09_act_14_subact_01_ca_01.json"
    target = data / "manifests" / "images" / f"{sequence.folder}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({**json.loads(source.read_text()), "decoded_frames": decoded_frames}))


@pytest.fixture
def directions(tmp_path: Path) -> list[PoseFiles]:
    """S11 Directions 2, whose first view has no readable video, 12 frames a view."""
    views = [Sequence("S11", "Directions", 2, camera) for camera in CAMERA_IDS[:3]]
    return [view_files(tmp_path / "raw", view, 12, seed) for seed, view in enumerate(views)]


def test_the_view_without_a_readable_video_is_left_out_and_reported(
    tmp_path: Path, directions: list[PoseFiles]
) -> None:
    report = write_mmpose(directions, tmp_path)["fps50/val"]
    content = np.load(annotations(tmp_path) / "fps50" / "h36m_test.npz")
    assert report is not None
    assert {len(content[key]) for key in content} == {24}
    assert content["imgname"][0] == "S11/S11_Directions.55011271/S11_Directions.55011271_000001.jpg"
    assert (report.sequences, report.rows, report.names) == (2, 24, 24)
    assert report.differences() == [
        "S11/Directions.54138969: left out, its video has no frame for its 12 poses",
    ]


def test_names_and_rows_are_misaligned_as_officially_only_if_asked_for(
    tmp_path: Path, directions: list[PoseFiles]
) -> None:
    report = write_mmpose(directions, tmp_path, misaligned_as_official=True)["fps10/val"]
    content = np.load(annotations(tmp_path) / "fps10" / "h36m_test.npz")
    assert report is not None
    assert {key: len(content[key]) for key in content} == {"imgname": 6, "center": 9, "scale": 9, "part": 9, "S": 9}
    assert content["imgname"][1] == "S11/S11_Directions.55011271/S11_Directions.55011271_000006.jpg"
    assert report.differences() == [f"{report.path}: 6 image names for 9 rows, misaligned as officially"]


def test_rows_follow_the_frames_that_the_extraction_counted(
    tmp_path: Path, prepared: Path, directions: list[PoseFiles]
) -> None:
    extracted(tmp_path, directions[1].sequence, 0, prepared)
    extracted(tmp_path, directions[2].sequence, 7, prepared)
    report = write_mmpose(directions[1:], tmp_path)["fps10/val"]
    content = np.load(annotations(tmp_path) / "fps10" / "h36m_test.npz")
    assert report is not None
    assert [name[-10:] for name in content["imgname"]] == ["000001.jpg", "000006.jpg"]
    assert len(content["S"]) == 2
    assert report.differences() == [
        "S11/Directions.58860488: cut to 7 frames, it has D2 12, D3 mono 12, video 7",
        "S11/Directions.55011271: left out, its video has no frame for its 12 poses",
    ]


def test_names_keep_the_odd_file_stems_of_s1(tmp_path: Path) -> None:
    files = [view_files(tmp_path / "raw", Sequence("S1", "TakingPhoto", 1, CAMERA_IDS[0]), 3)]
    reports = write_mmpose(files, tmp_path)
    names = np.load(annotations(tmp_path) / "fps50" / "h36m_train.npz")["imgname"]
    assert names[2] == "S1/S1_TakingPhoto_1.54138969/S1_TakingPhoto_1.54138969_000003.jpg"
    assert names.dtype == f"<U{len(names[0])}"
    assert reports["fps50/val"] is None
    assert not (annotations(tmp_path) / "fps50" / "h36m_test.npz").exists()


def test_a_damaged_file_leaves_its_sequence_out_and_is_told(
    tmp_path: Path, unpacked: Path, directions: list[PoseFiles]
) -> None:
    directions[1].image.write_bytes(directions[1].image.read_bytes()[:500])
    report = write_mmpose(directions, tmp_path)["fps50/val"]
    assert report is not None
    assert (report.sequences, report.rows) == (1, 12)
    assert len(report.damaged) == 1
    assert str(directions[1].image) in report.damaged[0]


def test_a_step_that_does_not_divide_50_is_refused_before_anything_is_written(
    tmp_path: Path, directions: list[PoseFiles]
) -> None:
    with pytest.raises(H36MError, match="a step of 3 frames does not divide 50"):
        write_mmpose(directions, tmp_path, rates=(1, 3))
    assert not (tmp_path / "labels").exists()


def test_an_npz_written_in_parts_is_numpys(tmp_path: Path) -> None:
    values = np.arange(24.0).reshape(4, 3, 2)
    write_npz(tmp_path / "a.npz", [StreamedArray("x", values.dtype, values.shape, iter([values[:1], values[1:]]))])
    np.savez_compressed(tmp_path / "b.npz", x=values)
    ours, numpys = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert list(ours) == list(numpys)
    np.testing.assert_array_equal(ours["x"], numpys["x"])


def test_parts_that_do_not_fill_their_array_leave_no_file(tmp_path: Path) -> None:
    values = np.zeros((4, 2))
    for shape in ((5, 2), (4, 3)):
        with pytest.raises(ValueError, match=r"^x: "):
            write_npz(tmp_path / "a.npz", [StreamedArray("x", values.dtype, shape, [values])])
    assert not list(tmp_path.iterdir())
