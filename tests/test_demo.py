"""`h36m demo`: its commands are ones a user can type, and together they end in a plausible leaderboard."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from synthetic_data import h36m

from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.standings.leaderboard import LeaderboardRow, read_leaderboard
from h36m_toolbox.cli import main
from h36m_toolbox.demo import demo_commands, demo_tour
from h36m_toolbox.sequences import SUBJECTS
from h36m_toolbox.synthetic.archive import plan_of_size

ROOT = Path(__file__).parents[1]


def options(words: tuple[str, ...]) -> dict[str, str]:
    """The word after each option."""
    return {word: value for word, value in pairwise(words) if word.startswith("--")}


def test_every_command_of_the_demo_is_one_a_user_can_type(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()  # which earlier commands make
    commands = demo_commands(tmp_path, seed=0, jobs=2)
    with main.make_context("h36m", ["--"], resilient_parsing=True) as parent:
        for name, *words in commands:
            main.commands[name].make_context(name, list(words), parent=parent, resilient_parsing=False)
    shown = [name for name in main.commands if name in {command[0] for command in commands}]
    assert shown == ["synth", "extract", "labels", "detections", "stats", "pelvis", "train", "bench", "leaderboard"]


def test_the_weights_of_each_run_are_what_a_training_before_it_leaves(tmp_path: Path) -> None:
    trained: dict[Path, str] = {}
    benched = []
    for name, *words in demo_commands(tmp_path, seed=0, jobs=2):
        found = options(tuple(words))
        if name == "train":
            trained[Path(found["--runs"]) / found["--name"] / "checkpoint_best.pt"] = found["--model"]
        if name == "bench" and "--weights" in found:
            assert trained[Path(found["--weights"])] == found["--model"]
            benched.append((found["--model"], found.get("--dataset") or found["--detections"]))
    seen = ("gt", "cpn", "mpi-inf-3dhp")
    assert benched == [(model, each) for model in ("semgcn", "martinez") for each in seen]


def test_the_demo_archive_lacks_no_action_and_has_both_splits() -> None:
    plan = plan_of_size("demo")
    assert set(plan.subjects) <= set(SUBJECTS)
    assert set(plan.subjects) >= set(PROTOCOLS["semgcn"].subjects)
    assert len(set(plan.actions)) == 15
    assert plan.videos
    assert plan.detections


def test_the_demo_stops_where_a_command_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "labels" / "parquet" / "val.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PAR1")
    commands = [("doctor", str(tmp_path)), ("protocols",)]
    monkeypatch.setattr("h36m_toolbox.demo.demo_commands", lambda *_: commands)
    result = h36m("demo", tmp_path / "demo")
    assert result.exit_code == 1
    assert "cannot be read" in result.stdout
    assert "$ h36m protocols" not in result.stdout
    assert "Where everything is" not in result.stdout


@pytest.mark.slow
def test_the_demo_ends_in_a_plausible_leaderboard(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = subprocess.run(
        [sys.executable, "-m", "h36m_toolbox", "demo", str(folder), "--jobs", "2"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # threads that wait for each other crawl on a busy machine
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr
    assert "INCOMPLETE" not in process.stdout
    rows = read_leaderboard(folder / "runs" / "leaderboard.csv")
    assert len(rows) == 7
    assert not any(row.incomplete for row in rows)
    for row in rows:
        assert f" {row.run}\n" in process.stdout
        assert (folder / "runs" / row.run / "predictions.parquet").is_file()

    across = [row for row in rows if row.protocol == "mpi-inf-3dhp"]
    assert [(row.model, row.frames) for row in across] == [("semgcn", 48), ("martinez", 48)]
    rows = [row for row in rows if row not in across]

    def error(model: str, detections: str, untrained: bool = False) -> float:
        return next(row.mpjpe_mm for row in rows if _key(row) == (model, detections, untrained))

    for model in ("semgcn", "martinez"):
        for detections in ("gt", "cpn"):
            assert error(model, detections) < 0.5 * error("semgcn", "gt", untrained=True)
    tour = demo_tour(folder)
    assert process.stdout.endswith(f"\n{tour}\n")
    places = [line.split()[0] for line in tour.splitlines()[1:]]
    assert len(places) >= 9
    for place in map(Path, places):
        assert place.is_file() or any(place.rglob("*.*")), place


def _key(row: LeaderboardRow) -> tuple[str, str, bool]:
    return row.model, row.detections, row.weights_sha256 == "untrained"
