"""Two processes that share each batch learn and predict what one process does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from shared_training import trained
from synthetic_data import done

from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.models.processes import Processes
from h36m_toolbox.pose_tables import pose_array


def on_two_processes(*words: object) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 5, 64])
def test_every_row_is_exactly_one_process_s(rows: int, count: int) -> None:
    shares = [np.arange(rows)[Processes(rank, count).share(rows)] for rank in range(count)]
    assert np.array_equal(np.concatenate(shares), np.arange(rows))


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    trained(tmp_path / "one")
    on_two_processes(Path(__file__).with_name("shared_training.py"), tmp_path / "two")
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    for left, right in zip(one["epochs"], two["epochs"], strict=True):
        assert left["train_loss"] == pytest.approx(right["train_loss"], rel=1e-9)
    for name, values in one["state_dict"].items():
        # biases before a batch norm have no gradient but rounding, of which Adam makes steps
        if not name.endswith(("gconv.bias", "W.0.bias")):
            torch.testing.assert_close(two["state_dict"][name], values, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.slow
def test_torchrun_trains_and_benches_to_the_single_process_s_figures(synthetic_data: Path, tmp_path: Path) -> None:
    data = ("--model", "semgcn", "--data", synthetic_data, "--device", "cpu")
    train = ("train", *data, "--epochs", 1, "--name", "run")
    done(*train, "--runs", tmp_path / "one")
    said = on_two_processes("-m", "h36m_toolbox", *train, "--runs", tmp_path / "two")
    assert said.count("wrote ") == 3  # the first process speaks, the other is silent
    one, two = (checkpoint(tmp_path / name / "run")["epochs"][0] for name in ("one", "two"))
    assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)
    weights = ("--weights", tmp_path / "one" / "run" / "checkpoint_last.pt")
    done("bench", *data, *weights, "--runs", tmp_path / "one")
    on_two_processes("-m", "h36m_toolbox", "bench", *data, *weights, "--runs", tmp_path / "two")
    (left,), (right,) = (read_leaderboard(tmp_path / name / "leaderboard.csv") for name in ("one", "two"))
    assert (left.frames, left.incomplete) == (right.frames, right.incomplete)
    assert left.mpjpe_mm == pytest.approx(right.mpjpe_mm, abs=1e-4)
    poses = [
        pose_array(pq.read_table(tmp_path / name / row.run / "predictions.parquet"), "joints_3d")
        for name, row in (("one", left), ("two", right))
    ]
    np.testing.assert_allclose(*poses, rtol=0, atol=1e-2)
