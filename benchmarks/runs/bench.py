"""A benchmark run: a model's predictions on a split, scored under a protocol, in a folder of its own.

`run_folders` says what is in that folder; a row in `RUNS/leaderboard.csv` goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.evaluator import check_joints
from h36m_toolbox.benchmarks.matching import covered_rows
from h36m_toolbox.benchmarks.narrowing import narrowed, protocol_of_name
from h36m_toolbox.benchmarks.predictions import (
    PREDICTION_COLUMN,
    Provenance,
    prediction_schema,
    row_name,
    write_predictions,
)
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.runs.environments import present_environment
from h36m_toolbox.benchmarks.runs.folders import PREDICTIONS_NAME, finished_run, new_run
from h36m_toolbox.benchmarks.runs.integral import bench_patches
from h36m_toolbox.benchmarks.runs.lifting_data import FrameChoice, chosen_frames
from h36m_toolbox.benchmarks.runs.origins import (
    check_execution,
    described_options,
    ensemble_members,
    identity_of,
    provenance_of,
)
from h36m_toolbox.benchmarks.runs.poseformer import crop_model, crop_poses
from h36m_toolbox.benchmarks.runs.records import Recorded, kept_run, recorded
from h36m_toolbox.benchmarks.runs.volumetric import Progress, bench_views
from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles
from h36m_toolbox.benchmarks.standings.leaderboard import LEADERBOARD_NAME, read_leaderboard
from h36m_toolbox.detections.bundles import bundled_skeleton, detections_path, match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.execution import EXACT, Execution
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.pose_tables import KEYS, pose_column, row_keys
from h36m_toolbox.sequences import HUMAN36M, SPLITS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import Skeleton
from h36m_toolbox.storage.files import sha256_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from h36m_toolbox.models.lifting import Lifting, Normaliser
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.test_time import Predictor
    from h36m_toolbox.models.watching import Spent, Watch


@dataclass(frozen=True)
class BenchRequest:
    """What to run: a lifter on the 2D `detections` of DATA, or a model on its images; weights from a file or none.

    `weights` None asks for random weights, and the row says so. `seed` fixes these. `test_subjects`, `actions` and
    `every` narrow the protocol, which then has a name of its own.
    """

    model: str
    data: Path
    dataset: str = HUMAN36M  # or mpi-inf-3dhp, which `runs.mpi_inf_3dhp` runs
    detections: str = ""  # "" for gt, or what a model that sees crops is published on
    protocol: str = ""  # "" for that of the model's published figures, or a lifter's semgcn
    weights: Path | None = None
    split: str = "val"
    device: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None  # None: as many poses or images as suit the device
    seed: int = 0
    test_subjects: tuple[str, ...] = ()  # of the split; () for all of them
    actions: tuple[str, ...] = ()
    every: int = 1
    resume: bool = False  # keep a finished run of the same request
    files: ViewFiles = field(default_factory=ViewFiles)  # of a model that sees images
    arguments: tuple[str, ...] = ()  # of the command line, for the run's environment
    flip: bool = False  # average with the mirrored input
    ensemble: tuple[Path, ...] = ()  # weights of more models, whose poses are averaged
    execution: Execution = EXACT  # precision, layout, compiler, graphs

    @property
    def scored_under(self) -> Protocol:
        """The protocol, narrowed to what was asked for."""
        strangers = [subject for subject in self.test_subjects if subject not in SPLITS[self.split]]
        if strangers:
            raise H36MError(
                f"{', '.join(strangers)}: not of the {self.split} split, which has {', '.join(SPLITS[self.split])}"
            )
        subjects = self.test_subjects or (() if self.split == "val" else SPLITS[self.split])
        contract = model_card(self.model).contract(**self.options)
        own = contract.protocol if isinstance(contract, FromViews | FromCrops | FromPatches) else "semgcn"
        return narrowed(protocol_of_name(self.protocol or own), subjects, self.actions, self.every)

    @property
    def narrows(self) -> bool:
        """Whether less than the split is asked for."""
        return bool(self.test_subjects or self.actions or self.every > 1)


def bench(
    request: BenchRequest, runs: Path, processes: Processes | None = None, progress: Progress | None = None
) -> Recorded | None:
    """Run a model on the frames that the protocol scores, write its predictions, and score them from the file.

    A model that takes hours tells `progress` how many poses of all this process has finished.
    With `resume` a finished run of the same request is kept, and its row added where it is missing. Where several
    `processes` share the frames, the first writes and has the result; the others return None. Raises H36MError for
    missing labels or detections, weights that do not fit, joints that the protocol scores but the model does not
    predict, predictions that are not finite, and a broken leaderboard; nothing is written then.
    """
    contract = model_card(request.model).contract(**request.options)
    if isinstance(contract, FromCrops):
        contract.check_dataset(request.dataset)
    own = contract.detections if isinstance(contract, FromCrops) else "gt"
    request = replace(request, detections=request.detections or own)
    check_execution(request)
    members = ensemble_members(request)
    if isinstance(contract, FromPatches):
        return bench_patches(request, contract, runs, processes)
    if isinstance(contract, FromViews):
        return bench_views(request, contract, runs, processes, progress)
    if isinstance(contract, FromCrops):
        if request.flip and not contract.flip_test:
            raise H36MError("--flip and --option flip_test=false contradict each other; leave one of them out")
        request = replace(request, flip=contract.flip_test)  # the row says what is officially on by default
    from h36m_toolbox.models.processes import ALONE

    processes = processes or ALONE
    protocol = request.scored_under
    check_joints(f"model {request.model}", contract.output_joints, protocol)
    leaderboard = runs / LEADERBOARD_NAME
    if leaderboard.exists():
        read_leaderboard(leaderboard)  # one that takes no row is refused before the work, not after it
    labels = read_labels(request.data, request.split, ["joints_3d_camera"])
    scored = labels.take(covered_rows(labels, row_keys(labels), protocol))
    if not len(scored):
        raise H36MError(f"{request.data}: no labels of the {request.split} split that protocol {protocol.name} scores")
    identity = _identity(request, protocol)
    if request.resume:
        kept = processes.from_first(str(finished_run(runs, identity) or "") if processes.is_first else None)
        if kept:
            return kept_run(Path(kept), request.split, labels, protocol) if processes.is_first else None
    if isinstance(contract, FromCrops):
        models = [crop_model(member) for member in members]
        ran = crop_poses(models, contract, scored, request, processes, progress)
    else:
        lifters = [lifter(member, contract) for member in members]
        models = [model for model, _ in lifters]
        ran = _predict(lifters, contract, scored, request, processes)
    if ran is None:
        return None
    predicted, spent = ran
    _check_finite(predicted, scored, request)
    provenance = _provenance(identity, models, spent, len(scored))
    with new_run(runs, f"{request.model}-{request.detections}-{protocol.name}") as folder:
        table = _prediction_table(scored, predicted, contract.output_joints)
        write_predictions(folder / PREDICTIONS_NAME, table, provenance)
        environment = present_environment(provenance.device, request.arguments, request.data, identity)
        return recorded(folder, runs, request.split, labels, protocol, environment)


def _identity(request: BenchRequest, protocol: Protocol) -> dict[str, Any]:
    bundled_skeleton(request.data, request.detections)  # refuses a name that DATA has not
    detections_sha256 = sha256_of(detections_path(request.data, request.detections))
    options = described_options(request)
    return identity_of(request, protocol, options, request.detections, detections_sha256=detections_sha256)


def _check_finite(predicted: np.ndarray, scored: pa.Table, request: BenchRequest) -> None:
    wrong = ~np.isfinite(predicted).all(axis=(1, 2))
    if wrong.any():
        raise H36MError(
            f"model {request.model} with {request.weights or 'random weights'} on detections {request.detections} "
            f"predicts NaN or infinite numbers for {wrong.sum()} of {len(scored)} poses, the first is "
            f"{row_name(scored, int(wrong.argmax()))}; look for such numbers in the weights and the detections"
        )


def lifter(request: BenchRequest, contract: Lifting) -> tuple[nn.Module, Normaliser]:
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
    lifters: list[tuple[nn.Module, Normaliser]],
    contract: Lifting,
    scored: pa.Table,
    request: BenchRequest,
    processes: Processes,
) -> tuple[np.ndarray, Spent] | None:
    """Poses (rows, joints, 3), mm, and what it took from pixels to poses; None but on the first process."""
    import torch

    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.lifting import lifting_mirror
    from h36m_toolbox.models.test_time import averaged
    from h36m_toolbox.models.watching import Watch

    mine = scored.slice(*_start_and_length(processes.share(len(scored))))
    detections = read_detections(request.data, request.detections)
    pixels = match_detections(mine, detections, request.detections, contract.input_joints.joints)
    watch = Watch(device_named(request.device))
    predictors = [_predictor(model, normaliser, contract, mine, request, watch) for model, normaliser in lifters]
    lifted = averaged(predictors, lifting_mirror(mine, contract), request.flip)(torch.from_numpy(pixels))
    spent = watch.spent().by_all(processes)
    poses = processes.gathered(lifted.numpy())
    return (poses, spent) if processes.is_first else None


def _predictor(
    model: nn.Module, normaliser: Normaliser, contract: Lifting, labels: pa.Table, request: BenchRequest, watch: Watch
) -> Predictor[torch.Tensor]:
    """From the pixels (rows, input joints, 2) of these labels to poses (rows, output joints, 3), mm."""
    import torch

    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.lifting import predict

    def lifted(pixels: torch.Tensor) -> torch.Tensor:
        inputs = normaliser.inputs(labels, pixels.numpy())
        device = device_named(request.device)
        outputs = predict(model, inputs, device, request.batch_size, request.execution, watch)
        if outputs.shape[1:] != (len(contract.output_joints), 3):
            raise H36MError(
                f"model {request.model} gives {outputs.shape[1:]} a pose; its contract says "
                f"({len(contract.output_joints)}, 3), the joints of {contract.output_joints.name}"
            )
        return torch.from_numpy(normaliser.poses_mm(outputs))

    return lifted


def _start_and_length(rows: slice) -> tuple[int, int]:
    return rows.start, rows.stop - rows.start


def _prediction_table(scored: pa.Table, predicted: np.ndarray, skeleton: Skeleton) -> pa.Table:
    schema = prediction_schema(skeleton)
    column = pose_column(predicted, schema.field(PREDICTION_COLUMN).type)
    return pa.table([*(scored.column(key) for key in KEYS), column], schema=schema)


def _provenance(identity: dict[str, Any], models: list[nn.Module], spent: Spent, poses: int) -> Provenance:
    return provenance_of(
        identity,
        identity["detections_sha256"],
        spent=spent,
        poses=poses,
        root="relative",
        parameters=sum(parameter.numel() for model in models for parameter in model.parameters()),
    )
