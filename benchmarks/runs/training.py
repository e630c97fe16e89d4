"""A training run: a lifter, its recipe and DATA, in a folder of its own that a second call continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.runs.integral_training import train_on_patches
from h36m_toolbox.benchmarks.runs.lifting_data import FrameChoice, chosen_frames
from h36m_toolbox.benchmarks.runs.poseformer_training import train_on_crops
from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles
from h36m_toolbox.benchmarks.runs.volumetric_training import train_on_views
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.integral_recipes import IntegralRecipe, recipe_name
from h36m_toolbox.models.integral_recipes import changed_recipe as changed_patch_recipe
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.models.poseformer_recipes import changed_recipe as changed_crop_recipe
from h36m_toolbox.models.recipes import Recipe, changed
from h36m_toolbox.models.registry import model_card, recipe_of
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.models.view_recipes import ViewRecipe, changed_recipe, published_recipe
from h36m_toolbox.sequences import ACTIONS, TEST_SUBJECTS, TRAIN_SUBJECTS
from h36m_toolbox.skeletons import Skeleton

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.models.lifting import Lifting, Normaliser
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.training import Progress, TrainingResult, Watch

TEST, NONE = "test", "none"


@dataclass(frozen=True)
class TrainRequest:
    """What to train. `changes` replace values of the published recipe, such as {"epochs": 3}.

    `validate_on` "test": after each epoch, score the test subjects by frame-wise MPJPE and keep the best, which is the
    papers' habit; a training subject: score that one instead, and do not train on it; "none": keep the last epoch only.
    """

    model: str
    data: Path
    detections: str = ""  # "" for gt, or what a model that sees crops is published on
    device: str = "auto"
    validate_on: str = TEST
    train_subjects: tuple[str, ...] = TRAIN_SUBJECTS
    test_subjects: tuple[str, ...] = TEST_SUBJECTS
    actions: tuple[str, ...] = ACTIONS
    every: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    tensorboard: bool = False
    files: ViewFiles = field(default_factory=ViewFiles)  # of a model that sees images
    start: Path | None = None  # weights of its backbone
    mpii: Path | None = None  # folders of 2D data sets that a model of patches also learns from
    coco: Path | None = None
    challenge: Path | None = None  # CHALL_H80K's folder, which takes the place of Human3.6M
    keypoints: Path | None = None  # 2D joints of its sets Train and Val
    val_keypoints: Path | None = None

    def __post_init__(self) -> None:
        if not self.detections:
            own = self.contract.detections if isinstance(self.contract, FromCrops) else "gt"
            object.__setattr__(self, "detections", own)

    @property
    def recipe(self) -> Recipe:
        """The recipe of a lifter with its changes."""
        return changed(recipe_of(self.model, self.detections), self.changes)

    @property
    def view_recipe(self) -> ViewRecipe:
        """The recipe of a model that sees images, with its changes."""
        return changed_recipe(published_recipe(self.model), self.changes)

    @property
    def patch_recipe(self) -> IntegralRecipe:
        """The recipe of a model that sees patches, with its changes."""
        name = recipe_name(self.model, self.challenge is not None, self.coco is not None)
        return changed_patch_recipe(self.model, self.changes, name)

    @property
    def contract(self) -> Lifting | FromCrops | FromViews | FromPatches:
        """What goes into the network and comes out."""
        return model_card(self.model).contract(**self.options)

    @property
    def name(self) -> str:
        """Of its folder, where nobody names it."""
        return "-".join(
            ("train", self.model, *(() if isinstance(self.contract, FromViews | FromPatches) else (self.detections,)))
        )

    @property
    def epochs(self) -> int:
        """How many there will be."""
        if isinstance(self.contract, FromCrops):
            return changed_crop_recipe(self.contract.backbone, self.changes).epochs
        if isinstance(self.contract, FromPatches):
            return self.patch_recipe.epochs
        return self.view_recipe.epochs if isinstance(self.contract, FromViews) else self.recipe.epochs

    @property
    def trained_on(self) -> FrameChoice:
        """The frames that are learnt from."""
        held_out = () if self.validate_on in (TEST, NONE) else (self.validate_on,)
        subjects = tuple(subject for subject in self.train_subjects if subject not in held_out)
        return FrameChoice(subjects, self.actions, self.every)

    @property
    def validated_on(self) -> FrameChoice | None:
        """The frames that choose the epoch."""
        if self.validate_on == NONE:
            return None
        subjects = self.test_subjects if self.validate_on == TEST else (self.validate_on,)
        return FrameChoice(subjects, self.actions, self.every)


def train_model(
    request: TrainRequest, folder: Path, progress: Progress | None = None, processes: Processes | None = None
) -> TrainingResult:
    """Train into `folder`, going on with what it holds; every process of a run calls this.

    Writes `checkpoint_last.pt`, `checkpoint_best.pt`, `log.csv`, `curves.png` and `train.toml`, which asks for the same
    run again. Raises H36MError for missing labels or detections and for a folder of another run.
    """
    import torch

    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.lifting import Lifting
    from h36m_toolbox.models.processes import ALONE
    from h36m_toolbox.models.training import train

    processes, contract = processes or ALONE, request.contract
    if isinstance(contract, FromPatches):
        return train_on_patches(request, contract, folder, progress, processes)
    if request.mpii or request.coco or request.challenge:
        raise H36MError(f"model {request.model} learns from Human3.6M alone; leave --mpii, --coco, --challenge out")
    if isinstance(contract, FromCrops):
        return train_on_crops(request, contract, folder, progress, processes)
    if isinstance(contract, FromViews):
        return train_on_views(request, contract, folder, progress, processes)
    if not isinstance(contract, Lifting):
        raise H36MError(f"model {request.model} has no recipe, so it cannot be trained here")
    recipe, device = request.recipe, device_named(request.device)
    labels, pixels = chosen_frames(request.data, request.trained_on, request.detections, contract.input_joints)
    normaliser = contract.normaliser(lambda: (labels, pixels), {})
    inputs, targets = normaliser.inputs(labels, pixels), normaliser.targets(labels)
    validate = _validation(request, contract.input_joints, contract.output_joints, normaliser, device, processes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = create_model(request.model, **request.options)
    return train(
        model,
        inputs,
        targets,
        recipe,
        folder,
        device,
        validate,
        progress,
        _pictures(request, folder),
        normaliser.state(),
        processes,
    )


def _validation(
    request: TrainRequest,
    input_joints: Skeleton,
    output_joints: Skeleton,
    normaliser: Normaliser,
    device: str,
    processes: Processes,
) -> Callable[[nn.Module], float] | None:
    from h36m_toolbox.models.lifting import predict

    if request.validated_on is None:
        return None
    labels, pixels = chosen_frames(request.data, request.validated_on, request.detections, input_joints)
    share = processes.share(len(labels))
    inputs = normaliser.inputs(labels, pixels)[share]
    targets = normaliser.poses_mm(normaliser.targets(labels)[share])
    root = output_joints.joints.index(output_joints.root)

    def frame_wise_mpjpe_mm(model: nn.Module) -> float:
        poses = normaliser.poses_mm(predict(model, inputs, device))
        poses[:, root] = 0  # as SemGCN's program: the root row is zeroed, the others stay
        return float(processes.gathered(metrics.mpjpe(poses, targets)).mean(dtype=np.float64))

    return frame_wise_mpjpe_mm


def _pictures(request: TrainRequest, folder: Path) -> Watch:
    from h36m_toolbox.models.recipe_files import recipe_as_toml
    from h36m_toolbox.models.training_curves import run_watch

    asked = recipe_as_toml(request.model, request.detections, request.options, request.recipe)
    return run_watch(folder, asked, request.recipe.epochs, request.tensorboard)
