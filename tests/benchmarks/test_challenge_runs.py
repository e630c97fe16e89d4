"""`h36m challenge`: from CHALL_H80K's folders to scores and a submission."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from integral_goldens import golden
from synthetic_data import done, h36m, refused

from h36m_toolbox.pose_datasets.challenge import read_challenge_poses
from h36m_toolbox.pose_datasets.submissions import read_submission

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGES = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CHALL_H80K of four noisy images with the golden's poses and 2D joints; tests only read it."""
    case, folder = golden("challenge_db"), tmp_path_factory.mktemp("CHALL_H80K")
    case.write_files(folder)
    (folder / "Train").rename(folder / "Val")
    rng = np.random.default_rng(0)
    for part, name in (("Val", "train"), ("Test", "test")):
        (folder / part / "IMG").mkdir(parents=True)
        for number in range(1, IMAGES + 1):
            noise = cv2.resize(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), (1000, 1000))
            cv2.imwrite(str(folder / part / "IMG" / f"{number:05d}.jpg"), noise)
        pairs = zip(case.given(f"{name}_kpts"), case.given(f"{name}_vis"), strict=True)
        (folder / f"{part}.pkl").write_bytes(pickle.dumps([{"kpts": kpts, "vis": vis} for kpts, vis in pairs]))
    return folder


def words(root: Path, out: Path, *more: object) -> tuple[object, ...]:
    size = ("--layers", 18, "--patch", "64x64")
    return ("challenge", root, "--out", out, "--device", "cpu", "--untrained", *size, *more)


def test_val_is_scored_and_written_in_the_submission_s_form(root: Path, tmp_path: Path) -> None:
    output = done(*words(root, tmp_path / "out", "--keypoints", root / "Val.pkl", "--flip", "--csv"))
    assert "17j" in output
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    poses = read_submission(tmp_path / "out" / "Val_Prediction.JSON", IMAGES)
    true = read_challenge_poses(root, "Val")[:, :17]
    assert scores["mpjpe_mm"] == pytest.approx(np.linalg.norm(poses - true, axis=2).mean(), rel=1e-9)
    assert scores["figures"]["hm36_17j"] == pytest.approx(scores["mpjpe_mm"])
    assert scores["options"]["flip_test"] is True
    assert "true pose" in scores["boxes"]
    with (tmp_path / "out" / "integral_per_joint.csv").open(newline="") as file:
        joints = [float(line["error"]) for line in csv.DictReader(file)]
    assert np.mean(joints[:17]) == pytest.approx(scores["mpjpe_mm"], rel=1e-9)
    assert len(list((tmp_path / "out" / "POSE").iterdir())) == IMAGES


def test_test_has_a_submission_and_no_scores(root: Path, tmp_path: Path) -> None:
    done(*words(root, tmp_path / "out", "--part", "Test", "--keypoints", root / "Test.pkl"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Test_Prediction.JSON"]
    assert read_submission(tmp_path / "out" / "Test_Prediction.JSON", IMAGES).shape == (IMAGES, 17, 3)


def test_a_submission_is_checked_for_form(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(*words(root, out, "--part", "Test", "--whole-images", "--model", "integral-direct"))
    check = ("challenge", root, "--part", "Test", "--check")
    assert f"a pose for each of the {IMAGES} images of Test" in done(*check, out / "Test_Prediction.JSON")
    entries = json.loads((out / "Test_Prediction.JSON").read_text())
    (tmp_path / "short.JSON").write_text(json.dumps(entries[:-1]))
    assert f"{IMAGES - 1} entries for {IMAGES} images" in refused(*check, tmp_path / "short.JSON")
    entries[1]["keypoints"][0].pop()
    (tmp_path / "ragged.JSON").write_text(json.dumps(entries))
    assert "no submission" in refused(*check, tmp_path / "ragged.JSON")
    assert "give --out FOLDER" in h36m("challenge", root, "--untrained", "--whole-images").stderr


def test_without_2d_joints_the_whole_image_is_seen(root: Path, tmp_path: Path) -> None:
    done(*words(root, tmp_path / "out", "--whole-images", "--model", "integral-direct", "--batch-size", 3))
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["boxes"] == "whole images"


def test_what_is_missing_or_damaged_is_named_and_nothing_written(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "integral with options" in refused(*words(root, out, "--whole-images", "--option", "depth_in=mm"))
    assert "IMG: no files" in refused(*words(root, out, "--whole-images", "--part", "Train"))
    assert "missing.pkl: No such file" in refused(*words(root, out, "--keypoints", root / "missing.pkl"))
    assert not out.exists()


def test_an_image_that_is_none_is_named(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "Test" / "IMG").mkdir(parents=True)
    (copy / "Test" / "IMG" / "00001.jpg").write_bytes(b"no image")
    message = refused(*words(copy, tmp_path / "out", "--whole-images", "--part", "Test"))
    assert "00001.jpg: cannot be read as image" in message
