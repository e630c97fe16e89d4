"""Run folders as evidence: what the marker notices, and which earlier run is found again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from h36m_toolbox.benchmarks.runs.environments import present_environment, read_environment
from h36m_toolbox.benchmarks.runs.folders import (
    EVIDENCE,
    check_sealed,
    finished_run,
    flaw_of,
    new_run,
    placed,
    predictions_of,
    seal,
)
from h36m_toolbox.errors import H36MError


def sealed(folder: Path, request: dict | None = None) -> Path:
    folder.mkdir(parents=True)
    for name in EVIDENCE:
        (folder / name).write_text(f"content of {name}")
    (folder / "results.pkl").write_text("more")
    environment = present_environment("cpu", ("bench", "--model", "semgcn"), folder.parent, request or {"seed": 0})
    seal(folder, environment, ("results.pkl",))
    return folder


def test_a_sealed_folder_is_evidence(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "run")
    assert flaw_of(folder) == ""
    check_sealed(folder)
    assert predictions_of(folder) == folder / "predictions.parquet"
    assert predictions_of(tmp_path / "any.npz") == tmp_path / "any.npz"
    marker = json.loads((folder / "complete.json").read_text())
    assert set(marker["files"]) == {*EVIDENCE, "results.pkl"}
    assert marker["files"]["results.pkl"]["bytes"] == 4


def test_files_that_came_later_do_not_matter(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "run")
    (folder / "report.html").write_text("<html>")
    assert flaw_of(folder) == ""


@pytest.mark.parametrize("name", [*EVIDENCE, "results.pkl"])
@pytest.mark.parametrize("harm", ["same length", "longer", "missing"])
def test_a_changed_file_is_named(tmp_path: Path, name: str, harm: str) -> None:
    folder = sealed(tmp_path / "run")
    text = (folder / name).read_text()
    if harm == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_text(text[:-1] + "!" if harm == "same length" else text + "!")
    reason = f"altered: {name} is {'missing' if harm == 'missing' else 'not the file that complete.json'}"
    assert flaw_of(folder).startswith(reason)
    with pytest.raises(H36MError, match=rf"run: {reason}.*; run the model again, or score its predictions"):
        check_sealed(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {}}', '{"files": {"report.json": 3}}', '{"files": 3}'])
def test_a_marker_that_is_none_is_noticed(tmp_path: Path, text: str) -> None:
    folder = sealed(tmp_path / "run")
    (folder / "complete.json").write_text(text)
    assert flaw_of(folder) == "altered: complete.json is not as a run writes it"


def test_a_folder_without_a_marker_is_unfinished(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "run")
    (folder / "complete.json").unlink()
    assert flaw_of(folder) == "unfinished: no complete.json, which a run writes last"
    assert flaw_of(tmp_path / "none") == "no folder"


def test_only_a_sound_run_of_the_same_request_is_found_again(tmp_path: Path) -> None:
    request = {"model": "semgcn", "options": {"joints": 17, "pairs": (1, 2)}}
    folder = sealed(tmp_path / "one", request)
    sealed(tmp_path / "other", {**request, "model": "martinez"})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "environment.json").write_text("{}")
    assert finished_run(tmp_path, request) == folder
    assert finished_run(tmp_path, {**request, "seed": 1}) is None
    (folder / "report.json").write_text("edited")
    assert finished_run(tmp_path, request) is None


def test_the_environment_says_what_ran_and_comes_back(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "run")
    told = read_environment(folder / "environment.json")
    assert told.arguments == ("bench", "--model", "semgcn")
    assert told.python == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "torch", "pyarrow"} <= set(told.libraries)
    assert told.data == str(tmp_path)
    with pytest.raises(H36MError, match="no environment of a run"):
        read_environment(folder / "report.json")


def test_the_commit_is_that_of_the_checkout_it_was_run_from(tmp_path: Path) -> None:
    said = present_environment("cpu", (), tmp_path, {}).git_commit
    if (Path(__file__).parents[2] / ".git").exists() and shutil.which("git"):
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
        assert said.removesuffix("-dirty") == head.stdout.strip()
    else:
        assert said == ""


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with new_run(tmp_path / "runs", "semgcn@S9/every-5") as folder:
            (folder / "predictions.parquet").write_text("half")
            raise ValueError

    with pytest.raises(ValueError):
        fails()
    assert not list((tmp_path / "runs").iterdir())
    with new_run(tmp_path / "runs", "semgcn@S9/every-5") as folder:
        (folder / "predictions.parquet").write_text("whole")
        kept = placed(folder, tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [kept.name]
    assert kept.name.startswith("semgcn@S9_every-5-")
