"""Finding and reading MPI-INF-3DHP as downloaded: sequences, annotations, cameras, joint orders, the doctor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import read_test_annotations, read_train_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import find_archive, open_archive
from h36m_toolbox.mpi_inf_3dhp.calibration import read_test_camera, read_train_cameras
from h36m_toolbox.mpi_inf_3dhp.doctor import examine_archive
from h36m_toolbox.mpi_inf_3dhp.joints import as_h36m_17, from_h36m
from h36m_toolbox.mpi_inf_3dhp.sequences import (
    ACTIVITIES,
    CAMERA_SETS,
    TEST_FRAMES,
    TEST_VALID_FRAMES,
    TRAIN_RECORDINGS,
    cameras_of,
    image_size,
)
from h36m_toolbox.mpi_inf_3dhp.synthetic import SyntheticPlan, write_synthetic_3dhp
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28

GOLDENS = Path(__file__).parents[1] / "data" / "mpi_inf_3dhp"
FACTS = json.loads((GOLDENS / "facts.json").read_text())
ALL_CAMERAS = CAMERA_SETS["regular"]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpi") / "raw"
    write_synthetic_3dhp(folder, np.random.default_rng(3), SyntheticPlan(test=("TS1", "TS5"), image_side=64))
    return folder


def without_self(parents: list[int]) -> list[int]:
    return [-1 if parent == joint else parent for joint, parent in enumerate(parents)]


def test_the_tables_of_the_data_set_are_the_published_ones() -> None:
    assert {name: list(cameras) for name, cameras in CAMERA_SETS.items()} == FACTS["camera_sets"]
    assert {str(number): name for number, name in ACTIVITIES.items()} == FACTS["activities"]
    assert FACTS["real_test_frames"] == TEST_FRAMES
    assert FACTS["real_test_valid_frames"] == TEST_VALID_FRAMES
    recordings = {name.replace("/", " "): vars(recording) for name, recording in TRAIN_RECORDINGS.items()}
    assert recordings == FACTS["train_frames_and_fps"]


def test_the_joint_orders_are_the_published_ones() -> None:
    assert list(MPI_INF_3DHP_28.joints) == FACTS["joints28"]
    assert list(MPI_INF_3DHP_28.parents) == without_self(FACTS["parents28"])
    assert list(MPI_INF_3DHP_17.joints) == FACTS["eval17_names"]
    assert list(MPI_INF_3DHP_17.parents) == without_self(FACTS["eval17_parents"])
    assert MPI_INF_3DHP_28.indices(MPI_INF_3DHP_17.joints) == FACTS["eval17_from_28"]
    assert sorted(MPI_INF_3DHP_17.left) == FACTS["eval17_left"]
    assert sorted(MPI_INF_3DHP_17.right) == FACTS["eval17_right"]


def test_joints_go_to_human36m_and_back_as_stated() -> None:
    order = np.arange(17)[:, None]
    assert as_h36m_17(order).ravel().tolist() == FACTS["h36m17_from_eval17"]
    assert from_h36m(order).ravel().tolist() == FACTS["eval17_from_h36m17"]
    np.testing.assert_array_equal(from_h36m(as_h36m_17(order)), order)


def test_cameras_are_chosen_by_a_sets_name_or_by_numbers() -> None:
    assert cameras_of("mm3d_chest") == (0, 2, 4, 7, 8)
    assert cameras_of("8, 0") == (0, 8)
    for wrong in ("14", "all", "", "-1"):
        with pytest.raises(H36MError, match="expected one of regular"):
            cameras_of(wrong)


@pytest.mark.parametrize("folder", ["", "train", "test_set", "test_set/mpi_inf_3dhp_test_set", "train/S1"])
def test_the_set_is_recognised_from_any_of_its_folders(folder: str) -> None:
    archive = open_archive(GOLDENS / folder)
    names = [sequence.name for sequence in (*archive.train, *archive.test)]
    train, test = ["S1/Seq1", "S1/Seq2"], list(TEST_FRAMES)
    assert names == (train + test if folder == "" else train if folder.startswith("train") else test)


def test_one_sequences_own_folder_is_enough() -> None:
    (sequence,) = open_archive(GOLDENS / "train" / "S1" / "Seq2").train
    assert sequence.name == "S1/Seq2"
    assert list(sequence.videos) == [0, 8]


def test_the_doubled_folder_of_the_test_set_is_used_once(tmp_path: Path) -> None:
    outer = tmp_path / "mpi_inf_3dhp_test_set"
    for folder in (outer / "TS1", outer / "mpi_inf_3dhp_test_set" / "TS1"):
        folder.mkdir(parents=True)
        (folder / "annot_data.mat").write_bytes(b"")
    archive = open_archive(tmp_path)
    assert [sequence.folder for sequence in archive.test] == [outer / "TS1"]
    assert archive.repeated == (outer / "mpi_inf_3dhp_test_set" / "TS1",)


def test_human36m_is_not_taken_for_it(unpacked: Path, tmp_path: Path) -> None:
    assert find_archive(unpacked) is None
    with pytest.raises(H36MError, match="no sequence of MPI-INF-3DHP"):
        open_archive(tmp_path)


@pytest.mark.parametrize("where", ["golden", "synthetic"])
def test_training_annotations_project_onto_their_own_pixels(where: str, synthetic: Path) -> None:
    (sequence, *_) = open_archive(GOLDENS if where == "golden" else synthetic).train
    cameras = read_train_cameras(sequence.calibration)
    views = read_train_annotations(sequence.annotations, ALL_CAMERAS)
    assert sorted(cameras) == sorted(views) == list(ALL_CAMERAS)
    world = cameras[0].camera_to_world(views[0].camera)
    for number, view in views.items():
        np.testing.assert_allclose(cameras[number].project(view.camera), view.image, atol=0.01)  # 6 digits stored
        np.testing.assert_allclose(cameras[number].camera_to_world(view.camera), world, atol=0.02)


@pytest.mark.parametrize("where", ["golden", "synthetic"])
def test_test_annotations_project_onto_their_own_pixels(where: str, synthetic: Path) -> None:
    for sequence in open_archive(GOLDENS if where == "golden" else synthetic).test:
        found = read_test_annotations(sequence.annotations, sequence.name)
        camera = read_test_camera(sequence.calibration, image_size(sequence.name)).camera
        np.testing.assert_allclose(camera.project(found.camera), found.image, atol=0.01)
        assert not np.allclose(camera.project(found.universal), found.image, atol=1)


def test_test_cameras_have_the_calibrated_intrinsics() -> None:
    calibrations = GOLDENS / "test_set" / "mpi_inf_3dhp_test_set" / "test_util" / "camera_calibration"
    studio = read_test_camera(calibrations / "ts1-4cameras.calib", image_size("TS1"))
    outdoors = read_test_camera(calibrations / "ts5-6cameras.calib", image_size("TS6"))
    for found, focal, principal in (
        (studio, (1495.0359039999998, 1495.45451405312), (1032.90087424, 1045.24597248)),
        (outdoors, (1690.01318592, 1677.5612836870382), (933.172665984, 557.008691328)),
    ):
        np.testing.assert_allclose(found.camera.focal, focal, rtol=1e-12)
        np.testing.assert_allclose(found.camera.principal, principal, rtol=1e-12)
    assert not studio.distortion.any()
    np.testing.assert_array_equal(
        outdoors.distortion, [-0.278485046, 0.123273193, -0.000294154, -0.001155842, -0.047652492]
    )


def test_a_cell_belongs_to_the_camera_that_the_file_names(tmp_path: Path) -> None:
    original = GOLDENS / "train" / "S1" / "Seq1" / "annot.mat"
    content = scipy.io.loadmat(original)
    turned = {name: content[name][::-1] for name in ("annot2", "annot3", "univ_annot3")}
    scipy.io.savemat(tmp_path / "annot.mat", {**turned, "cameras": content["cameras"][:, ::-1]})
    expected, found = (read_train_annotations(path, (3, 8)) for path in (original, tmp_path / "annot.mat"))
    for camera in (3, 8):
        np.testing.assert_array_equal(found[camera].image, expected[camera].image)


def test_a_camera_that_the_annotations_lack_is_named(tmp_path: Path) -> None:
    content = scipy.io.loadmat(GOLDENS / "train" / "S1" / "Seq1" / "annot.mat")
    two = {name: content[name][:2] for name in ("annot2", "annot3", "univ_annot3")}
    scipy.io.savemat(tmp_path / "annot.mat", {**two, "cameras": content["cameras"][:, :2]})
    with pytest.raises(H36MError, match="has no camera 4; it has 0, 1"):
        read_train_annotations(tmp_path / "annot.mat", (0, 4))


@pytest.mark.parametrize("kept", [0, 1, 60, 130, 500, 5000, 60000])
def test_truncated_annotations_are_refused_by_name(tmp_path: Path, kept: int) -> None:
    train, test = tmp_path / "annot.mat", tmp_path / "annot_data.mat"
    train.write_bytes((GOLDENS / "train" / "S1" / "Seq1" / "annot.mat").read_bytes()[:kept])
    test.write_bytes((GOLDENS / "test_set" / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat").read_bytes()[:kept])
    with pytest.raises(H36MError, match=r"annot\.mat"):
        read_train_annotations(train, (0,))
    with pytest.raises(H36MError, match=r"annot_data\.mat"):
        read_test_annotations(test, "TS1")


def test_the_two_versions_of_matlab_files_are_told_apart() -> None:
    train = GOLDENS / "train" / "S1" / "Seq1" / "annot.mat"
    test = GOLDENS / "test_set" / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    with pytest.raises(H36MError, match=r"is MATLAB 7\.3, expected version 5"):
        read_train_annotations(test, (0,))
    with pytest.raises(H36MError, match=r"is no MATLAB 7\.3 file"):
        read_test_annotations(train, "TS1")


def changed_copy(tmp_path: Path, name: str, change: object) -> Path:
    path = tmp_path / "annot_data.mat"
    shutil.copyfile(GOLDENS / "test_set" / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat", path)
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        if change is not None:
            file[name] = change(values)  # type: ignore[operator]
    return path


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("valid_frame", lambda values: values[:-1], "disagree in length .*valid_frame 39"),
        ("univ_annot3", None, "univ_annot3"),
        ("annot2", lambda values: values[:, :, :16], r"annot2 is \(40, 1, 16, 2\)"),
        ("annot3", lambda values: np.full(values.shape, "x", "S1"), "annot3 is no numeric array"),
    ],
)
def test_test_annotations_that_contradict_themselves_are_refused(
    tmp_path: Path, name: str, change: object, message: str
) -> None:
    with pytest.raises(H36MError, match=message):
        read_test_annotations(changed_copy(tmp_path, name, change), "TS1")


def test_single_precision_and_odd_labels_are_read_as_they_are(tmp_path: Path) -> None:
    original = GOLDENS / "test_set" / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    expected = read_test_annotations(original, "TS1")
    single = read_test_annotations(changed_copy(tmp_path, "annot3", lambda values: values.astype(np.float32)), "TS1")
    np.testing.assert_allclose(single.camera, expected.camera, rtol=1e-6)
    assert single.camera.dtype == np.float64
    odd = changed_copy(tmp_path, "activity_annotation", lambda values: np.full(values.shape, np.nan))
    assert not read_test_annotations(odd, "TS1").activity.any()


@pytest.mark.parametrize("text", ["", "name 0\n  size 1 1\n", "name x\n", "name 0\n  size 2 2\n  intrinsic 1 2\n"])
def test_a_text_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "camera.calibration"
    path.write_text(text)
    for read in (read_train_cameras, lambda path: read_test_camera(path, (2048, 2048))):
        with pytest.raises(H36MError, match=r"camera\.calibration"):
            read(path)


def test_the_doctor_tells_what_is_there_and_what_is_not(tmp_path: Path, synthetic: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(synthetic, raw)
    images = raw / "mpi_inf_3dhp_test_set" / "TS5" / "imageSequence"
    (images / "img_000012.jpg").unlink()
    sequence = raw / "mpi_inf_3dhp" / "S1" / "Seq1"
    (sequence / "imageSequence" / "video_4.avi").write_bytes(b"no video")
    (sequence / "imageSequence" / "video_8.avi").unlink()
    (sequence / "ceiling_cameras.zip").write_bytes(b"")
    found = examine_archive(open_archive(raw))
    assert found.rows["S1/Seq1"] == ("14 cameras", "14 cameras", "7", "")
    assert found.rows["TS1"] == ("12 frames, 8 valid", "yes", "", "12")
    said = {(finding.level, finding.where): finding.what for finding in found.findings if finding.level == "problem"}
    assert "video_4.avi" in said["problem", "S1/Seq1"]
    assert "11 images for 12 annotated frames" in said["problem", "TS5"]
    notes = " ".join(finding.what for finding in found.findings if finding.level == "note")
    assert "no video of camera 8" in notes
    assert "ceiling_cameras.zip is not unpacked" in notes
    assert "15 of 16 training sequences are not here" in notes
    assert found.has_problems
    assert not examine_archive(open_archive(synthetic)).has_problems
