"""`h36m bench` of integral and direct regression: from frames to a scored run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_data import done, refused
from torch import nn

from h36m_toolbox.benchmarks.predictions import read_predictions
from h36m_toolbox.benchmarks.runs.integral import patch_samples
from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models import create_model
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.pose_datasets.patches import Patch, patch_labels
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {"layers": 18, "patch": "64x64"}
NARROW = ("--every", 64)


def words(data: Path, runs: Path, *more: object, model: str = "integral", **options: object) -> tuple[object, ...]:
    asked = [word for name, value in (OPTIONS | options).items() for word in ("--option", f"{name}={value}")]
    return ("bench", "--model", model, "--data", data, "--runs", runs, "--device", "cpu", *asked, *NARROW, *more)


def saved(model: nn.Module, path: Path) -> Path:
    torch.save({"network": {f"module.{name}": values for name, values in model.state_dict().items()}}, path)
    return path


@pytest.mark.parametrize("model", ["integral", "integral-direct"])
def test_an_untrained_model_is_run_on_frames_and_scored(model: str, prepared: Path, tmp_path: Path) -> None:
    output = done(*words(prepared, tmp_path, "--untrained", model=model))
    row = read_leaderboard(tmp_path / "leaderboard.csv")[-1]
    assert row.model == model
    assert row.protocol.startswith("integral")
    folder = tmp_path / row.run
    predictions = read_predictions(folder / "predictions.parquet")
    assert predictions.skeleton == INTEGRAL_18
    assert predictions.provenance.root == "absolute"
    scores = json.loads((folder / "integral_scores.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    assert scores["hm36_17j"] == pytest.approx(report["headline"]["mpjpe"], rel=1e-5)
    assert scores["hm36_17j_align"] == pytest.approx(report["headline"]["p_mpjpe"], rel=1e-5)
    assert str(folder) in output
    for name, key in (("action", "hm36_17j"), ("joint", "error")):
        with (folder / f"integral_per_{name}.csv").open(newline="") as file:
            lines = {line[name]: float(line[key]) for line in csv.DictReader(file)}
        means = [lines["all"], lines["Walking"]] if name == "action" else [np.mean([*lines.values()][:17])]
        np.testing.assert_allclose(means, scores["hm36_17j"], rtol=1e-9)


@pytest.mark.parametrize("patch", [Patch(), Patch(288, 384, 1500.0)], ids=["square", "high"])
def test_true_coordinates_in_the_patch_lead_back_to_the_labels(patch: Patch, prepared: Path) -> None:
    labels = read_labels(prepared, "val", ["joints_3d_camera"]).take(list(range(0, 400, 9)))
    contract = FromPatches(patch)
    samples = patch_samples(prepared, labels, patch)
    people = samples.filmed.people((), samples.boxes)
    coordinates, weights = patch_labels(people.joints, people.weights, people.boxes, 1000, contract.patch)
    poses = (coordinates.astype(np.float64) + (0.5, 0.5, 0)) * (patch.width, patch.height, patch.width)
    shown = samples.boxes[:, 2:] / samples.filmed.focal * samples.filmed.roots[:, 2:]  # mm at the pelvis
    np.testing.assert_allclose(shown, np.broadcast_to([patch.depth_mm, 2000], shown.shape), rtol=1e-9)
    found = samples.in_camera(poses, contract)
    np.testing.assert_allclose(found[:, : len(H36M_17)], pose_array(labels, "joints_3d_camera"), atol=0.01)
    assert weights.all()


def test_a_patch_shows_the_person_of_its_row(prepared: Path) -> None:
    labels = read_labels(prepared, "val", ["joints_3d_camera"])
    samples = patch_samples(prepared, labels.take([5]), Patch(64, 96, None))
    patch = samples.load(0, FromPatches(Patch(64, 96, None)))
    width, height = samples.boxes[0, 2:]
    assert width / height == pytest.approx(64 / 96)
    assert patch.shape == (96, 64, 3)
    assert patch.std() > 1


def test_flip_test_and_ensemble_are_averaged_and_named(prepared: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"deconv_channels": 8}
    files = [
        saved(create_model("integral", **OPTIONS, **small, initial_std=None), tmp_path / f"model{number}.pth.tar")
        for number in range(2)
    ]
    runs = tmp_path / "runs"
    poses = {}
    for name, more in {
        "first": ("--weights", files[0]),
        "second": ("--weights", files[1]),
        "both": ("--weights", files[0], "--ensemble", files[1]),
        "flipped": ("--weights", files[0], "--flip"),
    }.items():
        done(*words(prepared, runs, *more, **small))
        row = read_leaderboard(runs / "leaderboard.csv")[-1]
        poses[name] = pose_array(read_predictions(runs / row.run / "predictions.parquet").table, "joints_3d")
    np.testing.assert_allclose(poses["both"][:, 0, 2], (poses["first"] + poses["second"])[:, 0, 2] / 2, rtol=1e-4)
    assert np.abs(poses["flipped"] - poses["first"]).max() > 1e-3
    options = [row.options for row in read_leaderboard(runs / "leaderboard.csv")]
    assert "ensemble=2" in options[2]
    assert "flip_test=True" in options[3]


def test_depths_in_pixels_are_scaled_to_the_challenge_s_bones(prepared: Path, tmp_path: Path) -> None:
    done(*words(prepared, tmp_path, "--untrained", depth_in="image"))
    row = read_leaderboard(tmp_path / "leaderboard.csv")[-1]
    predictions = read_predictions(tmp_path / row.run / "predictions.parquet")
    assert predictions.provenance.root == "relative"
    found = pose_array(predictions.table, "joints_3d").astype(np.float64)
    parents, children = np.array(INTEGRAL_18.bones).T
    bones = np.linalg.norm(found[:, children] - found[:, parents], axis=2).sum(axis=1)
    np.testing.assert_allclose(bones, 4502.881, rtol=1e-5)


def test_a_finished_run_is_kept(prepared: Path, tmp_path: Path) -> None:
    for did in ("wrote", "kept"):
        assert did in done(*words(prepared, tmp_path, "--untrained", "--resume"))
    assert len(read_leaderboard(tmp_path / "leaderboard.csv")) == 1


def test_what_a_run_cannot_take_is_refused(prepared: Path, tmp_path: Path) -> None:
    weights = saved(create_model("integral", **OPTIONS), tmp_path / "model.pth.tar")
    runs = tmp_path / "runs"
    assert "sees images and takes no 2D detections" in refused(
        *words(prepared, runs, "--untrained", "--detections", "cpn")
    )
    assert "an ensemble needs weights of its first model" in refused(
        *words(prepared, runs, "--untrained", "--ensemble", weights)
    )
    assert not runs.exists() or not list(runs.glob("*/predictions.parquet"))
