"""Models as they meet MPI-INF-3DHP's test set: lifters, ContextPose, Context-Aware PoseFormer's variant for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from h36m_toolbox.benchmarks.mpi_inf_3dhp.lifting import lifted, lifter_inputs
from h36m_toolbox.benchmarks.runs.bench import BenchRequest, lifter
from h36m_toolbox.benchmarks.runs.poseformer import crop_model
from h36m_toolbox.benchmarks.runs.volumetric import READERS, view_model
from h36m_toolbox.benchmarks.runs.volumetric_data import limb_options
from h36m_toolbox.benchmarks.runs.volumetric_files import GROUND_TRUTH
from h36m_toolbox.errors import H36MError
from h36m_toolbox.limb_lengths import statistics_path
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.joints import described_mapping, from_h36m
from h36m_toolbox.mpi_inf_3dhp.person_views import person_views
from h36m_toolbox.mpi_inf_3dhp.sequences import FAMILY
from h36m_toolbox.skeletons import MPI_INF_3DHP_17
from h36m_toolbox.storage.files import sha256_of

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.models.lifting import Lifting
    from h36m_toolbox.models.watching import Watch

Progress = Callable[[int, int], None]  # finished poses, all of this process's


@dataclass(frozen=True)
class Entrant:
    """A model that is ready to be asked: what it sees besides its weights, and how it answers.

    `predict` takes the rows that are this process's, of the valid frames of all sequences one after the other, and
    gives their poses (rows, 17, 3), mm, relative to the pelvis, in the evaluation's order.
    """

    model: nn.Module
    detections: str
    files_sha256: dict[str, str]  # of what it reads besides labels and weights
    mapping: dict[str, str]  # evaluated joint: the model's
    predict: Callable[[slice, Progress | None, Watch], np.ndarray]


def entrant(request: BenchRequest, truth: list[TestAnnotations]) -> Entrant:
    """The model of a request; raises H36MError for what it needs and DATA lacks, and for models of several views."""
    contract = model_card(request.model).contract(**request.options)
    if isinstance(contract, FromPatches):
        raise H36MError(
            f"model {request.model} takes patches of Human3.6M; on MPI-INF-3DHP run lifters, contextpose, ca-poseformer"
        )
    if isinstance(contract, FromViews):
        return _of_views(request, contract, truth)
    return (
        _of_crops(request, contract, truth)
        if isinstance(contract, FromCrops)
        else _of_2d_poses(request, contract, truth)
    )


def _of_2d_poses(request: BenchRequest, contract: Lifting, truth: list[TestAnnotations]) -> Entrant:
    from h36m_toolbox.models.devices import device_named

    model, normaliser = lifter(request, contract)
    inputs = lifter_inputs(contract, normaliser, truth)

    def predict(rows: slice, progress: Progress | None, watch: Watch) -> np.ndarray:
        device = device_named(request.device)
        mine = inputs[rows]
        return lifted(model, contract, normaliser, mine, device, request.batch_size, request.execution, watch)

    return Entrant(model, GROUND_TRUTH, {}, described_mapping(contract.output_joints), predict)


def _of_views(request: BenchRequest, contract: FromViews, truth: list[TestAnnotations]) -> Entrant:
    from h36m_toolbox.models import view_inference
    from h36m_toolbox.models.devices import device_named

    if contract.views != "one":
        raise H36MError(
            f"model {request.model} needs several views of an instant; the test set of MPI-INF-3DHP has one"
        )
    if request.files.pelvis not in (None, GROUND_TRUTH) or request.files.labels:
        raise H36MError("on MPI-INF-3DHP the pelvis and the boxes are the true ones; leave --pelvis, --labels out")
    views = person_views(request.data, truth, contract.image_px)
    limbs = limb_options(request.data, contract, request.files)
    statistics = request.files.statistics or statistics_path(request.data)
    files = {"statistics": sha256_of(statistics)} if contract.needs_limbs else {}
    model, joints = view_model(request, contract, limbs), contract.output_joints
    device = device_named(request.device)

    def predict(rows: slice, progress: Progress | None, watch: Watch) -> np.ndarray:
        world = view_inference.predict(
            model,
            lambda row: views.load(rows.start + row),
            [1] * (rows.stop - rows.start),
            device,
            request.batch_size or view_inference.default_batch_size(device),
            READERS,
            progress,
            request.execution,
            watch,
        )
        poses = views.in_camera(world, rows)
        return from_h36m(poses - poses[:, [joints.joints.index(joints.root)]], joints)

    return Entrant(model, f"pelvis-{GROUND_TRUTH}", files, described_mapping(joints), predict)


def _of_crops(request: BenchRequest, contract: FromCrops, truth: list[TestAnnotations]) -> Entrant:
    from h36m_toolbox.models import poseformer_inference
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.poseformer_3dhp import TestCrops, without_root
    from h36m_toolbox.models.poseformer_data import reading

    contract.check_dataset(FAMILY)
    crops = TestCrops(request.data, truth, contract.stored_crops)
    model, device = crop_model(request), device_named(request.device)

    def predict(rows: slice, progress: Progress | None, watch: Watch) -> np.ndarray:
        mine = crops.rows.taken(rows)
        read = reading(mine, crops, pinned=device.startswith("cuda"))
        batch_size = request.batch_size or poseformer_inference.default_batch_size(device)
        poses = poseformer_inference.predict(
            model, len(mine), read, contract, device, batch_size, progress, request.execution, watch
        )
        return without_root(poses * np.float32(contract.mm_per_unit))

    return Entrant(model, GROUND_TRUTH, {}, {joint: joint for joint in MPI_INF_3DHP_17.joints}, predict)
