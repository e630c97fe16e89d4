"""A benchmark run of a model that sees images: as `runs`, and with the official results pickle beside its predictions.

ContextPose takes each view for itself; the multi-view models have one world pose an instant, which the predictions hold
in the camera frame of each of its views.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from h36m_toolbox.benchmarks.evaluator import check_joints
from h36m_toolbox.benchmarks.foreign.world_views import world_to_views
from h36m_toolbox.benchmarks.matching import covered_rows
from h36m_toolbox.benchmarks.predictions import (
    PREDICTION_COLUMN,
    Provenance,
    prediction_schema,
    write_predictions,
)
from h36m_toolbox.benchmarks.runs.environments import present_environment
from h36m_toolbox.benchmarks.runs.folders import PREDICTIONS_NAME, finished_run, new_run
from h36m_toolbox.benchmarks.runs.origins import described_options, ensemble_members, identity_of, provenance_of
from h36m_toolbox.benchmarks.runs.records import Recorded, kept_run, recorded
from h36m_toolbox.benchmarks.runs.volumetric_data import ViewSamples, limb_options, read_samples
from h36m_toolbox.benchmarks.standings.leaderboard import LEADERBOARD_NAME, read_leaderboard
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.limb_lengths import statistics_path
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.pelvis.estimates import instant_keys
from h36m_toolbox.pose_tables import keyed_table, row_keys
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.storage.pickle_stream import write_pickled_value
from h36m_toolbox.views.labels import MultiviewLabels

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.benchmarks.protocols import Protocol
    from h36m_toolbox.benchmarks.runs.bench import BenchRequest
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.watching import Spent

Progress = Callable[[int, int], None]  # finished samples, all of this process's

RESULTS_NAME = "results.pkl"
READERS = 4  # threads that decode, undistort and cut


def bench_views(
    request: BenchRequest,
    contract: FromViews,
    runs: Path,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Recorded | None:
    """As `runs.bench`, for a model that sees images; `request.files` stand in for files of DATA.

    The model runs on every instant of the split's label table, or on those that a narrowed protocol scores. Raises
    H36MError, with the command that makes it, for what DATA lacks.
    """
    from h36m_toolbox.models.processes import ALONE

    processes = processes or ALONE
    if request.detections != "gt":
        raise H36MError(f"model {request.model} sees images and takes no 2D detections; leave {request.detections} out")
    protocol = request.scored_under
    check_joints(f"model {request.model}", contract.output_joints, protocol)
    if (runs / LEADERBOARD_NAME).exists():
        read_leaderboard(runs / LEADERBOARD_NAME)
    labels = read_labels(request.data, request.split, ["joints_3d_camera"])
    limbs = limb_options(request.data, contract, request.files)
    scored = instant_keys(labels)[covered_rows(labels, row_keys(labels), protocol)]

    def is_scored(table: MultiviewLabels) -> np.ndarray:
        return np.isin(table.keys, scored)

    samples = read_samples(request.data, request.split, contract, request.files, is_scored if request.narrows else None)
    source = _source(request, contract, samples)
    identity = _identity(request, protocol, source)
    if request.resume:
        found = processes.from_first(str(finished_run(runs, identity) or "") if processes.is_first else None)
        if found:
            return kept_run(Path(found), request.split, labels, protocol) if processes.is_first else None
    models = [view_model(member, contract, limbs) for member in ensemble_members(request)]
    ran = _predicted(models, samples, request, processes, progress)
    if ran is None:
        return None
    provenance = _provenance(identity, source, models, ran)
    words = (request.model, source.detections, protocol.name)
    with new_run(runs, "-".join(word for word in words if word)) as folder:
        schema = prediction_schema(contract.output_joints)
        keys, poses = in_camera_frames(samples, ran.world)
        write_predictions(folder / PREDICTIONS_NAME, keyed_table(keys, {PREDICTION_COLUMN: poses}, schema), provenance)
        if not request.narrows:
            write_results(folder / RESULTS_NAME, ran.world)
        environment = present_environment(provenance.device, request.arguments, request.data, identity)
        return recorded(folder, runs, request.split, labels, protocol, environment)


def write_results(path: Path, world: np.ndarray) -> None:
    """World poses (samples, joints, 3), mm, as the pickle of the official programs, whole or not at all.

    `keypoints_3d` float32 and `indexes` int64: places among the label table's instants of the split, or, from a model
    of one view, among their views. `h36m pelvis --results`, `h36m eval` and the official programs read it.
    """
    write_pickled_value(path, {"keypoints_3d": world.astype(np.float32), "indexes": np.arange(len(world))})


def in_camera_frames(samples: ViewSamples, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row keys (rows,), ascending, of all views of the samples, and their poses in those views' camera frames."""
    sample, camera = np.nonzero(samples.keys >= 0)
    keys = samples.keys[sample, camera]
    order = np.argsort(keys, kind="stable")
    return keys[order], world_to_views(keys[order], world[sample[order]].astype(np.float64), relative=False)


