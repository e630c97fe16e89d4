"""A run's folder read back: its report, made again from its predictions, and the errors frame by frame behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.evaluator import judge
from h36m_toolbox.benchmarks.metrics import AUC_THRESHOLDS_MM
from h36m_toolbox.benchmarks.narrowing import protocol_of_name, split_of
from h36m_toolbox.benchmarks.page.cases import Case, cases_of
from h36m_toolbox.benchmarks.predictions import UNKNOWN, Provenance, read_predictions
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.benchmarks.runs.environments import Environment, read_environment
from h36m_toolbox.benchmarks.runs.folders import (
    ENVIRONMENT_NAME,
    PREDICTIONS_NAME,
    REPORT_NAME,
    flaw_of,
    read_report_record,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import data_fingerprint
from h36m_toolbox.sequences import Sequence

_TOLERANCE = 1e-6  # relative; machines add up in different orders
_BINS = 160


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ErrorsInTime:
    """MPJPE of a sequence's scored frames, mm, in bins of neighbouring frames."""

    sequence: Sequence
    frames: np.ndarray  # (bins,), the middle frame of each bin
    mean: np.ndarray  # (bins,)
    worst: np.ndarray  # (bins,)
    average: float  # over the whole sequence


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """A run that was read back. `report` is that of its folder, with the PCK curve from 0 to 150 mm."""

    name: str
    unfinished: str  # why its folder is no evidence, "" where it is sealed
    environment: Environment | None  # None where the folder is not sealed
    report: Report
    errors: np.ndarray  # (frames,), MPJPE of every scored frame, mm
    in_time: tuple[ErrorsInTime, ...]
    cases: tuple[Case, ...]


def read_scored_run(folder: Path, data: Path, labels: Callable[[str], pa.Table], name: str) -> ScoredRun:
    """Read a run's folder, score its predictions again on DATA's `labels` of a split, and hold the reports together.

    `name` is what to call the run.

    Raises H36MError where a file is missing or damaged, predictions are not those that the report was made from, the
    protocol is unknown or of another version, and a figure is not what the predictions give.
    """
    path = folder / REPORT_NAME
    unfinished = _unfinished(folder, data)
    said = read_report_record(folder)
    again = _scoring_again(folder, data)
    protocol = _protocol_of(said, path, again)
    predictions = read_predictions(folder / PREDICTIONS_NAME)
    if said.get("predictions_sha256") != predictions.sha256:
        raise H36MError(
            f"{path}: was made from predictions with sha256 {said.get('predictions_sha256')}, {PREDICTIONS_NAME} "
            f"beside it has {predictions.sha256}; {again}"
        )
    split = split_of(protocol)
    table = labels(split)
    judged = judge(predictions, table, protocol, tuple(map(float, AUC_THRESHOLDS_MM)))
    difference = _first_difference(said, {**json.loads(judged.report.to_json()), "pck": said.get("pck")})
    if difference:
        raise H36MError(f"{path}: {difference}; {_why(predictions.provenance, data, split)}; {again}")
    return ScoredRun(
        name=name,
        unfinished=unfinished,
        environment=None if unfinished else read_environment(folder / ENVIRONMENT_NAME),
        report=judged.report,
        errors=np.concatenate([score.values[0] for score in judged.scores]),
        in_time=tuple(
            _in_time(score.sequence, score.numbers, score.values[0]) for score in judged.scores if score.frames
        ),
        cases=cases_of(judged.scores, predictions, table, protocol),
    )


def _unfinished(folder: Path, data: Path) -> str:
    """Why a folder with a report is not sealed, "" where it is; an H36MError for no report and an altered file."""
    path = folder / REPORT_NAME
    if not path.is_file():
        raise H36MError(
            f"{path}: no such file; a run's folder has {REPORT_NAME} and {PREDICTIONS_NAME}, as `h36m bench` and "
            f"`h36m eval PREDICTIONS --data {data} --runs RUNS` write them"
        )
    flaw = flaw_of(folder)
    if flaw.startswith("altered"):
        raise H36MError(f"{folder}: {flaw}; {_scoring_again(folder, data)}")
    return flaw


def _protocol_of(said: dict[str, Any], path: Path, again: str) -> Protocol:
    stated = said.get("protocol")
    name, version = (stated.get("name"), stated.get("version")) if isinstance(stated, dict) else (None, None)
    if not isinstance(name, str):
        raise H36MError(f"{path}: names no protocol; {again}")
    try:
        protocol = protocol_of_name(name)
    except H36MError as error:
        raise H36MError(f"{path}: {error}; {again}") from error
    if str(protocol.version) != version:
        raise H36MError(
            f"{path}: scored under version {version} of protocol {name}, this h36m has version {protocol.version}; "
            f"{again}"
        )
    return protocol


def _scoring_again(folder: Path, data: Path) -> str:
    return f"score again with `h36m eval {folder / PREDICTIONS_NAME} --data {data} --protocol P --runs RUNS`"


def _why(made: Provenance, data: Path, split: str) -> str:
    if made.data_fingerprint not in ("", UNKNOWN, data_fingerprint(data, split)):
        return f"the labels of {data} are not those that the predictions were made on"
    return "it was edited by hand, or another version of h36m wrote it"


def _first_difference(said: Any, found: Any, where: str = "") -> str:
    """Where two values of JSON disagree, in words; "" where they do not."""
    if isinstance(said, dict) and isinstance(found, dict):
        for key in (*found, *(key for key in said if key not in found)):
            place = f"{where}.{key}" if where else str(key)
            if key not in said or key not in found:
                return f"{place} is {'missing' if key in found else 'unknown'}"
            inner = _first_difference(said[key], found[key], place)
            if inner:
                return inner
        return ""
    if isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        pairs = enumerate(zip(said, found, strict=True))
        return next((words for i, (a, b) in pairs if (words := _first_difference(a, b, f"{where}[{i}]"))), "")
    if _is_number(said) and _is_number(found) and math.isclose(said, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
        return ""
    return "" if said == found else f"{where} is {_short(said)}, the predictions beside it give {_short(found)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _in_time(sequence: Sequence, numbers: np.ndarray, errors: np.ndarray) -> ErrorsInTime:
    starts = np.unique(np.linspace(0, len(errors), min(_BINS, len(errors)), endpoint=False).astype(int))
    ends = np.append(starts[1:], len(errors))
    return ErrorsInTime(
        sequence,
        frames=numbers[(starts + ends - 1) // 2],
        mean=np.add.reduceat(errors, starts) / (ends - starts),
        worst=np.maximum.reduceat(errors, starts),
        average=float(errors.mean()),
    )
