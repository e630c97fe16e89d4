"""A training run: a bundled lifter, its recipe and DATA, in a folder of its own that a second call continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.matching import covered_rows
from h36m_toolbox.benchmarks.protocols import SEMGCN
from h36m_toolbox.benchmarks.runs import device_named, protocol_of_split
from h36m_toolbox.detections import match_detections, read_detections
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models import create_model
from h36m_toolbox.models.recipes import Recipe, recipe_of
from h36m_toolbox.pose_tables import row_keys
from h36m_toolbox.skeletons import H36M_16

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.models.training import Progress, TrainingResult


@dataclass(frozen=True)
class TrainRequest:
    """What to train. `changes` replace values of the published recipe, such as {"epochs": 3}.

    `validate`: after each epoch, score the test subjects by frame-wise MPJPE and keep the best, which is the papers'
    habit; otherwise only the last epoch is kept.
    """

    model: str
    data: Path
    detections: str = "gt"
    device: str = "auto"
    validate: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe with its changes."""
        return replace(recipe_of(self.model, self.detections), **self.changes)


def train_model(request: TrainRequest, folder: Path, progress: Progress | None = None) -> TrainingResult:
    """Train into `folder` (`checkpoint_last.pt`, `checkpoint_best.pt`, `log.csv`), going on with what it holds.

    Raises H36MError for missing labels or detections and for a folder of another run.
    """
    import torch

    from h36m_toolbox.models.training import train

    recipe, device = request.recipe, device_named(request.device)
    inputs, targets = lifting_data(request.data, "train", request.detections)
    validate = _validation(request, device) if request.validate else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = create_model(request.model, **request.options)
    return train(model, inputs, targets, recipe, folder, device, validate, progress)


def lifting_data(data: Path, split: str, detections: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (rows, 16, 2), screen units, and targets (rows, 16, 3), metres, of a split without what SemGCN drops."""
    from h36m_toolbox.models.lifting import lifting_inputs, lifting_targets

    labels = read_labels(data, split, ["joints_3d_world"])
    scored = covered_rows(labels, row_keys(labels), protocol_of_split(SEMGCN.name, split))
    labels = labels.take(scored)
    pixels = match_detections(labels, read_detections(data, detections), detections, H36M_16.joints)
    return lifting_inputs(labels, pixels), lifting_targets(labels)


def _validation(request: TrainRequest, device: str) -> Callable[[nn.Module], float]:
    from h36m_toolbox.models.lifting import predict

    inputs, targets = lifting_data(request.data, "val", request.detections)
    root = H36M_16.joints.index(H36M_16.root)

    def frame_wise_mpjpe_mm(model: nn.Module) -> float:
        poses = predict(model, inputs, device)
        poses[:, root] = 0  # as SemGCN's program: the root row is zeroed, the others stay
        return float(metrics.mpjpe(poses, targets).mean(dtype=np.float64)) * 1000

    return frame_wise_mpjpe_mm
