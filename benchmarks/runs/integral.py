"""A benchmark run of a model that sees a person's patch: as `runs`, with the program's own 16 figures beside it.

The patch and its way back to the camera take the true pelvis, as officially: what is scored is the pose relative to it,
of known size. A model whose depths are pixels, as the challenge's, is scaled to the challenge's bones instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks.evaluator import check_joints
from h36m_toolbox.benchmarks.integral_scores import (
    integral_joint_errors,
    integral_scores,
    per_action_csv,
    per_joint_csv,
)
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
from h36m_toolbox.benchmarks.standings.leaderboard import LEADERBOARD_NAME, read_leaderboard
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import Frames, open_frames
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.pose_datasets.challenge import scaled_to_bones
from h36m_toolbox.pose_datasets.human36m import FilmedPoses, filmed_poses, joined_poses
from h36m_toolbox.pose_datasets.patches import Patch, cut_patch, in_camera, in_image
from h36m_toolbox.pose_tables import keyed_table, pose_array, row_keys, sequence_of_code
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import INTEGRAL_18

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.benchmarks.runs.bench import BenchRequest
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.watching import Spent

SCORES_NAME = "integral_scores.json"
ACTIONS_NAME, JOINTS_NAME = "integral_per_action.csv", "integral_per_joint.csv"
_BOXES = "true-box"  # what the run takes in place of 2D detections
_OPEN = 8  # sequences whose frames are known at a time
_ROWS = 8192  # people that are known at a time, so that memory does not grow with the split
_READERS = 4  # threads that decode and cut


def bench_patches(
    request: BenchRequest, contract: FromPatches, runs: Path, processes: Processes | None = None
) -> Recorded | None:
    """As `runs.bench`, for a model that sees patches: on every frame of the split that the protocol scores.

    With `request.flip` and `request.ensemble` the poses are those of `models.test_time`. Raises H36MError, with the
    command that makes them, for missing labels and frames.
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
    scored = labels.take(covered_rows(labels, row_keys(labels), protocol))
    if not len(scored):
        raise H36MError(f"{request.data}: no labels of the {request.split} split that protocol {protocol.name} scores")
    identity = _identity(request)
    if request.resume:
        found = processes.from_first(str(finished_run(runs, identity) or "") if processes.is_first else None)
        if found:
            return kept_run(Path(found), request.split, labels, protocol) if processes.is_first else None
    ran = _predicted(request, contract, scored, processes)
    if ran is None:
        return None
    provenance = _provenance(identity, contract, ran)
    with new_run(runs, f"{request.model}-{protocol.name}") as folder:
        table = keyed_table(row_keys(scored), {PREDICTION_COLUMN: ran.poses}, prediction_schema(contract.output_joints))
        write_predictions(folder / PREDICTIONS_NAME, table, provenance)
        write_scores(folder, ran.poses, ran.true, np.array(scored.column("action").to_pylist()))
        environment = present_environment(provenance.device, request.arguments, request.data, identity)
        return recorded(folder, runs, request.split, labels, protocol, environment)


def write_scores(folder: Path, poses: np.ndarray, true: np.ndarray, actions: np.ndarray) -> None:
    """The program's 16 figures of poses (n, 18, 3), mm, whole, for each of the `actions` (n,), and joint by joint."""
    scores = integral_scores(poses, true)
    means = {name: float(values.mean()) for name, values in scores.items()}
    (folder / SCORES_NAME).write_text(json.dumps(means, indent=1) + "\n", encoding="ascii")
    (folder / ACTIONS_NAME).write_text(per_action_csv(scores, actions), encoding="ascii")
    (folder / JOINTS_NAME).write_text(per_joint_csv(integral_joint_errors(poses, true)), encoding="ascii")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class PatchSamples:
    """Rows of a label table as people in frames; images are read when they are asked for."""

    data: Path
    keys: np.ndarray  # (n,) pose_tables.row_keys
    filmed: FilmedPoses
    boxes: np.ndarray  # (n, 4)
    frames: Callable[[Sequence], Frames]  # of a sequence

    def load(self, place: int, contract: FromPatches) -> np.ndarray:
        """A sample's patch, uint8, red green blue; H36MError where DATA has no such frame."""
        code, frame = int(self.keys[place] >> 32), int(self.keys[place] & 0xFFFFFFFF)
        image = self.frames(sequence_of_code(code)).image(frame)
        return cut_patch(image, self.boxes[place], contract.patch)

    def in_camera(self, poses: np.ndarray, contract: FromPatches) -> np.ndarray:
        """Poses (n, 18, 3) in patch pixels, mm: in the camera frame, or relative to the root where depths are px."""
        if contract.patch.depth_mm is None:
            return scaled_to_bones(poses)
        seen = in_image(poses, self.boxes, contract.patch)
        return in_camera(seen, self.filmed.focal, self.filmed.principal, self.filmed.roots[:, 2])


