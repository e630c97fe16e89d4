"""Start weights of a pose ResNet from a checkpoint of a backbone alone, as the volumetric models' trainings begin."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.checkpoints import read_checkpoint
from h36m_toolbox.models.pose_resnet import PoseResNet

_PREFIX = "backbone."
_FINAL = "final_layer."
_HEADS = ("alg_confidences.", "vol_confidences.")
_SHOWN = 3


def load_backbone(backbone: PoseResNet, path: Path | str) -> tuple[str, ...]:
    """Load what a checkpoint of a pose ResNet, or of a model around one, has for `backbone`; names of what it has not.

    Accepts `module.` and `module.backbone.` before the names. A final layer for another number of joints gives its
    first filters; those that it lacks are drawn anew (Xavier, uniform) with bias 0, as in the official programs.
    Only confidence heads may be missing; the backbone has its own then. An H36MError tells anything else that does not
    fit; the backbone is then unchanged.
    """
    given = read_checkpoint(path).state_dict
    if any(name.startswith(_PREFIX) for name in given):
        given = {name[len(_PREFIX) :]: values for name, values in given.items() if name.startswith(_PREFIX)}
    own = backbone.state_dict()
    found = {name: values for name, values in given.items() if not name.startswith(_HEADS) or name in own}
    missing = [name for name in own if name not in found and not name.endswith(".num_batches_tracked")]
    heads = tuple(name for name in missing if name.startswith(_HEADS))
    final = {name: values for name, values in found.items() if name.startswith(_FINAL) and name in own}
    found |= {name: _fitted(values, own[name]) for name, values in final.items()}
    problems = [
        *(f"{name} is missing" for name in missing if name not in heads),
        *(f"{name} is unexpected" for name in found if name not in own),
        *(
            f"{name} has shape {tuple(found[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in found and found[name].shape != own[name].shape
        ),
    ]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise H36MError(
            f"{path}: no weights for a pose ResNet of {backbone.config.layers} layers: {', '.join(problems[:_SHOWN])}"
            f"{more}"
        )
    backbone.load_state_dict({**own, **found})
    return heads


def _fitted(given: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """A final layer's weight or bias with as many filters as `own` has; `given` where it has that many."""
    if given.shape == own.shape or given.shape[1:] != own.shape[1:]:
        return given
    fitted = torch.zeros_like(own)
    if own.ndim > 1:
        nn.init.xavier_uniform_(fitted)
    kept = min(len(given), len(own))
    fitted[:kept] = given[:kept]
    return fitted
