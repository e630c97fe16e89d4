"""A benchmark run: a model's predictions on a split, scored under a protocol, in a folder of its own.

`RUNS/<run>/{predictions.parquet, report.json, per_action.csv}` and a row in `RUNS/leaderboard.csv`.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from h36m_toolbox import __version__
from h36m_toolbox.benchmarks.evaluator import check_joints, evaluate
from h36m_toolbox.benchmarks.leaderboard import LeaderboardRow, append_row, read_leaderboard
from h36m_toolbox.benchmarks.lifting_data import FrameChoice, chosen_frames
from h36m_toolbox.benchmarks.matching import covered_rows
from h36m_toolbox.benchmarks.predictions import (
    PREDICTION_COLUMN,
    UNTRAINED,
    Provenance,
    prediction_schema,
    read_predictions,
    row_name,
    write_predictions,
)
from h36m_toolbox.benchmarks.protocols import Protocol, protocol_named
from h36m_toolbox.benchmarks.reports import Report
from h36m_toolbox.detections import detections_path, match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import sha256_of, written_whole
from h36m_toolbox.labels import data_fingerprint, read_labels
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.pose_tables import KEYS, pose_column, row_keys
from h36m_toolbox.sequences import SPLITS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import Skeleton

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.models.lifting import Lifting, Normaliser
    from h36m_toolbox.models.processes import Processes


@dataclass(frozen=True)
class BenchRequest:
    """What to run: a bundled lifter on the 2D `detections` of DATA, its weights from a file or none at all.

    `weights` None asks for random weights, and the row says so. `seed` fixes these.
    """

    model: str
    data: Path
    detections: str = "gt"
    protocol: str = "semgcn"
    weights: Path | None = None
    split: str = "val"
    device: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 4096
    seed: int = 0


@dataclass(frozen=True, eq=False)
class BenchResult:
    """Where a run's files are, its report and its row in the leaderboard."""

    folder: Path
    report: Report
    row: LeaderboardRow


def bench(request: BenchRequest, runs: Path, processes: Processes | None = None) -> BenchResult | None:
    """Run a model on the frames that the protocol scores, write its predictions, and score them from the file.

    Where several `processes` share the frames, the first writes and has the result; the others return None. Raises
    H36MError for missing labels or detections, weights that do not fit, joints that the protocol scores but the model
    does not predict, predictions that are not finite, and a broken leaderboard; nothing is written then.
    """
    protocol = protocol_of_split(request.protocol, request.split)
    contract = model_card(request.model).contract(**request.options)
    check_joints(f"model {request.model}", contract.output_joints, protocol)
    leaderboard = runs / "leaderboard.csv"
    if leaderboard.exists():
        read_leaderboard(leaderboard)  # one that takes no row is refused before the work, not after it
    labels = read_labels(request.data, request.split, ["joints_3d_camera"])
    scored = labels.take(covered_rows(labels, row_keys(labels), protocol))
    if not len(scored):
        raise H36MError(f"{request.data}: no labels of the {request.split} split that protocol {protocol.name} scores")
    model, normaliser = _model(request, contract)
    ran = _predict(model, normaliser, contract, scored, request, processes)
    if ran is None:
        return None
    predicted, seconds = ran
    _check_finite(predicted, scored, request)
    provenance = _provenance(request, protocol, model, seconds, len(scored))
    name = f"{request.model}-{request.detections}-{protocol.name}"
    runs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}.", dir=runs) as parent:
        temporary = Path(parent) / name  # below it, because a temporary directory itself is for its owner's eyes only
        path = temporary / "predictions.parquet"
        write_predictions(path, _prediction_table(scored, predicted, contract.output_joints), provenance)
        report = evaluate(read_predictions(path), labels, protocol)
        write_report(temporary, report)
        folder = _placed(temporary, runs, name)
    row = leaderboard_row(folder.name, request.split, report)
    append_row(leaderboard, row)
    return BenchResult(folder, report, row)


def protocol_of_split(name: str, split: str) -> Protocol:
    """The protocol, on the training subjects under a name of its own where `split` is "train"."""
    protocol = protocol_named(name)
    return protocol if split == "val" else protocol.for_subjects(*SPLITS[split])


