"""From predictions in a run's folder to a finished run: scored from the file, sealed, named, and a leaderboard row."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from h36m_toolbox.benchmarks.evaluator import evaluate
from h36m_toolbox.benchmarks.predictions import UNTRAINED, Provenance, read_predictions
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.benchmarks.runs.environments import Environment, present_environment
from h36m_toolbox.benchmarks.runs.folders import PREDICTIONS_NAME, new_run, placed, seal, write_report
from h36m_toolbox.benchmarks.standings.leaderboard import LEADERBOARD_NAME, LeaderboardRow, append_row


@dataclass(frozen=True, eq=False)
class Recorded:
    """Where a run's files are, its report and its row in the leaderboard; `kept` if an earlier one was not repeated."""

    folder: Path
    report: Report
    row: LeaderboardRow
    kept: bool = False

    @property
    def speed(self) -> str:
        """What the run took, in a line."""
        return self.report.provenance.speed


def recorded(
    folder: Path, runs: Path, split: str, labels: pa.Table, protocol: Protocol, environment: Environment
) -> Recorded:
    """Score the predictions in a temporary folder of RUNS, seal all that is in it, name it, and add its row."""
    report = evaluate(read_predictions(folder / PREDICTIONS_NAME), labels, protocol)
    write_report(folder, report)
    seal(folder, environment, tuple(sorted(path.name for path in folder.iterdir())))
    place = placed(folder, runs)
    row = leaderboard_row(place.name, split, report)
    append_row(runs / LEADERBOARD_NAME, row)
    return Recorded(place, report, row)


def kept_run(folder: Path, split: str, labels: pa.Table, protocol: Protocol) -> Recorded:
    """A finished run as it is; its row is added where a run was interrupted just before that."""
    report = evaluate(read_predictions(folder / PREDICTIONS_NAME), labels, protocol)
    row = leaderboard_row(folder.name, split, report)
    append_row(folder.parent / LEADERBOARD_NAME, row, once=True)
    return Recorded(folder, report, row, kept=True)


def record_predictions(
    predictions: Path,
    runs: Path,
    data: Path,
    split: str,
    labels: pa.Table,
    protocol: Protocol,
    arguments: tuple[str, ...] = (),
) -> Recorded:
    """A run of its own in RUNS for predictions that are there already, in our format; `arguments` as typed."""
    made = read_predictions(predictions).provenance
    request = {"predictions": str(predictions.absolute()), "split": split, "protocol": protocol.name}
    model, detections = (word.replace("/", "_") for word in (made.model, made.detections))
    with new_run(runs, "-".join(word for word in (model, detections, protocol.name) if word)) as folder:
        shutil.copyfile(predictions, folder / PREDICTIONS_NAME)
        environment = present_environment(made.device, arguments, data, request)
        return recorded(folder, runs, split, labels, protocol, environment)


def provenance_columns(made: Provenance) -> dict[str, Any]:
    """The columns of a leaderboard row that say where its predictions come from."""
    words = [f"{name}={value}" for name, value in made.options.items()]
    return {
        "date": made.created,
        "model": made.model,
        "options": ", ".join([*words, UNTRAINED] if made.weights_sha256 == UNTRAINED else words),
        "weights_sha256": made.weights_sha256,
        "parameters": made.parameters,
        "detections": made.detections,
        "detections_sha256": made.detections_sha256,
        "data_fingerprint": made.data_fingerprint,
        "h36m_version": made.h36m_version,
        "device": made.device,
        "poses_per_s": made.poses_per_s,
    }


def leaderboard_row(run: str, split: str, report: Report) -> LeaderboardRow:
    """The line of a scored run."""
    made, headline, undamaged = report.provenance, report.headline, report.without_damaged
    return LeaderboardRow(
        run=run,
        **provenance_columns(made),
        split=split,
        protocol=report.protocol.name,
        protocol_version=report.protocol.version,
        mpjpe_mm=headline.mpjpe,
        p_mpjpe_mm=headline.p_mpjpe,
        n_mpjpe_mm=headline.n_mpjpe,
        mpjve_mm=headline.mpjve,
        pck150=headline.pck150,
        auc=headline.auc,
        mean=report.protocol.mean.name.lower(),
        frames=report.frames_scored,
        incomplete=report.incomplete,
        predictions_sha256=report.predictions_sha256,
        manifest_sha256=report.manifest.sha256,
        official=report.official,
        pa_mpjpe_rigid_mm=headline.pa_mpjpe_rigid,
        acceleration_mm=headline.acceleration,
        auc_trapezoid=headline.auc_trapezoid,
        bone_length_mm=headline.bone_length,
        symmetry_mm=headline.symmetry,
        mpjpe_median_mm=headline.mpjpe_median,
        mpjpe_p90_mm=headline.mpjpe_p90,
        p_mpjpe_median_mm=headline.p_mpjpe_median,
        p_mpjpe_p90_mm=headline.p_mpjpe_p90,
        mpjpe_without_damaged_mm=undamaged.mpjpe if undamaged else math.nan,
    )
