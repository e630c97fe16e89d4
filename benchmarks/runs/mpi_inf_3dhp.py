"""A benchmark run on MPI-INF-3DHP's test set: as `runs.bench`, scored by that set's own evaluation.

Beside what every run's folder has: the two official tables, `inference_data.mat` for the official MATLAB evaluation,
and `protocols.csv`, the same predictions under every named departure from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from h36m_toolbox.benchmarks.foreign.files import foreign_provenance
from h36m_toolbox.benchmarks.mpi_inf_3dhp.files import (
    INFERENCE_MAT,
    activities_csv,
    protocols_csv,
    read_test_predictions,
    write_inference_mat,
    write_test_report,
)
from h36m_toolbox.benchmarks.mpi_inf_3dhp.lifting import by_sequence
from h36m_toolbox.benchmarks.mpi_inf_3dhp.predictions import read_test_prediction_file, write_test_predictions
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import (
    TEST_PROTOCOLS,
    TestProtocol,
    TestReport,
    evaluate_test_set,
    protocol_of_test_set,
)
from h36m_toolbox.benchmarks.predictions import UNKNOWN, Provenance
from h36m_toolbox.benchmarks.runs.bench import BenchRequest
from h36m_toolbox.benchmarks.runs.environments import Environment, present_environment
from h36m_toolbox.benchmarks.runs.folders import (
    PER_ACTION_NAME,
    PREDICTIONS_NAME,
    finished_run,
    new_run,
    placed,
    predictions_of,
    seal,
)
from h36m_toolbox.benchmarks.runs.mpi_inf_3dhp_entrants import Progress, entrant
from h36m_toolbox.benchmarks.runs.origins import check_execution, identity_of, provenance_of
from h36m_toolbox.benchmarks.runs.records import provenance_columns
from h36m_toolbox.benchmarks.standings.leaderboard import (
    LEADERBOARD_NAME,
    LeaderboardRow,
    append_row,
    read_leaderboard,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.labels import labels_path, read_test_labels
from h36m_toolbox.mpi_inf_3dhp.sequences import FAMILY
from h36m_toolbox.storage.files import sha256_of

if TYPE_CHECKING:
    from h36m_toolbox.models.processes import Processes

PROTOCOLS_NAME = "protocols.csv"
SPLIT = "test"


@dataclass(frozen=True, eq=False)
class RecordedTest:
    """Where a run's files are, its report and its row in the leaderboard; `kept` if an earlier one was not repeated."""

    folder: Path
    report: TestReport
    row: LeaderboardRow
    speed: str  # what the run took, in a line
    kept: bool = False


def bench_test_set(
    request: BenchRequest, runs: Path, processes: Processes | None = None, progress: Progress | None = None
) -> RecordedTest | None:
    """Run a model on the valid frames of the test set, write its predictions, and score them from the file.

    As `runs.bench`; a protocol is one of `TEST_PROTOCOLS`. Raises H36MError, with the command that makes it, for what
    DATA lacks, for options that belong to Human3.6M, and for models that need several views.
    """
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.processes import ALONE
    from h36m_toolbox.models.watching import Watch

    processes = processes or ALONE
    request = _checked(request)
    check_execution(request)
    protocol = protocol_of_test_set(request.protocol or FAMILY)
    if (runs / LEADERBOARD_NAME).exists():
        read_leaderboard(runs / LEADERBOARD_NAME)
    truth = read_test_labels(request.data)
    asked = entrant(request, truth)
    hashes = {"dataset": FAMILY, "files_sha256": asked.files_sha256}
    identity = identity_of(request, protocol, request.options, asked.detections, **hashes)
    if request.resume:
        found = processes.from_first(str(finished_run(runs, identity) or "") if processes.is_first else None)
        if found:
            return _kept(Path(found), truth, protocol) if processes.is_first else None
    rows = sum(int(sequence.valid.sum()) for sequence in truth)
    watch = Watch(device_named(request.device))
    poses = asked.predict(processes.share(rows), progress, watch)
    spent = watch.spent().by_all(processes)
    poses = processes.gathered(poses)
    if not processes.is_first:
        return None
    _check_finite(poses, request)
    provenance = provenance_of(
        identity,
        "",
        spent=spent,
        poses=rows,
        root="relative",
        parameters=sum(parameter.numel() for parameter in asked.model.parameters()),
    )
    with new_run(runs, f"{request.model}-{asked.detections}-{protocol.name}") as folder:
        write_test_predictions(folder / PREDICTIONS_NAME, by_sequence(poses, truth), truth, provenance)
        environment = present_environment(provenance.device, request.arguments, request.data, identity)
        return _recorded(folder, runs, truth, protocol, environment, asked.mapping)


