"""`h36m train` as a user runs it: it learns, it goes on where it stopped, and it never mixes two runs."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from synthetic_data import FRAMES, VIEWS, digests, done, h36m, refused

from h36m_toolbox.benchmarks.runs.training import TrainRequest, train_model
from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.detections.bundles import detections_path
from h36m_toolbox.models.registry import recipe_of
from h36m_toolbox.pose_tables import pose_array

pytestmark = pytest.mark.usefixtures("one_thread")

POSES = VIEWS * FRAMES  # of S1
FILES = ["checkpoint_best.pt", "checkpoint_last.pt", "curves.png", "log.csv", "train.toml"]
TOLD = ["checkpoint_best.pt", "checkpoint_last.pt", "log.csv"]


def trained(runs: Path, data: Path, *words: object, model: str = "semgcn", name: str = "run") -> str:
    """What `h36m train` on the CPU prints."""
    return done("train", "--model", model, "--data", data, "--runs", runs, "--name", name, "--device", "cpu", *words)


def checkpoint(folder: Path, which: str = "last") -> dict[str, Any]:
    return torch.load(folder / f"checkpoint_{which}.pt", weights_only=True)


def log(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def equal(left: object, right: object) -> bool:
    """Bitwise equality of nested containers of tensors and values."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    return left == right


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_training_lowers_the_loss_and_writes_checkpoints_and_log(
    synthetic_data: Path, tmp_path: Path, model: str
) -> None:
    said = trained(tmp_path, synthetic_data, "--epochs", 4, "--batch-size", 16, model=model)
    folder = tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    rows = log(folder)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [POSES // 16 * epoch for epoch in (1, 2, 3, 4)]
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
    for name in TOLD:
        assert f"wrote {folder / name}\n" in said
    best = min(rows, key=lambda row: row["validation_mpjpe_mm"])
    for name, row in (("last", rows[-1]), ("best", best)):
        figures = f"loss {row['train_loss']:.6f}, validation {row['validation_mpjpe_mm']:.2f} mm"
        assert f"{name}: epoch {row['epoch']:.0f}, {figures}\n" in said
    assert checkpoint(folder, "best")["epoch"] == best["epoch"]
    assert checkpoint(folder)["epoch"] == 4


def test_the_default_folder_says_model_and_detections(synthetic_data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--data", synthetic_data, "--detections", "sh", "--device", "cpu")
    done("train", *words, "--runs", tmp_path, "--epochs", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["train-semgcn-sh"]


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_a_stopped_run_goes_on_to_the_same_bits(synthetic_data: Path, tmp_path: Path, model: str) -> None:
    for epochs in (1, 3):
        trained(tmp_path, synthetic_data, "--epochs", epochs, model=model, name="twice")
    trained(tmp_path, synthetic_data, "--epochs", 3, model=model, name="once")
    for which in ("last", "best"):
        once, twice = checkpoint(tmp_path / "once", which), checkpoint(tmp_path / "twice", which)
        for key in ("state_dict", "optimizer", "rng", "epoch", "step", "lr", "error"):
            assert equal(once[key], twice[key]), key
    for once, twice in zip(log(tmp_path / "once"), log(tmp_path / "twice"), strict=True):
        assert once | {"poses_per_s": 0} == twice | {"poses_per_s": 0}


def test_a_run_interrupted_within_an_epoch_goes_on_to_the_same_bits(synthetic_data: Path, tmp_path: Path) -> None:
    def interrupt(epoch: int, finished: int, steps: int) -> None:
        if (epoch, finished) == (2, steps - 1):
            raise KeyboardInterrupt

    request = TrainRequest("semgcn", synthetic_data, device="cpu", changes={"epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        train_model(request, tmp_path / "interrupted", interrupt)
    assert len(log(tmp_path / "interrupted")) == 1
    train_model(request, tmp_path / "interrupted")
    train_model(request, tmp_path / "whole")
    left, right = checkpoint(tmp_path / "interrupted"), checkpoint(tmp_path / "whole")
    assert equal(left["state_dict"], right["state_dict"])
    assert equal(left["optimizer"], right["optimizer"])


def test_a_finished_run_is_not_trained_again(synthetic_data: Path, tmp_path: Path) -> None:
    said = trained(tmp_path, synthetic_data, "--epochs", 2)
    before = digests(tmp_path)
    assert trained(tmp_path, synthetic_data, "--epochs", 2) == said
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "model", "found"),
    [
        (("--batch-size", 32), "semgcn", "batch_size 64"),
        (("--lr", 0.01), "semgcn", "lr 0.001"),
        (("--seed", 1), "semgcn", "seed 0"),
        (("--detections", "cpn"), "semgcn", "other inputs or targets"),
        ((), "semgcn-nonlocal", "another network"),
        ((), "martinez", "another network"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_kept(
    synthetic_data: Path, tmp_path: Path, words: tuple[object, ...], model: str, found: str
) -> None:
    trained(tmp_path, synthetic_data, "--epochs", 1)
    before = digests(tmp_path)
    where = ("--data", synthetic_data, "--runs", tmp_path, "--name", "run", "--device", "cpu", "--epochs", 2)
    message = refused("train", "--model", model, *where, *words)
    assert f"{tmp_path / 'run' / 'checkpoint_last.pt'}: a run with " in message
    assert found in message
    assert "write to another folder" in message
    assert digests(tmp_path) == before


def test_a_folder_with_a_damaged_checkpoint_is_refused_and_kept(synthetic_data: Path, tmp_path: Path) -> None:
    trained(tmp_path, synthetic_data, "--epochs", 1)
    last = tmp_path / "run" / "checkpoint_last.pt"
    last.write_bytes(last.read_bytes()[:5000])
    before = digests(tmp_path)
    where = ("--data", synthetic_data, "--runs", tmp_path, "--name", "run", "--device", "cpu", "--epochs", 2)
    assert f"{last}: not a PyTorch checkpoint, or a damaged one" in refused("train", "--model", "semgcn", *where)
    assert digests(tmp_path) == before


def test_without_validation_there_is_no_best_epoch_and_no_figure(synthetic_data: Path, tmp_path: Path) -> None:
    said = trained(tmp_path, synthetic_data, "--epochs", 2, "--validate-on", "none")
    folder = tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint_last.pt",
        "curves.png",
        "log.csv",
        "train.toml",
    ]
    assert all(math.isnan(row["validation_mpjpe_mm"]) for row in log(folder))
    assert said.splitlines()[0] == f"last: epoch 2, loss {log(folder)[-1]['train_loss']:.6f}"
    validated = tmp_path / "validated"
    trained(validated, synthetic_data, "--epochs", 2)  # looking at the test subjects must not move the weights
    assert equal(checkpoint(folder)["state_dict"], checkpoint(validated / "run")["state_dict"])


def test_training_without_validation_needs_no_test_subjects(synthetic_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(synthetic_data, tmp_path / "data")
    (data / "labels" / "parquet" / "val.parquet").unlink()
    words = ("--model", "semgcn", "--data", data, "--runs", tmp_path / "runs", "--epochs", 1)
    assert "val.parquet: no labels of the val split; run `h36m labels" in refused("train", *words)
    assert not (tmp_path / "runs").exists()
    done("train", *words, "--validate-on", "none")


def test_options_change_the_recipe_and_nothing_else(synthetic_data: Path, tmp_path: Path) -> None:
    trained(tmp_path, synthetic_data, "--epochs", 2, "--batch-size", 32, "--lr", 0.01, "--seed", 5)
    found = checkpoint(tmp_path / "run")["recipe"]
    expected = vars(recipe_of("semgcn", "gt")) | {"epochs": 2, "batch_size": 32, "lr": 0.01, "seed": 5}
    assert found == expected
    assert [row["step"] for row in log(tmp_path / "run")] == [POSES // 32, 2 * POSES // 32]
    assert TrainRequest("martinez", synthetic_data, "sh").recipe == recipe_of("martinez", "sh")


def test_the_seed_decides_weights_and_order(synthetic_data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained(tmp_path, synthetic_data, "--epochs", 1, "--seed", seed, name=name)
    first, same, other = (checkpoint(tmp_path / name)["state_dict"] for name in "abc")
    assert equal(first, same)
    assert not equal(first, other)


@pytest.mark.parametrize("lr", [0, -0.001, "nan", "inf"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(
    synthetic_data: Path, tmp_path: Path, lr: object
) -> None:
    words = ("--model", "semgcn", "--data", synthetic_data, "--runs", tmp_path / "runs", "--epochs", 1)
    message = refused("train", *words, f"--lr={lr}")
    assert f"the learning rate is {float(lr)}; it must be a positive number" in message  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [("--epochs", 0), ("--batch-size", 1)])
def test_sizes_that_cannot_be_trained_with_are_wrong_usage(
    synthetic_data: Path, tmp_path: Path, words: tuple[object, ...]
) -> None:
    result = h36m("train", "--model", "semgcn", "--data", synthetic_data, "--runs", tmp_path / "runs", *words)
    assert result.exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_detections_that_lack_a_sequence_are_refused(synthetic_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(synthetic_data, tmp_path / "data")
    path = detections_path(data, "cpn")
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.array([action != "Eating" for action in table.column("action").to_pylist()])), path)
    words = ("--model", "semgcn", "--data", data, "--runs", tmp_path / "runs", "--detections", "cpn")
    message = refused("train", *words)
    assert f"detections cpn lack {POSES // 3} of {POSES} frames" in message
    assert f"S1/Eating 2.54138969: {FRAMES} of {FRAMES} frames" in message
    assert not (tmp_path / "runs").exists()


def test_nan_in_detections_stops_the_training_before_a_checkpoint_is_written(
    synthetic_data: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(synthetic_data, tmp_path / "data")
    path = detections_path(data, "gt")
    table = pq.read_table(path)
    poses = pose_array(table, "joints_2d").copy()
    poses[5, 3] = np.nan
    field = table.schema.field("joints_2d")
    values = pa.FixedSizeListArray.from_arrays(pa.array(poses.ravel()), type=field.type)
    pq.write_table(table.set_column(table.schema.names.index("joints_2d"), field, values), path)
    words = ("--model", "semgcn", "--data", data, "--runs", tmp_path / "runs", "--device", "cpu")
    message = refused("train", *words)
    assert "the training loss became nan in epoch 1; check inputs and targets for NaN" in message
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
@pytest.mark.parametrize("detections", ["gt", "cpn"])
def test_the_validation_error_is_the_frame_mean_under_protocol_semgcn(
    synthetic_data: Path, tmp_path: Path, model: str, detections: str
) -> None:
    trained(tmp_path, synthetic_data, "--epochs", 1, "--detections", detections, model=model)
    (row,) = log(tmp_path / "run")
    weights = tmp_path / "run" / "checkpoint_best.pt"
    words = ("--weights", weights, "--detections", detections, "--protocol", "semgcn", "--device", "cpu")
    done("bench", "--model", model, "--data", synthetic_data, "--runs", tmp_path, *words)
    (ran,) = read_leaderboard(tmp_path / "leaderboard.csv")
    report = json.loads((tmp_path / ran.run / "report.json").read_text())
    assert ran.mean == "action"
    # targets in training are rounded as the official float32 program rounds them
    assert report["other_mean"]["mpjpe"] == pytest.approx(row["validation_mpjpe_mm"], abs=1e-3)
    assert checkpoint(tmp_path / "run", "best")["error"] == row["validation_mpjpe_mm"]
