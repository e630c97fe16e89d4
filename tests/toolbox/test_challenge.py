"""CHALL_H80K: its folders, the similarity that puts poses into images, boxes, labels, and the submission's form."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from integral_goldens import golden
from test_pose_datasets import assert_labels

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.challenge import (
    Keypoints,
    challenge_images,
    detected_people,
    fitted_similarity,
    posed_people,
    read_challenge_poses,
    read_keypoints,
    scaled_to_bones,
    seen_people,
    whole_images,
)
from h36m_toolbox.pose_datasets.people import summed_bone_lengths
from h36m_toolbox.pose_datasets.submissions import read_submission, write_pose_csvs, write_submission

IMAGES = tuple(Path(f"{number:05d}.jpg") for number in range(1, 5))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """CHALL_H80K with the golden's four poses and images that nobody opens."""
    folder = golden("challenge_db").write_files(tmp_path)
    for part in ("Train", "Test"):
        (folder / part / "IMG").mkdir(parents=True)
        for image in IMAGES:
            (folder / part / "IMG" / image.name).write_bytes(b"")
    return folder


def keypoints(part: str) -> Keypoints:
    case = golden("challenge_db")
    return Keypoints(case.given(f"{part}_kpts")[..., :2], case.given(f"{part}_vis")[..., 0])


def test_poses_boxes_and_labels_of_train(root: Path) -> None:
    case = golden("challenge_db")
    poses = read_challenge_poses(root, "Train")
    np.testing.assert_allclose(poses, case.expected("train.joints_3d_relative"), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(summed_bone_lengths(poses), case.expected("train.bone_len"), rtol=1e-8)
    similarity = fitted_similarity(poses, keypoints("train"))
    np.testing.assert_allclose(similarity.scale, case.expected("train.s"), rtol=1e-8)
    np.testing.assert_allclose(similarity.rotation, case.expected("train.rot"), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(similarity.shift, case.expected("train.t"), rtol=1e-8)
    people = posed_people(challenge_images(root, "Train"), poses, similarity, 1.0)
    np.testing.assert_allclose(people.joints, case.expected("train.joints_3d"), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(people.boxes, case.boxes("output.train"), rtol=1e-8)
    assert_labels(case, people, 1000)


def test_boxes_of_test_of_a_detector_and_of_the_whole_image() -> None:
    case = golden("challenge_db")
    corners = case.given("detections")[:, :4]
    for name, people in {
        "test": seen_people(IMAGES, keypoints("test"), 1.0),
        "dt_db": detected_people(IMAGES, corners, 1.0),
        "org_box": whole_images(IMAGES, 1.0),
    }.items():
        np.testing.assert_allclose(people.boxes, case.boxes(f"output.{name}"), rtol=1e-8, err_msg=name)
        assert not people.weights.any()


def test_a_mirrored_pose_is_turned_and_never_reflected() -> None:
    case = golden("challenge_db")
    rotations = fitted_similarity(case.expected("train.joints_3d_relative"), keypoints("train")).rotation
    np.testing.assert_allclose(np.linalg.det(rotations), 1)


def test_a_prediction_is_scaled_to_the_known_bones() -> None:
    case = golden("backprojection")
    found = scaled_to_bones(case.given("preds_in_patch")[..., :3], case.facts["config"]["target_bone_length"])
    np.testing.assert_allclose(found, case.expected("bone_length_rescaled")[..., :3], rtol=1e-8, atol=1e-9)


def test_a_gap_in_the_numbers_is_named(root: Path) -> None:
    (root / "Test" / "IMG" / "00002.jpg").unlink()
    with pytest.raises(H36MError, match=r"IMG: 3 files, but no 00002\.jpg"):
        challenge_images(root, "Test")
    with pytest.raises(H36MError, match="POSE: no files"):
        read_challenge_poses(root, "Test")
    with pytest.raises(H36MError, match="no set val in CHALL_H80K; there are Train, Val, Test"):
        challenge_images(root, "val")


@pytest.mark.parametrize("text", ["1,2,3\n", "a,b,c\n" * 17, "nan,0,0\n" * 17, "1,2\n" + "1,2,3\n" * 16])
def test_a_damaged_pose_is_named(root: Path, text: str) -> None:
    (root / "Train" / "POSE" / "00003.csv").write_text(text)
    with pytest.raises(H36MError, match=r"00003\.csv"):
        read_challenge_poses(root, "Train")


def test_the_official_file_of_2d_joints(tmp_path: Path) -> None:
    case, path = golden("challenge_db"), tmp_path / "HM36_eccv_challenge_Test_4samples_img_res.pkl"
    pairs = zip(case.given("test_kpts"), case.given("test_vis"), strict=True)
    path.write_bytes(pickle.dumps([{"kpts": kpts, "vis": vis} for kpts, vis in pairs]))
    found = read_keypoints(path, 4)
    assert (found.points == case.given("test_kpts")[..., :2]).all()
    assert (found.visible == case.given("test_vis")[..., 0]).all()
    with pytest.raises(H36MError, match="expected 5 people of 18 joints"):
        read_keypoints(path, 5)
    path.write_bytes(pickle.dumps({"kpts": 1}))
    with pytest.raises(H36MError, match="no list of 2D joints"):
        read_keypoints(path, 4)


def poses(count: int = 3) -> np.ndarray:
    drawn = np.random.default_rng(5).normal(0, 300, (count, 17, 3))
    return drawn - drawn[:, :1]


def test_a_submission_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "Test_Prediction.JSON"
    write_submission(path, poses())
    content = json.loads(path.read_text())
    assert [entry["image_id"] for entry in content] == [1, 2, 3]
    assert all(list(map(len, entry["keypoints"])) == [51] for entry in content)
    assert (read_submission(path, 3) == poses()).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda given: given[::-1], "do not run from 1 to 3"),
        (lambda given: given[:2], "2 entries for 3 images"),
        (lambda given: [{**entry, "keypoints": [entry["keypoints"][0][:48]]} for entry in given], r"shape \(1, 48\)"),
        (lambda given: [{"id": 1}], "no submission"),
        (lambda given: [{**entry, "keypoints": [[1000.0] * 51]} for entry in given], "image 1 has its root not at 0"),
        (lambda given: [{**entry, "keypoints": [[0.0] * 3 + [0.9] * 48]} for entry in given], "metres"),
        (lambda given: [{**entry, "keypoints": [[0.0] * 3 + [5e3] * 48]} for entry in given], "camera frame"),
    ],
)
def test_a_submission_of_another_form_is_refused(tmp_path: Path, spoil: object, message: str) -> None:
    path = tmp_path / "Test_Prediction.JSON"
    write_submission(path, poses())
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(H36MError, match=message):
        read_submission(path, 3)


def test_poses_that_cannot_be_meant_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "Test_Prediction.JSON"
    for wrong in (poses()[:, :16], poses() * np.nan, poses()[:0]):
        with pytest.raises(H36MError):
            write_submission(path, wrong)
    assert not path.exists()


def test_csv_files_have_two_decimals_and_the_form_of_the_challenge_s_own(tmp_path: Path) -> None:
    write_pose_csvs(tmp_path / "Val" / "POSE", poses())
    first = (tmp_path / "Val" / "POSE" / "00001.csv").read_text().splitlines()
    assert len(first) == 17
    assert first[0] == "0.00,0.00,0.00"
    found = read_challenge_poses(tmp_path, "Val")
    np.testing.assert_allclose(found[:, :17], poses(), atol=0.005001)
