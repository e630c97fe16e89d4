"""One training step of a model that sees images: the losses of its kind, and Adam with a rate for each part.

Facts from the training programs of karfly/learnable-triangulation-pytorch and ShirleyMaxx/ContextPose-PyTorch-release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from h36m_toolbox.models.view_recipes import ViewRecipe
from h36m_toolbox.models.volumetric_losses import (
    attention_target,
    limb_length_error,
    mean_absolute_error,
    mean_distance,
    mean_squared_error,
    smooth_squared_error,
    volumetric_cross_entropy,
)

_PARTS = {"backbone": "lr_backbone", "process_features": "lr_process_features", "volume_net": "lr_volume_net"}


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class ViewLosses:
    """Losses of a batch before their weights, 0-d tensors, and their weighted sum."""

    total: torch.Tensor
    pose_loss: torch.Tensor
    cross_entropy: torch.Tensor
    attention_loss: torch.Tensor
    train_mpjpe_mm: torch.Tensor
    limb_length_error_mm: torch.Tensor


def make_optimizer(model: nn.Module, recipe: ViewRecipe) -> torch.optim.Adam:
    """Adam with a rate for each part of the network; what is frozen is left out."""
    groups = []
    for part, rate in _PARTS.items():
        module = getattr(model, part, None)
        learnt = [p for p in module.parameters() if p.requires_grad] if module is not None else []
        if learnt:
            groups.append({"params": learnt, "lr": getattr(recipe, rate), "part": part})
    return torch.optim.Adam(groups)


def set_rates(optimizer: torch.optim.Optimizer, recipe: ViewRecipe, epoch: int) -> None:
    """Gives every part its learning rate of an epoch, from 1: one decay for each milestone that is passed."""
    for group in optimizer.param_groups:
        part = group["part"]
        of_backbone = recipe.milestones, recipe.decay
        milestones, decay = of_backbone if part == "backbone" else (recipe.volume_milestones, recipe.volume_decay)
        group["lr"] = getattr(recipe, _PARTS[part]) * decay ** sum(epoch > milestone for milestone in milestones)


def losses_of(output: Any, target_mm: torch.Tensor, recipe: ViewRecipe) -> ViewLosses:
    """The losses of a network's output against world poses (batch, joints, 3), mm; every joint counts."""
    validity = torch.ones_like(target_mm[..., :1])
    scaled = output.joints_3d * recipe.pose_scale, target_mm * recipe.pose_scale, validity
    nothing = target_mm.new_zeros(())
    if recipe.pose_loss == "smooth":
        pose = smooth_squared_error(*scaled, threshold=recipe.smooth_threshold)
    else:
        pose = (mean_absolute_error if recipe.pose_loss == "absolute" else mean_squared_error)(*scaled)
    entropy = attended = nothing
    if hasattr(output, "volumes"):
        entropy = volumetric_cross_entropy(output.coordinates, output.volumes, target_mm, validity)
    if hasattr(output, "attention"):
        aim = attention_target(output.coordinates[:, ::4, ::4, ::4], target_mm)
        attended = (aim - output.attention).square().mean()
    total = pose + recipe.cross_entropy_weight * entropy + recipe.attention_weight * attended
    with torch.no_grad():
        distance = mean_distance(*scaled) / recipe.pose_scale
        limbs = limb_length_error(output.joints_3d, target_mm)
    return ViewLosses(total, pose, entropy, attended, distance, limbs)


def view_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    arguments: tuple[torch.Tensor, ...],
    target_mm: torch.Tensor,
    recipe: ViewRecipe,
) -> tuple[ViewLosses, torch.Tensor]:
    """Forward, losses, backward and Adam on one batch: the losses and the total gradient norm before clipping.

    `arguments` are those of the network's forward. With `skip_nan` a NaN loss changes no weight.
    """
    losses = losses_of(model(*arguments), target_mm, recipe)
    optimizer.zero_grad()
    losses.total.backward()
    learnt = [p for group in optimizer.param_groups for p in group["params"]]
    grad_norm = nn.utils.clip_grad_norm_(learnt, recipe.clip_norm or math.inf)
    if not (recipe.skip_nan and bool(grad_norm.isnan())):  # the norm is NaN on every process, the loss on one
        optimizer.step()
    return losses, grad_norm
