"""What `h36m train` may be asked besides the published recipe: files, subjects, actions, joints, units, precision."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_data import FRAMES, VIEWS, done, h36m, refused

from h36m_toolbox.benchmarks.runs.lifting_data import FrameChoice, chosen_frames
from h36m_toolbox.benchmarks.runs.training import TrainRequest
from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.models.recipe_files import read_recipe_file
from h36m_toolbox.models.registry import recipe_of
from h36m_toolbox.pose_tables import word_codes
from h36m_toolbox.skeletons import H36M_16

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(data: Path, runs: Path, *words: object) -> Path:
    """The folder of a run of `h36m train`."""
    done("train", "--data", data, "--runs", runs, "--name", "run", "--device", "cpu", *words)
    return runs / "run"


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


def same_weights(left: Path, right: Path) -> bool:
    one, two = checkpoint(left)["state_dict"], checkpoint(right)["state_dict"]
    return all(torch.equal(values, two[name]) for name, values in one.items())


def test_a_file_asks_for_the_same_run_as_the_options(synthetic_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.toml"
    file.write_text(
        'model = "semgcn"\ndetections = "cpn"\n[options]\nhid_dim = 16\np_dropout = 0.5\n'
        "[recipe]\nepochs = 2\nlr = 0.01\nclip_norm = 0\nbatch_size = 32\nstaircase = false\n"
    )
    by_file = trained(synthetic_data, tmp_path / "file", "--config", file)
    words = ("--model", "semgcn", "--detections", "cpn", "--option", "hid_dim=16", "--option", "p_dropout=0.5")
    recipe = ("--epochs", 2, "--lr", 0.01, "--clip-norm", 0, "--batch-size", 32, "--no-staircase")
    by_words = trained(synthetic_data, tmp_path / "words", *words, *recipe)
    assert same_weights(by_file, by_words)
    assert (by_file / "train.toml").read_text() == (by_words / "train.toml").read_text()
    again = trained(synthetic_data, tmp_path / "again", "--config", by_file / "train.toml")
    assert same_weights(by_file, again)


def test_the_run_says_every_value_of_its_recipe(synthetic_data: Path, tmp_path: Path) -> None:
    folder = trained(synthetic_data, tmp_path, "--model", "martinez", "--epochs", 1)
    said = read_recipe_file(folder / "train.toml")
    assert said.recipe == asdict(recipe_of("martinez", "gt")) | {"epochs": 1}
    assert (said.model, said.detections) == ("martinez", "gt")


def test_an_option_goes_before_the_file(synthetic_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.toml"
    file.write_text('model = "semgcn"\n[recipe]\nepochs = 5\nbatch_size = 32\n')
    recipe = checkpoint(trained(synthetic_data, tmp_path, "--config", file, "--epochs", 1))["recipe"]
    assert (recipe["epochs"], recipe["batch_size"]) == (1, 32)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('model = "semgcn"\n[recipe]\nepoch = 3\n', "a recipe has no epoch; it has epochs, lr, decay"),
        ('model = "semgcn"\n[recipe]\nlr = "small"\n', "lr is 'small'; expected a value of type float"),
        ('model = "semgcn"\n[recipe]\nbatch_size = 1\n', "batch_size is 1; it must be 2 or more"),
        ('model = "semgcn"\n[recipe]\nprecision = "fp8"\n', "precision is 'fp8'; it must be fp32 or bf16"),
        ('model = "semgcn"\nwidth = 3\n', "unknown width; there are model, detections, pelvis, options, recipe"),
        ("model = 3\n", "model is 3; expected a word"),
        ("model = \n", "cannot be read as TOML"),
        ('model = "semgcn"\n[options]\nwidth = 3\n', "model semgcn has no option width; it has joints, hid_dim"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(synthetic_data: Path, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "asked.toml"
    file.write_text(text)
    assert told in refused("train", "--data", synthetic_data, "--runs", tmp_path / "runs", "--config", file)
    assert not (tmp_path / "runs").exists()


def test_without_a_model_the_command_says_how_to_name_one(synthetic_data: Path) -> None:
    result = h36m("train", "--data", synthetic_data)
    assert result.exit_code == 2
    assert "give --model NAME" in result.stderr


def test_frames_are_chosen_by_subject_action_and_step(synthetic_data: Path) -> None:
    chosen = FrameChoice(("S1", "S9"), actions=("Eating",), every=3)
    labels, pixels = chosen_frames(synthetic_data, chosen, "gt", H36M_16)
    assert set(labels.column("subject").to_pylist()) == {"S1", "S9"}
    assert set(labels.column("action").to_pylist()) == {"Eating"}
    assert not (labels.column("frame").to_numpy() % 3).any()
    assert pixels.shape == (len(labels), 16, 2)
    whole, _ = chosen_frames(synthetic_data, FrameChoice(("S1",)), "gt", H36M_16)
    assert len(whole) == VIEWS * FRAMES
    assert len(np.unique(word_codes(whole, "action"))) == 3


def test_a_subject_can_be_held_out_to_choose_the_epoch(synthetic_data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--epochs", 1, "--train-subjects", "S1,S9", "--validate-on", "S9")
    folder = trained(synthetic_data, tmp_path / "held", *words)
    assert checkpoint(folder)["poses"] == VIEWS * FRAMES
    learnt = trained(synthetic_data, tmp_path / "alone", "--model", "semgcn", "--epochs", 1)
    assert same_weights(folder, learnt)  # S9 was scored, not learnt from
    with (folder / "log.csv").open() as held, (learnt / "log.csv").open() as test:
        (row,), (other,) = csv.DictReader(held), csv.DictReader(test)
    assert float(row["validation_mpjpe_mm"]) > 0
    assert row["validation_mpjpe_mm"] != other["validation_mpjpe_mm"]  # the other was scored on S11 as well


def test_training_on_test_subjects_is_possible_and_on_unknown_ones_is_not(synthetic_data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--epochs", 1, "--validate-on", "none")
    poses = checkpoint(trained(synthetic_data, tmp_path, *words, "--train-subjects", "S9", "--every", 2))["poses"]
    assert 0 < poses < VIEWS * FRAMES
    data = ("--data", synthetic_data, "--runs", tmp_path / "none")
    assert "unknown: S2; there are S1, S5" in refused("train", *words, *data, "--train-subjects", "S2")
    assert "unknown: Runing; there are Directions" in refused("train", *words, *data, "--actions", "Runing")
    only = TrainRequest("semgcn", synthetic_data, train_subjects=("S1",), validate_on="S1")
    with pytest.raises(Exception, match="an empty list"):
        _ = only.trained_on


@pytest.mark.parametrize("model", ["martinez-weigq", "martinez-tf"])
def test_standardised_lifters_learn_and_carry_their_units_in_the_checkpoint(
    synthetic_data: Path, tmp_path: Path, model: str
) -> None:
    folder = trained(synthetic_data, tmp_path, "--model", model, "--epochs", 2, "--option", "linear_size=64")
    assert checkpoint(folder)["normaliser"]["mean_3d"].shape == (17, 3)
    rows = list(csv.DictReader((folder / "log.csv").open()))
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    words = ("--model", model, "--data", synthetic_data, "--option", "linear_size=64", "--device", "cpu")
    protocol = ("--protocol", "martinez-all-frames", "--runs", tmp_path)
    done("bench", *words, *protocol, "--weights", folder / "checkpoint_best.pt")
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    assert 0 < row.mpjpe_mm < 1000


def test_the_port_s_own_checkpoint_takes_its_units_from_the_training_set(synthetic_data: Path, tmp_path: Path) -> None:
    folder = trained(synthetic_data, tmp_path, "--model", "martinez-weigq", "--epochs", 1)
    content = checkpoint(folder)
    bare = tmp_path / "ckpt_best.pth.tar"
    torch.save({"epoch": 1, "lr": 1e-3, "step": 2, "err": 50.0, "state_dict": content["state_dict"]}, bare)
    words = ("--model", "martinez-weigq", "--data", synthetic_data, "--device", "cpu", "--protocol")
    for runs, weights in (("ours", folder / "checkpoint_last.pt"), ("theirs", bare)):
        done("bench", *words, "martinez-all-frames", "--runs", tmp_path / runs, "--weights", weights)
    (ours,), (theirs,) = (read_leaderboard(tmp_path / runs / "leaderboard.csv") for runs in ("ours", "theirs"))
    assert ours.mpjpe_mm == theirs.mpjpe_mm


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_seventeen_joints_are_trained_and_scored_under_a_protocol_of_seventeen(
    synthetic_data: Path, tmp_path: Path, model: str
) -> None:
    folder = trained(synthetic_data, tmp_path, "--model", model, "--joints", 17, "--epochs", 1)
    words = ("--model", model, "--joints", 17, "--data", synthetic_data, "--runs", tmp_path, "--device", "cpu")
    done("bench", *words, "--protocol", "videopose3d", "--weights", folder / "checkpoint_best.pt")
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    assert (row.protocol, row.options) == ("videopose3d", "joints=17")
    assert row.frames > 0


def test_mixed_precision_learns_other_weights_of_the_same_kind(synthetic_data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--epochs", 2, "--precision")
    full, mixed = (trained(synthetic_data, tmp_path / name, *words, name) for name in ("fp32", "bf16"))
    losses = [float(list(csv.DictReader((folder / "log.csv").open()))[1]["train_loss"]) for folder in (full, mixed)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert all(values.dtype != torch.bfloat16 for values in checkpoint(mixed)["state_dict"].values())


def test_tensorboard_events_hold_the_log(synthetic_data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = trained(synthetic_data, tmp_path, "--model", "semgcn", "--epochs", 2, "--tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((folder / "log.csv").open()))
    for name in ("train_loss", "validation_mpjpe_mm", "lr"):
        assert [event.value for event in events.Scalars(name)] == pytest.approx(
            [float(row[name]) for row in rows], rel=1e-6
        )
