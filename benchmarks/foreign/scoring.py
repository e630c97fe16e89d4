"""Scores a predictions file of any kind from disk, and leaves what others need to compare it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from h36m_toolbox.benchmarks.all_protocols import ProtocolTable, evaluate_all
from h36m_toolbox.benchmarks.evaluator import evaluate
from h36m_toolbox.benchmarks.foreign.files import converted
from h36m_toolbox.benchmarks.foreign.poses import LabelledFrames, Statement
from h36m_toolbox.benchmarks.matching import covered_rows
from h36m_toolbox.benchmarks.narrowing import protocol_of_split
from h36m_toolbox.benchmarks.predictions import Predictions
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.benchmarks.runs.environments import present_environment
from h36m_toolbox.benchmarks.runs.folders import PREDICTIONS_NAME, predictions_of, seal, unseal, write_report
from h36m_toolbox.benchmarks.runs.records import Recorded, record_predictions
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import row_keys
from h36m_toolbox.sequences import SPLITS
from h36m_toolbox.storage.files import written_whole

PROTOCOLS_NAME = "protocols.csv"


def score_file(
    path: Path,
    data: Path,
    protocol_name: str,
    split: str = "val",
    statement: Statement | None = None,
    model: str = "",
    out: Path | None = None,
    arguments: tuple[str, ...] = (),
    pck_thresholds_mm: tuple[float, ...] = (),
) -> Report:
    """Score any predictions file, or those of a run's folder, under a protocol on the labels of a split.

    `statement` is what the user says of the file, `model` the label of its maker; PCK is also told at the thresholds.
    With `out` also written there: the files of a run, `run_folders`, with `arguments` as the command line that asked
    for it. Raises as `prediction_files.converted` and `evaluate`; nothing is written then.
    """
    protocol = protocol_of_split(protocol_name, split)
    labels = read_labels(data, split, ["joints_3d_camera"])
    with _as_ours(path, data, labels, labelled_frames(labels, split, protocol), statement, model) as (
        ours,
        predictions,
    ):
        report = evaluate(predictions, labels, protocol, pck_thresholds_mm)
        if out:
            out.mkdir(parents=True, exist_ok=True)
            unseal(out)
            _place(ours, out / PREDICTIONS_NAME)
            write_report(out, report)
            request = {"predictions_sha256": report.predictions_sha256, "split": split, "protocol": protocol.name}
            seal(out, present_environment(report.provenance.device, arguments, data, request))
    return report


def score_as_run(
    path: Path,
    data: Path,
    protocol_name: str,
    runs: Path,
    split: str = "val",
    statement: Statement | None = None,
    model: str = "",
    arguments: tuple[str, ...] = (),
) -> Recorded:
    """As `score_file`, kept as a run of its own: a folder in RUNS and a row in its leaderboard."""
    protocol = protocol_of_split(protocol_name, split)
    labels = read_labels(data, split, ["joints_3d_camera"])
    with _as_ours(path, data, labels, labelled_frames(labels, split, protocol), statement, model) as (ours, _):
        return record_predictions(ours, runs, data, split, labels, protocol, arguments)


def score_under_all(
    path: Path,
    data: Path,
    split: str = "val",
    statement: Statement | None = None,
    model: str = "",
    out: Path | None = None,
) -> ProtocolTable:
    """Score any predictions file under every protocol that fits it; arguments as of `score_file`.

    With `out` also written there: `predictions.parquet` and `protocols.csv`, a line a protocol.
    """
    labels = read_labels(data, split, ["joints_3d_camera"])
    with _as_ours(path, data, labels, labelled_frames(labels, split, None), statement, model) as (ours, predictions):
        table = evaluate_all(predictions, labels, None if split == "val" else SPLITS[split])
        if out:
            _place(ours, out / PREDICTIONS_NAME)
            with written_whole(out / PROTOCOLS_NAME) as temporary:
                temporary.write_text(table.to_csv(), encoding="utf-8")
    return table


@contextmanager
def _as_ours(
    path: Path, data: Path, labels: pa.Table, labelled: LabelledFrames, statement: Statement | None, model: str
) -> Iterator[tuple[Path, Predictions]]:
    """The predictions, and where they lie as a file of ours while the context lasts."""
    with TemporaryDirectory(prefix="h36m-eval-") as folder:
        path, into = predictions_of(path), Path(folder) / PREDICTIONS_NAME
        predictions = converted(path, into, data, labels, labelled, statement or Statement(), model)
        yield (into if into.exists() else path), predictions


def labelled_frames(labels: pa.Table, split: str, protocol: Protocol | None) -> LabelledFrames:
    """The frames that arrays in label order can be rows of; `protocol` None where several score them."""
    keys = row_keys(labels)
    if not len(keys):
        raise H36MError(f"the labels of the {split} split have no rows; write them again with `h36m labels`")
    ordered = keys.copy()
    ordered.sort()
    scored = keys[covered_rows(labels, keys, protocol)] if protocol else None
    return LabelledFrames(ordered, scored, split)


def _place(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    with written_whole(target) as temporary:
        shutil.copyfile(source, temporary)
