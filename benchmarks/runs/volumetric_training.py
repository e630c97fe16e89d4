"""A training run of a model that sees images: the training subjects' instants of DATA, learnt from and validated on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.pictures.learning import pictures_of
from h36m_toolbox.benchmarks.runs.volumetric_data import ViewSamples, chosen_instants, limb_options, read_samples
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.sequences import SPLITS
from h36m_toolbox.skeletons import MULTIVIEW_17

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.benchmarks.runs.training import TrainRequest
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.training import Progress, TrainingResult, Watch
    from h36m_toolbox.models.training_curves import Pictures

_READERS = 4  # threads that decode, undistort and cut


def train_on_views(
    request: TrainRequest, contract: FromViews, folder: Path, progress: Progress | None, processes: Processes
) -> TrainingResult:
    """As `training_runs.train_model`, for a model that sees images; it starts from the backbone at `request.start`.

    Pelvis estimates are DATA's, of both splits. Raises H36MError, with the command that makes it, for what is missing.
    """
    import torch

    from h36m_toolbox.models.backbone_weights import load_backbone
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.pose_resnet import PoseResNet
    from h36m_toolbox.models.view_training import train_views

    recipe, device = request.view_recipe, device_named(request.device)
    limbs = limb_options(request.data, contract, request.files)
    learnt = partial(chosen_instants, frames=request.trained_on)
    samples = read_samples(request.data, "train", contract, request.files, learnt, by_view=False)
    validate = _validation(request, contract, device, processes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = create_model(request.model, **request.options, **limbs)
        if request.start:
            backbone = model.get_submodule("backbone")
            assert isinstance(backbone, PoseResNet)
            load_backbone(backbone, request.start)
    watch = _watch(request, folder, partial(_pictures, model, samples, contract.views, device))
    return train_views(model, samples, recipe, folder, device, validate, progress, watch, processes, _READERS)


def _validation(
    request: TrainRequest, contract: FromViews, device: str, processes: Processes
) -> Callable[[nn.Module], float] | None:
    """Mean error relative to the root over the frames that choose the epoch, mm."""
    from h36m_toolbox.models.view_inference import default_batch_size, predict

    choice = request.validated_on
    if choice is None:
        return None
    split = next((name for name, subjects in SPLITS.items() if set(choice.subjects) <= set(subjects)), "")
    if not split:
        raise H36MError(f"validation subjects {', '.join(choice.subjects)} are of two splits; choose those of one")
    samples = read_samples(request.data, split, contract, request.files, partial(chosen_instants, frames=choice))
    share = processes.share(len(samples))
    views = [len(cameras) for cameras in samples.cameras[share]]
    targets = _relative(np.stack([samples.target(sample) for sample in range(share.start, share.stop)]))
    batch_size = default_batch_size(device)

    def relative_mpjpe_mm(model: nn.Module) -> float:
        poses = predict(model, lambda i: samples.load(share.start + i), views, device, batch_size, _READERS)
        errors = metrics.mpjpe(_relative(poses), targets)
        return float(processes.gathered(errors).mean(dtype=np.float64))

    return relative_mpjpe_mm


def _relative(poses: np.ndarray) -> np.ndarray:
    root = MULTIVIEW_17.joints.index(MULTIVIEW_17.root)
    return poses - poses[:, root : root + 1]


def _watch(request: TrainRequest, folder: Path, pictures: Pictures) -> Watch:
    from h36m_toolbox.models.recipe_files import recipe_as_toml
    from h36m_toolbox.models.training_curves import run_watch

    asked = recipe_as_toml(request.model, "", request.options, request.view_recipe)
    return run_watch(folder, asked, request.view_recipe.epochs, request.tensorboard, pictures)


def _pictures(
    model: nn.Module, samples: ViewSamples, views: Literal["one", "all"], device: str
) -> dict[str, np.ndarray]:
    """What the model makes of the first and the middle sample, by their names."""
    found = {}
    for number in dict.fromkeys((0, len(samples) // 2)):
        cameras = samples.cameras[number]
        sample = samples.load_views(number, cameras[:1] if views == "one" else cameras)
        for kind, picture in pictures_of(model, sample, samples.target(number), device).items():
            found[f"{kind}/{samples.name(number)}"] = picture
    return found
