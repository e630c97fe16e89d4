"""A run's folder as evidence: its files, and the marker with their hashes that is written last.

`RUNS/<run>/{predictions.parquet, report.json, per_action.csv, environment.json, complete.json}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.benchmarks.runs.environments import Environment, read_environment
from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import sha256_of, written_whole

PREDICTIONS_NAME, REPORT_NAME, PER_ACTION_NAME = "predictions.parquet", "report.json", "per_action.csv"
ENVIRONMENT_NAME, MARKER_NAME = "environment.json", "complete.json"
EVIDENCE = (PREDICTIONS_NAME, REPORT_NAME, PER_ACTION_NAME, ENVIRONMENT_NAME)
_MARKER_VERSION = 1


def write_report(folder: Path, report: Report) -> None:
    """`report.json` and `per_action.csv` of a report."""
    _write(folder / REPORT_NAME, report.to_json())
    _write(folder / PER_ACTION_NAME, report.per_action_csv())


def unseal(folder: Path) -> None:
    """Take the marker away before files are written anew, so that an interruption leaves an unfinished folder."""
    (folder / MARKER_NAME).unlink(missing_ok=True)


def seal(folder: Path, environment: Environment, more: tuple[str, ...] = ()) -> None:
    """Write the environment, then the marker: size and sha256 of every file, `more` than EVIDENCE included.

    Nothing may be changed afterwards.
    """
    _write(folder / ENVIRONMENT_NAME, environment.to_json())
    names = tuple(dict.fromkeys((*EVIDENCE, *more)))
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}
    _write(folder / MARKER_NAME, json.dumps({"version": _MARKER_VERSION, "files": files}, indent=2) + "\n")


def check_sealed(folder: Path) -> None:
    """An H36MError where a run's folder is unfinished, or not as the run left it."""
    reason = flaw_of(folder)
    if reason:
        raise H36MError(
            f"{folder}: {reason}; run the model again, or score its predictions into a new run with "
            f"`h36m eval {folder / PREDICTIONS_NAME} --data DATA --protocol P --runs RUNS`"
        )


def predictions_of(path: Path) -> Path:
    """The predictions file of a finished run's folder; any other path as it is. Raises as `check_sealed`."""
    if not path.is_dir():
        return path
    check_sealed(path)
    return path / PREDICTIONS_NAME


def flaw_of(folder: Path) -> str:
    """Why a run's folder is no evidence, beginning with "no folder", "unfinished" or "altered"; "" where it is."""
    if not folder.is_dir():
        return "no folder"
    marker = folder / MARKER_NAME
    if not marker.is_file():
        return f"unfinished: no {MARKER_NAME}, which a run writes last"
    try:
        record = json.loads(marker.read_text(encoding="utf-8"))
        files = {name: (told["bytes"], told["sha256"]) for name, told in record["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        files = {}
    if not set(EVIDENCE) <= set(files):
        return f"altered: {MARKER_NAME} is not as a run writes it"
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            return f"altered: {name} is missing"
        if path.stat().st_size != size or sha256_of(path) != digest:
            return f"altered: {name} is not the file that {MARKER_NAME} was written for"
    return ""


def read_report_record(folder: Path) -> dict[str, Any]:
    """The content of a run's `report.json`, as JSON has it."""
    path = folder / REPORT_NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise H36MError(f"{path}: no readable report ({error}); score the predictions again") from error
    if not isinstance(record, dict):
        raise H36MError(f"{path}: holds no report; score the predictions again")
    return record


def finished_run(runs: Path, request: dict[str, Any]) -> Path | None:
    """The newest sealed folder in RUNS whose run was asked for the same; None where there is none."""
    wanted = json.loads(json.dumps(request))
    for path in sorted(runs.glob(f"*/{ENVIRONMENT_NAME}"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            same = read_environment(path).request == wanted
        except H36MError:  # another version's, or edited: not the run that is looked for
            continue
        if same and not flaw_of(path.parent):
            return path.parent
    return None


def run_folders(runs: Path) -> list[Path]:
    """Every folder in RUNS that holds predictions or a report, finished or not, by name."""
    return sorted(
        folder
        for folder in (runs.iterdir() if runs.is_dir() else ())
        if not folder.name.startswith(".") and any((folder / name).exists() for name in EVIDENCE)
    )


@contextmanager
def new_run(runs: Path, name: str) -> Iterator[Path]:
    """A temporary folder in RUNS to fill; removed afterwards unless `placed` gave it its name."""
    runs.mkdir(parents=True, exist_ok=True)
    name = name.replace("/", "_")
    with TemporaryDirectory(prefix=f".{name}.", dir=runs) as parent:
        folder = Path(parent) / name  # below it, because a temporary directory itself is for its owner's eyes only
        folder.mkdir()
        yield folder


def placed(temporary: Path, runs: Path) -> Path:
    """Give a finished folder its name in `runs`, one that no run of the same second has or takes meanwhile."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = runs / f"{temporary.name}-{stamp}"
    number = 1
    while True:
        try:
            return temporary.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        number += 1
        folder = runs / f"{temporary.name}-{stamp}-{number}"


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