@dataclass(frozen=True)
class _Source:
    """What besides images and weights decides the predictions: the name of it, a hash, and hashes by file."""

    detections: str
    sha256: str
    files: dict[str, str]


def _source(request: BenchRequest, contract: FromViews, samples: ViewSamples) -> _Source:
    files = {"labels": sha256_of(samples.labels.path)}
    if contract.needs_limbs:
        files["statistics"] = sha256_of(request.files.statistics or statistics_path(request.data))
    if not contract.needs_pelvis:
        return _Source("", "", files)
    return _Source(f"pelvis-{samples.base.source}".replace(" ", "-"), samples.base.sha256, files)


def _identity(request: BenchRequest, protocol: Protocol, source: _Source) -> dict[str, Any]:
    hashes = {"detections_sha256": source.sha256, "files_sha256": source.files}
    return identity_of(request, protocol, described_options(request), source.detections, **hashes)


def view_model(request: BenchRequest, contract: FromViews, limbs: dict[str, Any]) -> nn.Module:
    """The network with its weights, or with random ones by the request's seed; `limbs` of `limb_options`."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        start = {} if request.weights else contract.untrained
        model = create_model(request.model, **{**start, **request.options, **limbs})
    if request.weights:
        load_weights(model, request.weights)
    return model


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Ran:
    world: np.ndarray  # (samples, joints, 3), mm
    spent: Spent


def _predicted(
    models: list[nn.Module],
    samples: ViewSamples,
    request: BenchRequest,
    processes: Processes,
    progress: Progress | None,
) -> _Ran | None:
    """World poses of all samples; None but on the first process."""
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.view_inference import default_batch_size, predict
    from h36m_toolbox.models.watching import Watch

    device = device_named(request.device)
    share = processes.share(len(samples))
    views = [len(cameras) for cameras in samples.cameras[share]]
    batch_size = request.batch_size or default_batch_size(device)
    watch = Watch(device)
    found = predict(
        models[0],
        lambda i: samples.load(share.start + i),
        views,
        device,
        batch_size,
        READERS,
        progress,
        request.execution,
        watch,
        others=models[1:],
        flip=request.flip,
    )
    spent = watch.spent().by_all(processes)
    world = processes.gathered(found)
    if not processes.is_first:
        return None
    wrong = ~np.isfinite(world).all(axis=(1, 2))
    if wrong.any():
        raise H36MError(
            f"model {request.model} with {request.weights or 'random weights'} predicts NaN or infinite numbers for "
            f"{wrong.sum()} of {len(world)} samples, the first is {samples.name(int(wrong.argmax()))}; look for such "
            "numbers in the weights"
        )
    return _Ran(world, spent)


def _provenance(identity: dict[str, Any], source: _Source, models: list[nn.Module], ran: _Ran) -> Provenance:
    return provenance_of(
        identity,
        source.sha256,
        spent=ran.spent,
        poses=len(ran.world),
        root="absolute",
        parameters=sum(parameter.numel() for model in models for parameter in model.parameters()),
    )
