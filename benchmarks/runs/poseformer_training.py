"""A training run of Context-Aware PoseFormer: crops and detections of DATA, learnt from and validated on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.runs.lifting_data import FrameChoice, chosen_frames
from h36m_toolbox.frames.stores import WHOLE_FRAMES
from h36m_toolbox.models import create_model
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.poseformer_recipes import changed_recipe
from h36m_toolbox.sequences import HUMAN36M

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.benchmarks.runs.training import TrainRequest
    from h36m_toolbox.models.ca_poseformer import CAPoseFormer
    from h36m_toolbox.models.feature_cache import FeatureCache
    from h36m_toolbox.models.poseformer_data import PoseFormerRows, Read
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.training import Progress, TrainingResult, Watch


def train_on_crops(
    request: TrainRequest, contract: FromCrops, folder: Path, progress: Progress | None, processes: Processes
) -> TrainingResult:
    """As `training_runs.train_model`, for a model that sees crops; it starts from the backbone at `request.start`.

    Labelled frames that DATA has no image of are left out, as officially. Raises H36MError, with the command that makes
    it, for what is missing.
    """
    import torch

    from h36m_toolbox.models.ca_poseformer import CAPoseFormer, load_backbone
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.poseformer_training import train

    contract.check_dataset(HUMAN36M)
    recipe, device = changed_recipe(contract.backbone, request.changes), device_named(request.device)
    rows = _rows(request, contract, request.trained_on)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = create_model(request.model, **request.options)
        assert isinstance(model, CAPoseFormer)
        if request.start:
            load_backbone(model, request.start)

    read = _read(request, contract, rows, model, device, processes)
    validate = _validation(request, contract, model, device, processes)
    return train(
        model,
        len(rows),
        read,
        recipe,
        folder,
        device,
        validate,
        progress,
        _pictures(request, contract, folder),
        _sha256(rows),
        processes,
    )


def _rows(request: TrainRequest, contract: FromCrops, choice: FrameChoice) -> PoseFormerRows:
    from h36m_toolbox.models.poseformer_data import CROP_STORE, rows_of_data, rows_with_frames

    labels, pixels = chosen_frames(request.data, choice, request.detections, contract.input_joints, "joints_3d_camera")
    store = CROP_STORE if contract.stored_crops else WHOLE_FRAMES
    return rows_with_frames(rows_of_data(request.data, labels, pixels, request.detections), request.data, store)


def _read(
    request: TrainRequest,
    contract: FromCrops,
    rows: PoseFormerRows,
    model: CAPoseFormer,
    device: str,
    processes: Processes,
) -> Read:
    """What gives batches of the rows: their crops, or the maps of them from `DATA/features`."""
    from h36m_toolbox.models.feature_cache import cached_features
    from h36m_toolbox.models.poseformer_data import CROP_STORE, CropReader, reading
    from h36m_toolbox.models.poseformer_inference import default_batch_size

    store = CROP_STORE if contract.stored_crops else WHOLE_FRAMES
    pinned = device.startswith("cuda")
    read = reading(rows, CropReader(request.data, store), pinned=pinned)
    if not contract.cache_features:
        return read

    def cache() -> FeatureCache:
        place, batch_size = request.data / "features", default_batch_size(device)
        return cached_features(model, rows, read, place, device, batch_size, store.name)

    processes.from_first(bool(cache()) if processes.is_first else None)  # the others find it on disk
    return partial(cache().batches, pinned=pinned)


def _validation(
    request: TrainRequest, contract: FromCrops, model: CAPoseFormer, device: str, processes: Processes
) -> Callable[[nn.Module], float] | None:
    """Action mean of the MPJPE, mm, with the flip test: by what the official program chooses its epoch."""
    from h36m_toolbox.models.poseformer_inference import default_batch_size, predict
    from h36m_toolbox.models.processes import ALONE

    if request.validated_on is None:
        return None
    rows = _rows(request, contract, request.validated_on)
    mine = rows.taken(processes.share(len(rows)))
    read = _read(request, contract, mine, model, device, ALONE)
    actions = rows.keys >> 40 & 0xFF

    def action_mean_mm(model: nn.Module) -> float:
        poses = predict(model, len(mine), read, contract, device, default_batch_size(device))
        errors = processes.gathered(metrics.mpjpe(poses.astype(np.float64), mine.targets.astype(np.float64)))
        return float(np.mean([errors[actions == action].mean() for action in np.unique(actions)])) * 1000

    return action_mean_mm


def _pictures(request: TrainRequest, contract: FromCrops, folder: Path) -> Watch:
    from h36m_toolbox.models.recipe_files import recipe_as_toml
    from h36m_toolbox.models.training_curves import run_watch

    recipe = changed_recipe(contract.backbone, request.changes)
    asked = recipe_as_toml(request.model, request.detections, request.options, recipe)
    return run_watch(folder, asked, recipe.epochs, request.tensorboard)


def _sha256(rows: PoseFormerRows) -> str:
    digest = hashlib.sha256()
    for values in (rows.keys, rows.boxes, rows.joints_2d, rows.targets):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