def write_report(folder: Path, report: Report) -> None:
    """`report.json` and `per_action.csv` of a report."""
    for name, text in (("report.json", report.to_json()), ("per_action.csv", report.per_action_csv())):
        with written_whole(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _check_finite(predicted: np.ndarray, scored: pa.Table, request: BenchRequest) -> None:
    wrong = ~np.isfinite(predicted).all(axis=(1, 2))
    if wrong.any():
        raise H36MError(
            f"model {request.model} with {request.weights or 'random weights'} on detections {request.detections} "
            f"predicts NaN or infinite numbers for {wrong.sum()} of {len(scored)} poses, the first is "
            f"{row_name(scored, int(wrong.argmax()))}; look for such numbers in the weights and the detections"
        )


def _model(request: BenchRequest, contract: Lifting) -> tuple[nn.Module, Normaliser]:
    """The network with its weights, and its units: the checkpoint's, or those of the training set."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = create_model(request.model, **request.options)
    saved = load_weights(model, request.weights).normaliser if request.weights else {}

    def training() -> tuple[pa.Table, np.ndarray]:
        return chosen_frames(request.data, FrameChoice(TRAIN_SUBJECTS), request.detections, contract.input_joints)

    return model, contract.normaliser(training, saved)


def _predict(
    model: nn.Module,
    normaliser: Normaliser,
    contract: Lifting,
    scored: pa.Table,
    request: BenchRequest,
    processes: Processes | None,
) -> tuple[np.ndarray, float] | None:
    """Poses (rows, joints, 3), mm, and the seconds that the network took; None but on the first process."""
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.lifting import predict
    from h36m_toolbox.models.processes import ALONE

    processes = processes or ALONE
    mine = scored.slice(*_start_and_length(processes.share(len(scored))))
    detections = read_detections(request.data, request.detections)
    pixels = match_detections(mine, detections, request.detections, contract.input_joints.joints)
    inputs = normaliser.inputs(mine, pixels)
    start = time.perf_counter()
    outputs = predict(model, inputs, device_named(request.device), request.batch_size)
    outputs = processes.gathered(outputs)
    seconds = time.perf_counter() - start
    if outputs.shape[1:] != (len(contract.output_joints), 3):
        raise H36MError(
            f"model {request.model} gives {outputs.shape[1:]} a pose; its contract says "
            f"({len(contract.output_joints)}, 3), the joints of {contract.output_joints.name}"
        )
    return (normaliser.poses_mm(outputs), seconds) if processes.is_first else None


def _start_and_length(rows: slice) -> tuple[int, int]:
    return rows.start, rows.stop - rows.start


def _prediction_table(scored: pa.Table, predicted: np.ndarray, skeleton: Skeleton) -> pa.Table:
    schema = prediction_schema(skeleton)
    column = pose_column(predicted, schema.field(PREDICTION_COLUMN).type)
    return pa.table([*(scored.column(key) for key in KEYS), column], schema=schema)


def _provenance(request: BenchRequest, protocol: Protocol, model: nn.Module, seconds: float, poses: int) -> Provenance:
    import torch

    from h36m_toolbox.models.devices import device_label, device_named

    return Provenance(
        model=request.model,
        options=request.options,
        weights_sha256=sha256_of(request.weights) if request.weights else UNTRAINED,
        detections=request.detections,
        detections_sha256=sha256_of(detections_path(request.data, request.detections)),
        data_fingerprint=data_fingerprint(request.data, request.split),
        protocol=protocol.name,
        h36m_version=__version__,
        torch_version=torch.__version__,
        numpy_version=np.__version__,
        python_version=platform.python_version(),
        device=device_label(device_named(request.device)),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=round(seconds, 4),
        poses_per_s=round(poses / max(seconds, 1e-9), 1),
        root="relative",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _placed(temporary: Path, runs: Path, name: str) -> Path:
    """Give a finished folder its name in `runs`, one that no run of the same second has or takes meanwhile."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = runs / f"{name}-{stamp}"
    number = 1
    while True:
        try:
            return temporary.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        number += 1
        folder = runs / f"{name}-{stamp}-{number}"


def leaderboard_row(run: str, split: str, report: Report) -> LeaderboardRow:
    """The line of a scored run."""
    made, headline = report.provenance, report.headline
    return LeaderboardRow(
        run=run,
        date=made.created,
        model=made.model,
        options=", ".join(f"{name}={value}" for name, value in made.options.items())
        + (UNTRAINED if made.weights_sha256 == UNTRAINED else ""),
        weights_sha256=made.weights_sha256,
        parameters=made.parameters or 0,
        detections=made.detections,
        detections_sha256=made.detections_sha256,
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
        data_fingerprint=made.data_fingerprint,
        h36m_version=made.h36m_version,
        device=made.device,
        poses_per_s=made.poses_per_s,
        predictions_sha256=report.predictions_sha256,
    )


def score(predictions: Path, data: Path, protocol_name: str, split: str = "val") -> Report:
    """Score a predictions file under a protocol on the labels of a split."""
    protocol = protocol_of_split(protocol_name, split)
    return evaluate(read_predictions(predictions), read_labels(data, split, ["joints_3d_camera"]), protocol)
