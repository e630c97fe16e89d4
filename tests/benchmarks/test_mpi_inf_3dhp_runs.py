"""`h36m bench --dataset mpi-inf-3dhp`: runs on a synthetic test set, prepared through the CLI."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from h36m_toolbox.benchmarks.mpi_inf_3dhp.files import read_inference_mat, read_test_predictions
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import TEST_PROTOCOLS
from h36m_toolbox.benchmarks.runs.folders import flaw_of
from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard
from h36m_toolbox.benchmarks.standings.rankings import Choice, leaderboard_of
from h36m_toolbox.cli import main
from h36m_toolbox.mpi_inf_3dhp.archive import open_archive
from h36m_toolbox.mpi_inf_3dhp.preparation import write_format
from h36m_toolbox.mpi_inf_3dhp.synthetic import SyntheticPlan, write_synthetic_3dhp


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpi-inf-3dhp")
    plan = SyntheticPlan(train=(), image_side=None, frames=3)
    write_synthetic_3dhp(folder / "raw", np.random.default_rng(0), plan)
    write_format("parquet", open_archive(folder / "raw"), folder / "data")
    return folder / "data"


def bench(data: Path, runs: Path, *words: str) -> Result:
    where = ("--data", str(data), "--runs", str(runs), "--dataset", "mpi-inf-3dhp", "--device", "cpu")
    return CliRunner().invoke(main, ["bench", *where, *words])


@pytest.mark.parametrize("model", ["semgcn", "martinez"])
def test_a_lifter_leaves_a_sealed_run_with_the_official_files_and_a_row(data: Path, tmp_path: Path, model: str) -> None:
    result = bench(data, tmp_path, "--model", model, "--untrained")
    assert result.exit_code == 0, result.output
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    folder = tmp_path / row.run
    assert flaw_of(folder) == ""
    assert (row.protocol, row.mean, row.split, row.frames, row.official) == ("mpi-inf-3dhp", "frame", "test", 12, False)
    (ranking,) = leaderboard_of(tmp_path, Choice()).rankings
    assert ranking.entries[0].place == "1"

    matlab, ours = (
        read_inference_mat(folder / "inference_data.mat"),
        read_test_predictions(folder / "predictions.parquet"),
    )
    assert all(np.array_equal(matlab[name], ours[name]) for name in ours)
    said = json.loads((folder / "report.json").read_text())
    assert said["inputs"]["joint_mapping"]["head"] == "halfway between Thorax and Head"
    with (folder / "protocols.csv").open() as file:
        protocols = {line["protocol"]: line for line in csv.DictReader(file)}
    assert list(protocols) == list(TEST_PROTOCOLS)
    assert float(protocols["mpi-inf-3dhp"]["mpjpe"]) == row.mpjpe_mm
    assert protocols["mpi-inf-3dhp-annot3"]["mpjpe"] != protocols["mpi-inf-3dhp"]["mpjpe"]

    again = CliRunner().invoke(main, ["eval", str(folder), "--data", str(data), "--protocol", "mpi-inf-3dhp"])
    assert f"{row.mpjpe_mm:.2f}" in again.output


def test_a_named_departure_has_a_row_of_its_own_and_a_finished_run_is_kept(data: Path, tmp_path: Path) -> None:
    words = ("--model", "semgcn", "--untrained", "--protocol", "mpi-inf-3dhp-d3dp", "--resume")
    assert "wrote" in bench(data, tmp_path, *words).output
    assert "kept" in bench(data, tmp_path, *words).output
    (row,) = read_leaderboard(tmp_path / "leaderboard.csv")
    assert (row.protocol, row.mean) == ("mpi-inf-3dhp-d3dp", "sequence")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "semgcn", "--detections", "cpn"), "its 2D ground truth only"),
        (("--model", "semgcn", "--every", "5"), "its whole test set"),
        (("--model", "semgcn", "--split", "train"), "on its test set"),
        (("--model", "semgcn", "--protocol", "semgcn"), "MPI-INF-3DHP has no protocol 'semgcn'"),
        (("--model", "semgcn", "--flip"), "without --flip"),
        (("--model", "martinez-tf"), "no labels of the train split"),
    ],
)
def test_what_the_data_set_does_not_have_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    result = bench(data, tmp_path / "runs", *words, "--untrained")
    assert result.exit_code != 0
    assert told in result.output
    assert not (tmp_path / "runs").exists()


def test_labels_of_the_other_data_set_are_named(data: Path, tmp_path: Path) -> None:
    words = ["bench", "--model", "semgcn", "--data", str(data), "--runs", str(tmp_path), "--untrained"]
    result = CliRunner().invoke(main, words)
    assert "holds labels of mpi-inf-3dhp, none of human3.6m" in result.output