def record_test_predictions(
    path: Path,
    data: Path,
    runs: Path,
    protocol_name: str = FAMILY,
    as_stated: bool = False,
    model: str = "",
    arguments: tuple[str, ...] = (),
) -> RecordedTest:
    """A run of its own in RUNS for predictions that are there already: those of a run, `inference_data.mat` or an npz.

    `model` names the model of a foreign file, by default as the file is called. Raises H36MError as
    `read_test_predictions` and `evaluate_test_set`, and for predictions with NaN, which cannot be ranked.
    """
    protocol, truth, path = protocol_of_test_set(protocol_name), read_test_labels(data), predictions_of(path)
    predictions = read_test_predictions(path)
    report = evaluate_test_set(predictions, truth, protocol, as_stated)
    if not math.isfinite(report.figures["mpjpe"]):
        raise H36MError(f"{path}: has poses with NaN, so it has no place in a leaderboard; score it without --runs")
    if path.suffix == ".parquet":
        made = read_test_prediction_file(path)[1]
    else:
        made = foreign_provenance(path, model, {}, sha256_of(labels_path(data, SPLIT)), "relative")
    words = (made.model, made.detections.replace(UNKNOWN, ""), protocol.name)
    with new_run(runs, "-".join(word for word in words if word)) as folder:
        write_test_predictions(folder / PREDICTIONS_NAME, predictions, truth, made)
        request = {"predictions": str(path.absolute()), "split": SPLIT, "protocol": protocol.name}
        environment = present_environment(made.device, arguments, data, request)
        return _recorded(folder, runs, truth, protocol, environment, {})


def _checked(request: BenchRequest) -> BenchRequest:
    if request.narrows:
        raise H36MError(
            "the evaluation of MPI-INF-3DHP is of its whole test set; leave --test-subjects, --actions and --every out"
        )
    if request.split != "val":
        raise H36MError(f"MPI-INF-3DHP is scored on its test set, not on {request.split}; leave --split out")
    if request.detections not in ("", "gt"):
        raise H36MError(
            f"MPI-INF-3DHP comes with its 2D ground truth only, not with detections {request.detections}; leave "
            "--detections out"
        )
    if request.flip or request.ensemble:
        raise H36MError("models are benched on MPI-INF-3DHP without --flip and --ensemble; leave them out")
    return replace(request, split=SPLIT, detections="gt")


def _check_finite(poses: np.ndarray, request: BenchRequest) -> None:
    wrong = ~np.isfinite(poses).all(axis=(1, 2))
    if wrong.any():
        raise H36MError(
            f"model {request.model} with {request.weights or 'random weights'} predicts NaN or infinite numbers for "
            f"{wrong.sum()} of {len(poses)} poses; look for such numbers in the weights"
        )


def _recorded(
    folder: Path,
    runs: Path,
    truth: list[TestAnnotations],
    protocol: TestProtocol,
    environment: Environment,
    mapping: dict[str, str],
) -> RecordedTest:
    """Score the predictions in a temporary folder of RUNS, seal all that is in it, name it, and add its row."""
    path = folder / PREDICTIONS_NAME
    predictions, provenance = read_test_prediction_file(path)
    reports = [evaluate_test_set(predictions, truth, each, as_stated=True) for each in TEST_PROTOCOLS.values()]
    report = reports[list(TEST_PROTOCOLS).index(protocol.name)]
    inputs = {"predictions": path.name, "predictions_sha256": sha256_of(path), "joint_mapping": mapping}
    write_test_report(folder, report, {**inputs, "labels_sha256": provenance.data_fingerprint})
    write_inference_mat(folder / INFERENCE_MAT, predictions)
    (folder / PER_ACTION_NAME).write_text(activities_csv(report), encoding="utf-8")
    (folder / PROTOCOLS_NAME).write_text(protocols_csv(reports), encoding="utf-8")
    seal(folder, environment, tuple(sorted(each.name for each in folder.iterdir())))
    place = placed(folder, runs)
    row = _row(place.name, report, provenance, inputs["predictions_sha256"])
    append_row(runs / LEADERBOARD_NAME, row)
    return RecordedTest(place, report, row, provenance.speed)


def _kept(folder: Path, truth: list[TestAnnotations], protocol: TestProtocol) -> RecordedTest:
    """A finished run as it is; its row is added where a run was interrupted just before that."""
    path = folder / PREDICTIONS_NAME
    predictions, provenance = read_test_prediction_file(path)
    report = evaluate_test_set(predictions, truth, protocol, as_stated=True)
    row = _row(folder.name, report, provenance, sha256_of(path))
    append_row(folder.parent / LEADERBOARD_NAME, row, once=True)
    return RecordedTest(folder, report, row, provenance.speed, kept=True)


def _row(run: str, report: TestReport, made: Provenance, predictions_sha256: Any) -> LeaderboardRow:
    return LeaderboardRow(
        run=run,
        **provenance_columns(made),
        split=SPLIT,
        protocol=report.protocol.name,
        protocol_version=report.protocol.version,
        mpjpe_mm=report.figures["mpjpe"],
        p_mpjpe_mm=math.nan,  # this and the next two: the evaluation does not define them
        n_mpjpe_mm=math.nan,
        mpjve_mm=math.nan,
        pck150=report.figures["pck150"],
        auc=report.figures["auc"],
        mean=report.protocol.mean.removesuffix("s"),
        frames=report.frames_scored,
        incomplete=report.incomplete,
        predictions_sha256=predictions_sha256,
        manifest_sha256=report.frames_sha256,
        official=report.official,
    )