def patch_samples(data: Path, scored: pa.Table, patch: Patch) -> PatchSamples:
    """The people of rows of a label table with `joints_3d_camera`, each in a box of a patch's shape.

    A window around the true pelvis, as deep as wide; or, where depths are pixels, the box around the true joints, which
    is what such models were trained on.
    """
    keys, poses = row_keys(scored), pose_array(scored, "joints_3d_camera")
    parts = []
    for code in np.unique(keys >> 32):
        sequence = sequence_of_code(int(code))
        parts.append((np.flatnonzero(keys >> 32 == code), h36m_camera(sequence.subject, sequence.camera)))
    order = np.concatenate([rows for rows, _ in parts])
    filmed = joined_poses([filmed_poses(poses[rows], camera) for rows, camera in parts])
    filmed = filmed.of(np.argsort(order))
    frames = lru_cache(maxsize=_OPEN)(partial(open_frames, data))
    deep = patch.depth_mm
    boxes = (
        filmed.tight_boxes(patch.aspect) if deep is None else filmed.window_boxes(np.array([deep, deep / patch.aspect]))
    )
    return PatchSamples(data, keys, filmed, boxes, frames)


@dataclass(frozen=True, eq=False)
class _Ran:
    poses: np.ndarray  # (rows, joints, 3), mm
    true: np.ndarray  # (rows, joints, 3), mm, camera frame
    spent: Spent
    parameters: int


def _predicted(request: BenchRequest, contract: FromPatches, scored: pa.Table, processes: Processes) -> _Ran | None:
    """Poses of all rows; None but on the first process."""
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.patch_models import default_batch_size, patch_predictor, predict_patches
    from h36m_toolbox.models.watching import Watch

    device = device_named(request.device)
    created = [model.to(device).eval() for model in created_models(request, contract)]
    models = [request.execution.applied(model) for model in created]
    predict, share = patch_predictor(models, contract, request.flip), processes.share(len(scored))
    batch_size = request.batch_size or default_batch_size(device)
    watch, poses, true = Watch(device), [], []
    for start in range(share.start, share.stop, _ROWS):
        rows = scored.slice(start, min(_ROWS, share.stop - start))
        samples = patch_samples(request.data, rows, contract.patch)
        load = partial(samples.load, contract=contract)
        found = predict_patches(predict, load, len(rows), device, batch_size, _READERS, watch)
        poses.append(samples.in_camera(found, contract))
        true.append(samples.filmed.camera)
    spent = watch.spent().by_all(processes)
    return _gathered(request, poses, true, spent, created, processes)


def _gathered(
    request: BenchRequest,
    parts: list[np.ndarray],
    true_parts: list[np.ndarray],
    spent: Spent,
    models: list[nn.Module],
    processes: Processes,
) -> _Ran | None:
    """All processes' parts in a row; None but on the first. H36MError for poses that are not finite."""
    nothing = np.empty((0, len(INTEGRAL_18), 3))
    poses, true = (processes.gathered(np.concatenate([nothing, *each])) for each in (parts, true_parts))
    if not processes.is_first:
        return None
    wrong = ~np.isfinite(poses).all(axis=(1, 2))
    if wrong.any():
        raise H36MError(
            f"model {request.model} with {request.weights or 'random weights'} predicts NaN or infinite numbers for "
            f"{wrong.sum()} of {len(poses)} poses; look for such numbers in the weights"
        )
    parameters = sum(parameter.numel() for model in models for parameter in model.parameters())
    return _Ran(poses, true, spent, parameters)


def created_models(request: BenchRequest, contract: FromPatches) -> list[nn.Module]:
    """The models of a request on the CPU: that of its weights, or a random one, and those of its ensemble."""
    import torch

    models = []
    for member in ensemble_members(request):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            start = {} if member.weights else contract.untrained
            model = create_model(request.model, **{**start, **request.options})
        if member.weights:
            load_weights(model, member.weights)
        models.append(model)
    return models


def _identity(request: BenchRequest) -> dict[str, Any]:
    return identity_of(request, request.scored_under, described_options(request), _BOXES)


def _provenance(identity: dict[str, Any], contract: FromPatches, ran: _Ran) -> Provenance:
    return provenance_of(
        identity,
        "",
        spent=ran.spent,
        poses=len(ran.poses),
        root="relative" if contract.patch.depth_mm is None else "absolute",
        parameters=ran.parameters,
    )
