"""docs/own-model.md, followed to the letter: a package of the user's own is trained and benched."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from synthetic_data import done, h36m, refused

from h36m_toolbox.benchmarks.standings.leaderboard import read_leaderboard

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text()

pytestmark = pytest.mark.usefixtures("one_thread")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return found


def installed(folder: Path, module: str, project: dict) -> None:
    """What pip leaves of a package: its module and its metadata."""
    (folder / "my_lifter.py").write_text(module)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {place}" for name, place in project["entry-points"]["h36m.models"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[h36m.models]", *lines]) + "\n")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_lifter", raising=False)
    return {"folder": folder, "project": tomllib.loads(block("toml"))["project"]}


def test_the_example_is_listed_trained_and_benched(package: dict, synthetic_data: Path, tmp_path: Path) -> None:
    installed(package["folder"], block("python"), package["project"])
    assert "my-lifter\n  paper       none yet" in done("models")
    for line in block("sh").splitlines():
        words = [str(synthetic_data) if word == "DATA" else word for word in shlex.split(line)[1:]]
        words = [str(tmp_path / word) if word.startswith("runs/") else word for word in words]
        done(*words, "--runs", tmp_path / "runs", "--device", "cpu")
    (row,) = read_leaderboard(tmp_path / "runs" / "leaderboard.csv")
    assert (row.model, row.parameters) == ("my-lifter", 17 * 2 * 17 * 3 + 17 * 3)
    assert 0 < row.mpjpe_mm < 500


def test_a_broken_package_is_named_and_stops_nobody_else(package: dict, synthetic_data: Path, tmp_path: Path) -> None:
    installed(package["folder"], "raise UserWarning('no such luck')", package["project"])
    words = ("--data", synthetic_data, "--runs", tmp_path, "--untrained", "--device", "cpu")
    message = refused("bench", "--model", "my-lifter", *words)
    assert "model my-lifter: my_lifter:CARD cannot be imported (UserWarning: no such luck)" in message
    assert h36m("bench", "--model", "semgcn", *words).exit_code == 0
    listed = done("models")
    assert "my-lifter\n  cannot be used: model my-lifter: my_lifter:CARD cannot be imported" in listed
    assert "semgcn-nonlocal" in listed


def test_a_bundled_name_stays_the_bundled_model_s(package: dict) -> None:
    project = package["project"] | {"entry-points": {"h36m.models": {"semgcn": "my_lifter:CARD"}}}
    installed(package["folder"], block("python"), project)
    assert "Semantic Graph Convolutional Networks" in done("models")
